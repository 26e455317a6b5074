"""A small run of a tiny LM, finished once for all tests that only look at it."""

import pytest

from rlprompt import RunConfig, optimize


@pytest.fixture(scope="session")
def settings(films, tiny_lm):
    """Keyword arguments of a RunConfig that takes a second."""
    return {
        "task": str(films),
        "lm": str(tiny_lm),
        "controls": ("random",),
        "budget": 1600,
        "shots": 4,
        "length": 3,
        "test_limit": 30,
        "manual_prompts": (" It was", " overall a"),
        "vocabulary_size": 100,
    }


@pytest.fixture(scope="session")
def finished(settings, tmp_path_factory):
    """Configuration and result of a finished run."""
    config = RunConfig(**settings, out=tmp_path_factory.mktemp("runs") / "finished")
    return config, optimize(config)
