"""Events of a small search, told as a run tells them."""

import pytest

from rlprompt.core.events import Event


def events(count, name="ppo", total=100):
    """Events of a search whose best reward rises with every one."""
    return [
        Event(
            f"search {name}",
            forwards=10 * n,
            total=total,
            best_reward=-1 / n,
            best_text=f" word{n}",
            metrics={"mean_reward": -2 / n, "unique": 2.0 * n, "entropy": 1 / n, "loss": 0.5},
        )
        for n in range(1, count + 1)
    ]


@pytest.fixture(name="events")
def events_():
    return events
