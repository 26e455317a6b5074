"""Scores for an explanation: from the run's log where they are there, else paid for and kept."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from rlprompt.core.evaluation import Evaluation, FloatArray, fit_calibration
from rlprompt.core.events import Event, OnEvent
from rlprompt.core.ledger import Budget, Ledger
from rlprompt.core.prompt import Prompt
from rlprompt.lm.protocol import FrozenLM
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.split_scorer import Question, SplitScorer
from rlprompt.tasks.examples import Split

#: Prompts scored in one LM call: a step of the progress bar, and what a kill can cost.
BATCH = 16


@dataclass(eq=False)
class Till:
    """The budget of an explanation.

    What the run's log holds is free. Everything else is charged once, before it is scored, be its
    score computed now or read from the explanation's own log: so an explanation that was killed and
    started again ends with the ledger of an uninterrupted one.

    Attributes:
        budget: hard limit in LM forwards.
        logged: the run's scores; never written to.
        kept: the explanation's own log.
        on_event: is told of progress.
        ledger: what was charged.
        free: LM forwards whose scores were in the run's log.
        wanted: LM forwards that everything would have taken with no limit.
        settled: contexts and prompts that were paid for or found in the run's log.
    """

    budget: Budget
    logged: EvaluationLog
    kept: EvaluationLog
    on_event: OnEvent
    ledger: Ledger = field(default_factory=Ledger)
    free: int = 0
    wanted: int = 0
    settled: set[tuple[str, Prompt]] = field(default_factory=set)

    @property
    def left(self) -> int:
        """LM forwards that may still be charged."""
        return self.budget.forwards - self.ledger.forwards


class Part:
    """Some examples under a question, with what is known of them from both logs."""

    def __init__(self, lm: FrozenLM, question: Question, split: Split, till: Till) -> None:
        """Binds nothing yet.

        Args:
            lm: the frozen LM.
            question: what is asked of it.
            split: the examples, cut as the run has cut them.
            till: pays, and has the logs.
        """
        self._till = till
        self._logged = SplitScorer(lm, question, split, till.logged)
        self._fresh = partial(SplitScorer, lm, question, split, till.kept)
        self._kept = self._fresh()
        self.gold = self._kept.gold

    def cost(self, prompt: Prompt) -> int:
        """Returns the LM forwards that a prompt takes now: 0 where it is known or paid for."""
        settled = (self._kept.context, prompt) in self._till.settled
        return 0 if settled or self._logged.has(prompt) else len(self.gold)

    def pay(self, prompt: Prompt) -> int:
        """Charges for a prompt; returns how much."""
        cost = self.cost(prompt)
        self._till.ledger.charge(cost, self._till.budget)
        key = (self._kept.context, prompt)
        if key not in self._till.settled:
            self._till.free += len(self.gold) - cost
            self._till.settled.add(key)
        return cost

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Lets the LM refuse the question, unless nothing has to be asked.

        Raises:
            RLPromptError: the template or a label word does not suit the LM.
        """
        if not all(self._logged.has(p) or self._kept.has(p) for p in prompts):
            _ = self._kept.scorer

    def score(self, prompts: Sequence[Prompt]) -> int:
        """Scores prompts that were paid for; returns the LM forwards of those not in the log."""
        missing = [p for p in prompts if not self._logged.has(p)]
        if missing:
            self._kept.logprobs(missing, self._till.ledger)
        return len(missing) * len(self.gold)

    def release(self) -> None:
        """Lets go of what the LM keeps of the examples."""
        self._kept = self._fresh()

    def known(self, prompt: Prompt) -> FloatArray:
        """Returns log-probabilities of shape (n_examples, n_labels) of a scored prompt."""
        scorer = self._logged if self._logged.has(prompt) else self._kept
        return scorer.known(prompt)


class Desk:
    """One question, asked about prompts on train and on other examples."""

    def __init__(
        self,
        lm: FrozenLM,
        question: Question,
        train: Split,
        others: Sequence[Split],
        till: Till,
    ) -> None:
        """Binds nothing yet.

        Args:
            lm: the frozen LM.
            question: what is asked of it.
            train: the examples that calibration is fitted on.
            others: further examples, cut as the run has cut them.
            till: pays.
        """
        self._till = till
        self._train = Part(lm, question, train, till)
        self._others = [Part(lm, question, split, till) for split in others]
        self._paid: dict[Prompt, int] = {}

    @property
    def _parts(self) -> list[Part]:
        return [self._train, *self._others]

    def cost(self, prompts: Sequence[Prompt]) -> int:
        """Returns the LM forwards that prompts would take now."""
        asked = dict.fromkeys(p for p in prompts if p not in self._paid)
        return sum(part.cost(p) for p in asked for part in self._parts)

    def score(self, prompts: Sequence[Prompt], phase: str, *, together: bool = False) -> int:
        """Scores prompts, the first ones first, as far as the budget goes.

        Args:
            prompts: what is asked about.
            phase: what to call it in reports of progress.
            together: whether all of them are needed, or none.

        Returns:
            How many could not be paid for.

        Raises:
            RLPromptError: the LM refuses the question.
        """
        till = self._till
        new = [p for p in dict.fromkeys(prompts) if p not in self._paid]
        if together and self.cost(new) > till.left:
            till.wanted += self.cost(new)
            return len(new)
        for part in self._parts:
            part.check(new)
        bought: list[Prompt] = []
        for prompt in new:
            cost = self.cost([prompt])
            till.wanted += cost
            if cost <= till.left:
                self._paid[prompt] = sum(part.pay(prompt) for part in self._parts)
                bought.append(prompt)
        total = sum(self._paid[p] for p in bought)
        done = 0
        for part in self._parts:
            for start in range(0, len(bought), BATCH):
                batch = bought[start : start + BATCH]
                done += part.score(batch)
                if total:
                    till.on_event(Event(phase, min(done, total), total))
            part.release()
        return len(new) - len(bought)

    def has(self, prompt: Prompt | None) -> bool:
        """Whether a prompt was scored here."""
        return prompt in self._paid

    def paid(self, prompt: Prompt) -> int:
        """Returns what a prompt took."""
        return self._paid[prompt]

    def everywhere(self, prompt: Prompt) -> Evaluation:
        """Returns a prompt's scores on all examples, calibrated on train."""
        return self._joined(prompt, self._parts)

    def elsewhere(self, prompt: Prompt) -> Evaluation:
        """Returns a prompt's scores on the examples that are not train, calibrated on train."""
        return self._joined(prompt, self._others)

    def raw(self, prompt: Prompt) -> tuple[FloatArray, int]:
        """Returns log-probabilities on all examples, and how many of these are train."""
        rows = [part.known(prompt) for part in self._parts]
        return np.concatenate(rows), len(self._train.gold)

    def _joined(self, prompt: Prompt, parts: Sequence[Part]) -> Evaluation:
        return Evaluation(
            np.concatenate([part.known(prompt) for part in parts]),
            np.concatenate([part.gold for part in parts]),
            fit_calibration(self._train.known(prompt)),
        )
