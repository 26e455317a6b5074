"""The one look at test: prompts that were settled before, and nothing chosen by it."""

from rlprompt.core.prompt import Prompt
from rlprompt.explain.desk import Desk, Till
from rlprompt.explain.held_out import duel, on_test
from rlprompt.explain.material import Material
from rlprompt.explain.records import HeldOut
from rlprompt.objective.split_scorer import parts as cut
from rlprompt.run.final import BLOCK
from rlprompt.tasks.examples import Split

OPENED = (
    "an explanation of prompts that the run had settled and scored on it before; nothing is "
    "chosen by it"
)


def held_out(material: Material, till: Till, cases: int) -> tuple[HeldOut | None, list[str]]:
    """Describes the learned, the empty and the manual prompt on the run's test examples.

    Their scores are in the run's log; where they are not, the learned and the manual prompt are
    scored again, and the empty one is left out.

    Args:
        material: of the run.
        till: pays.
        cases: examples to show at each end.

    Returns:
        What came of it, and what is missing.
    """
    task = material.task
    opened = task.test.open(OPENED)
    scored = int(material.result.splits["test"]["scored"])
    test = Split(opened.name, opened.examples[:scored])
    desk = Desk(material.lm, material.question, task.train, list(cut(test, BLOCK)), till)
    named = {"learned": material.learned, "manual": material.manual}
    prompts = {name: p for name, p in named.items() if p is not None}
    cost = desk.cost([*prompts.values()])
    if desk.score([*prompts.values()], "test", together=True):
        return None, [
            f"Test: the run's log lacks its scores, and {cost:,} LM forwards are not left of the "
            "budget."
        ]
    missing = []
    if desk.cost([Prompt()]):
        missing.append("The empty prompt on test: its scores are not in the run's log.")
    else:
        prompts["empty"] = Prompt()
        desk.score([Prompt()], "test")
    found = {name: desk.elsewhere(p) for name, p in prompts.items()}
    manual = found.get("manual")
    return HeldOut(
        scored=scored,
        opened=OPENED,
        paid=cost,
        prompts={name: on_test(material.text(prompts[name]), each) for name, each in found.items()},
        duel=None
        if manual is None
        else duel(found["learned"], manual, test.examples, task.labels, cases),
    ), missing
