"""Planted problems: what an agent works on, with one best prompt that is known."""

from dataclasses import dataclass, field

import pytest

from rlprompt.agents.protocol import Agent, Problem
from rlprompt.core.errors import SearchOver
from rlprompt.core.events import Event
from rlprompt.core.ledger import Budget
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.objective import Objective
from rlprompt.objective.split_scorer import Question, SplitScorer
from rlprompt.rewards import REWARDS
from rlprompt.tasks.vocabulary import ActionVocabulary
from rlprompt.testing import PlantedLM, planted_task


@dataclass
class Planted:
    """A problem, the LM behind it, and the events of its searches."""

    problem: Problem
    lm: PlantedLM
    events: list[Event] = field(default_factory=list)

    @property
    def objective(self):
        return self.problem.objective

    @property
    def rewards(self):
        """Prompts with their rewards, in the order in which they were scored."""
        archive = self.objective.archive
        return [(e.prompt, e.reward) for e in sorted(archive.top(10**6), key=_age)]

    def solve(self, agent: Agent, seed: int = 0):
        """Lets an agent spend the budget; returns the error that ended it, None if it returned."""
        try:
            agent.optimize(self.problem, seed=seed, on_event=self.events.append)
        except SearchOver as over:
            return over
        return None


def _age(entry):
    return entry.found_at, len(entry.prompt)


@pytest.fixture
def planted():
    """Returns a function that makes a fresh planted problem."""

    def make(
        vocab_size=16,
        length=3,
        prompts=64,
        *,
        seed=0,
        rest=0,
        stall_calls=40,
        n_train=16,
        predicts_tokens=False,
        prefixes_are_free=True,
        racing=None,
    ):
        lm = PlantedLM(
            vocab_size,
            length,
            predicts_tokens=predicts_tokens,
            prefixes_are_free=prefixes_are_free,
            seed=seed,
        )
        task = planted_task(n_train)
        objective = Objective(
            SplitScorer(
                lm, Question(task.template, task.verbalizer, length), task.train, EvaluationLog()
            ),
            lm.tokenizer,
            REWARDS.get("calibrated_log_likelihood"),
            Budget(prompts * n_train + rest),
            max_prompt_tokens=length,
            stall_calls=stall_calls,
            racing=racing,
        )
        ids = tuple(range(1, vocab_size + 1))
        vocabulary = ActionVocabulary(ids, tuple(lm.tokenizer.decode((i,)) for i in ids))
        return Planted(Problem(objective, vocabulary, length, lm), lm)

    return make
