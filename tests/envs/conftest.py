"""Parts of small environments, and a task and an LM as files."""

import csv
import itertools

import pytest

from rlprompt.core.ledger import Budget
from rlprompt.envs.make import forget_parts
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.objective import Objective
from rlprompt.objective.split_scorer import Question, SplitScorer
from rlprompt.rewards import REWARDS
from rlprompt.tasks.vocabulary import ActionVocabulary
from rlprompt.testing import FILM_WORDS, PlantedLM, planted_task, save_tiny


@pytest.fixture
def parts():
    """Returns a function that makes a fresh (objective, vocabulary)."""

    def make(
        *, vocab_size=8, length=3, budget=10**9, prefixes_are_free=True, room=None, **objective
    ):
        lm = PlantedLM(vocab_size, length, prefixes_are_free=prefixes_are_free)
        task = planted_task()
        room = room or length
        question = Question(task.template, task.verbalizer, room)
        made = Objective(
            SplitScorer(lm, question, task.train, EvaluationLog()),
            lm.tokenizer,
            REWARDS.get("calibrated_log_likelihood"),
            Budget(budget),
            max_prompt_tokens=room,
            **objective,
        )
        ids = tuple(range(1, vocab_size + 1))
        return made, ActionVocabulary(ids, tuple(lm.tokenizer.decode((i,)) for i in ids))

    return make


@pytest.fixture
def spy(monkeypatch):
    """List of the sizes of all calls of ``Objective.evaluate``."""
    calls = []
    evaluate = Objective.evaluate

    def counted(self, prompts):
        calls.append(len(prompts))
        return evaluate(self, prompts)

    monkeypatch.setattr(Objective, "evaluate", counted)
    return calls


@pytest.fixture(scope="session")
def prompt_settings(tmp_path_factory):
    """Keyword arguments of Prompt-v0 with a tiny LM and a small task, both as files."""
    folder = tmp_path_factory.mktemp("prompt-v0")
    with (folder / "films.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for label in ("negative", "positive"):
            for noun, verb, word in itertools.product(
                FILM_WORDS["noun"], ("is", "was"), FILM_WORDS[label]
            ):
                rows.writerow([f"the {noun} {verb} {word}", label])
    task = folder / "films.toml"
    task.write_text(
        'data = "films.csv"\nshots = 4\n[words]\nnegative = "bad"\npositive = "good"\n',
        encoding="utf-8",
    )
    yield {"task": str(task), "lm": str(save_tiny(folder / "lm")), "vocabulary_size": 30}
    forget_parts()


@pytest.fixture(
    params=[
        "rlprompt/EditPlanted-v0",
        "rlprompt/EditPrompt-v0",
        "rlprompt/Planted-v0",
        "rlprompt/Prompt-v0",
    ]
)
def registered(request):
    """Id and keyword arguments of each registered environment, made small."""
    name = request.param
    planted = {"vocabulary_size": 8} if "Planted" in name else None
    settings = request.getfixturevalue("prompt_settings") if planted is None else planted
    length = {"max_length": 3, "max_edits": 4} if "Edit" in name else {"length": 3}
    return name, {**settings, **length}
