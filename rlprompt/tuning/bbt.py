"""Black-box tuning: a soft prompt by evolution in a random subspace (Sun et al. 2022).

    Black-Box Tuning for Language-Model-as-a-Service, arXiv:2201.03514

The prompt is ``start + A z``. CMA-ES looks for the few numbers ``z``; ``A`` is random and stays, so
only forwards are needed. ``A`` is drawn as in the second paper (BBTv2, arXiv:2205.11200), so that
``A z`` spreads as the LM's own embeddings do.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from rlprompt.core.errors import BudgetExhausted, ConfigError, RunError
from rlprompt.core.evaluation import FloatArray
from rlprompt.core.events import Event, OnEvent
from rlprompt.core.hashing import content_hash
from rlprompt.tasks.optional import need
from rlprompt.tasks.template import Template
from rlprompt.tuning import checkpoint
from rlprompt.tuning.protocol import Problem, Traits, check_family, template_of
from rlprompt.tuning.rows import SoftRows, TunedSoftPrompt, check_rows, start_rows
from rlprompt.tuning.trainable import bind, scores

STATE = "evolution.safetensors"


@dataclass(frozen=True)
class BlackBox:
    """Looks for a soft prompt by CMA-ES. A :class:`~rlprompt.tuning.protocol.Tuner`.

    The paper has 50 rows, 500 dimensions and a population of 20, for 8000 looks at train. These
    defaults are for a fraction of that.

    Attributes:
        length: rows of the prompt; 0 for as many as the init text has tokens, 5 where there is
            none.
        init: what the rows begin as, see :class:`rlprompt.tuning.soft_prompt.SoftPrompt`.
        text: text for ``init = "text"``; '' for whichever of the task's manual prompts is likeliest
            on dev.
        run: for ``init = "prompt"``: the folder of the run that learned it.
        template: in place of the task's; '' for the task's own.
        dimensions: of the subspace.
        population: prompts a generation; each is scored on all of train.
        sigma: standard deviation of ``z`` at the beginning.
        spread: standard deviation of ``A z`` at the beginning, in that of the LM's embeddings.
        generations: most of them.
        evaluate_every: generations between two looks at dev.
    """

    name: ClassVar[str] = "bbt"

    length: int = 5
    init: str = "text"
    text: str = ""
    run: str = ""
    template: str = ""
    dimensions: int = 100
    population: int = 12
    sigma: float = 1.0
    spread: float = 1.0
    generations: int = 200
    evaluate_every: int = 5

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant.

        Raises:
            ConfigError: with what to write instead.
        """
        check_rows(self.length, self.init, self.text, self.run)
        # CMA-ES moves towards the better half of a population.
        for name, least in (
            ("dimensions", 2),
            ("population", 4),
            ("generations", 1),
            ("evaluate_every", 1),
        ):
            if type(value := getattr(self, name)) is not int or value < least:
                raise ConfigError(f"{name} must be a whole number of {least} up, not {value!r}.")
        for name in ("sigma", "spread"):
            if not 0 < (value := getattr(self, name)) < float("inf"):
                raise ConfigError(f"{name} must be a number above 0, not {value!r}.")

    @property
    def traits(self) -> Traits:
        """What sets it apart."""
        return Traits(False, False, False, ("causal", "masked", "seq2seq"))

    def tune(
        self, problem: Problem, *, seed: int, on_event: OnEvent, work: Path | None
    ) -> TunedSoftPrompt:
        """See :meth:`rlprompt.tuning.protocol.Tuner.tune`."""
        check_family(self.name, self.traits, problem.lm)
        template = template_of(problem, self.template)
        start = start_rows(
            problem,
            template,
            seed,
            length=self.length,
            init=self.init,
            text=self.text,
            run=self.run,
        )
        evolution = Evolution(
            self, problem, template, start, seed=seed, on_event=on_event, work=work
        )
        rows = evolution.run()
        return TunedSoftPrompt(problem, rows, start, evolution.history, self.dimensions)


class Evolution:
    """One search.

    All that CMA-ES does follows from the seed and the losses that it is told. So the checkpoint is
    the list of these, and a search that was killed is played again without the LM up to where it
    was.
    """

    def __init__(
        self,
        settings: BlackBox,
        problem: Problem,
        template: Template,
        start: torch.Tensor,
        *,
        seed: int,
        on_event: OnEvent,
        work: Path | None,
    ) -> None:
        """Loads what is known from before.

        Args:
            settings: the tuner.
            problem: LM, task and budget.
            template: where the rows stand.
            start: the rows to begin from, shape (length, width).
            seed: of subspace and search.
            on_event: is told of progress.
            work: folder of the checkpoint; None for none.

        Raises:
            ConfigError: the package cmaes is not installed.
            RunError: the checkpoint is damaged or was made with other settings.
        """
        cmaes = need("cmaes", "rlprompt[tuning]", f"The tuner {settings.name!r}")
        self._settings, self._problem, self._template = settings, problem, template
        self._start, self._tell, self._seed = start, on_event, seed
        self._path = None if work is None else work / STATE
        self._subspace = self._drawn()
        self._cma = cmaes.CMA(
            mean=np.zeros(settings.dimensions),
            sigma=settings.sigma,
            population_size=settings.population,
            seed=int(np.random.default_rng([seed, 3]).integers(2**31)),
        )
        # The rows only say how long the prompt is; each forward is given its own.
        rows = SoftRows(template, start)
        self._train = bind(problem, rows, tuple(problem.task.train))
        self._dev = bind(problem, rows, tuple(problem.task.dev))
        self._spent = 0
        self.history: list[dict[str, Any]] = []
        self._losses, self._looks = self._known()

    def run(self) -> SoftRows:
        """Searches until the generations or the budget end; returns what was best on dev.

        Raises:
            ConfigError: the budget does not even cover one look at dev.
        """
        settings, budget = self._settings, self._problem.budget
        best = latest = np.zeros(settings.dimensions)
        try:
            value = self._look(0, latest, None)
        except BudgetExhausted:
            raise ConfigError(
                f"{budget.forwards} LM forwards for the tuning buy nothing: one look at dev costs "
                f"{self._dev.n_examples}, and a generation "
                f"{settings.population * self._train.n_examples}."
            ) from None
        loss = float("inf")
        looked, generation = True, 0
        while generation < settings.generations and self._affords_a_generation():
            points = [self._cma.ask() for _ in range(settings.population)]
            losses = self._evaluated(generation, points)
            first = int(np.argmin(losses))
            if losses[first] < loss:
                loss, latest, looked = losses[first], points[first], False
            self._cma.tell(list(zip(points, losses, strict=True)))
            generation += 1
            last = generation == settings.generations or not self._affords_a_generation()
            if not looked and (last or generation % settings.evaluate_every == 0):
                found = self._look(generation, latest, loss)
                looked = True
                if found > value:
                    value, best = found, latest
        return SoftRows(self._template, self._rows(best))

    def _affords_a_generation(self) -> bool:
        """Whether the budget covers a generation and the look at dev that must follow."""
        ledger, budget = self._problem.ledger, self._problem.budget
        cost = self._settings.population * self._train.n_examples + self._dev.n_examples
        return ledger.forwards + cost <= budget.forwards

    def _drawn(self) -> FloatArray:
        """Draws ``A``, shape (dimensions, length x width).

        Its standard deviation is ``spread * s / (sqrt(dimensions) * sigma)`` with ``s`` that of the
        LM's embeddings, so that ``spread * s`` is that of ``A z``.
        """
        settings = self._settings
        model: Any = self._problem.lm.model
        deviation = float(model.get_input_embeddings().weight.float().std())
        scale = settings.spread * deviation / (settings.dimensions**0.5 * settings.sigma)
        generator = np.random.default_rng([self._seed, 2])
        return generator.normal(0.0, scale, (settings.dimensions, self._start.numel()))

    def _rows(self, point: FloatArray) -> torch.Tensor:
        """Returns the rows of a point of the subspace, shape (length, width)."""
        moved = torch.from_numpy(point @ self._subspace).to(self._start)
        return self._start + moved.view_as(self._start)

    def _evaluated(self, generation: int, points: Sequence[FloatArray]) -> list[float]:
        """Returns the cross-entropy on train of each point."""
        self._charge(len(points) * self._train.n_examples)
        if generation == len(self._losses):
            gold = self._problem.task.train.gold
            prompts = [SoftRows(self._template, self._rows(each)) for each in points]
            self._losses.append([-_mean_of(gold, scores(each, self._train)) for each in prompts])
            self._keep()
        return self._losses[generation]

    def _look(self, generation: int, point: FloatArray, loss: float | None) -> float:
        """Scores a point on dev: returns the mean log-probability of the right label."""
        self._charge(self._dev.n_examples)
        place = len(self.history)
        if place == len(self._looks):
            gold = self._problem.task.dev.gold
            found = scores(SoftRows(self._template, self._rows(point)), self._dev)
            accuracy = float((found.argmax(-1) == np.asarray(gold)).mean())
            self._looks.append([_mean_of(gold, found), accuracy])
            self._keep()
        value, accuracy = self._looks[place]
        self.history.append(
            {
                "step": generation,
                "train_log_likelihood": None if loss is None else -loss,
                "dev_log_likelihood": value,
                "dev_accuracy": accuracy,
                "passes": self._spent,
            }
        )
        best = max(row["dev_log_likelihood"] for row in self.history)
        budget = self._problem.budget.forwards
        metrics = {"step": float(generation)}
        self._tell(
            Event(f"tune: {self._settings.name}", self._spent, budget, best, metrics=metrics)
        )
        return value

    def _charge(self, forwards: int) -> None:
        self._problem.ledger.charge(forwards, self._problem.budget)
        self._spent += forwards

    @property
    def _key(self) -> str:
        """Names everything that the outcome depends on."""
        problem, template = self._problem, self._template
        return content_hash(
            [
                asdict(self._settings),
                self._seed,
                problem.lm.identity.fingerprint,
                [template.source, template.answer_prefix],
                [list(words) for words in problem.task.verbalizer.words],
                list(problem.task.manual_prompts),
                problem.task.train.hash,
                problem.task.dev.hash,
                problem.budget.forwards,
            ]
        )

    def _keep(self) -> None:
        if self._path is not None:
            facts = {"key": self._key, "losses": self._losses, "looks": self._looks}
            checkpoint.save(self._path, {}, facts)

    def _known(self) -> tuple[list[list[float]], list[list[float]]]:
        """Returns the losses of each generation and what the looks at dev gave, from before."""
        found = None if self._path is None else checkpoint.load(self._path)
        if found is None:
            return [], []
        _, facts = found
        if facts["key"] != self._key:
            raise RunError(
                f"{self._path} belongs to a search with other settings, data or LM: choose "
                "another folder, or delete it."
            )
        return facts["losses"], facts["looks"]


def _mean_of(gold: Sequence[int], logprobs: FloatArray) -> float:
    """Returns the mean log-probability of the right label."""
    return float(logprobs[np.arange(len(gold)), np.asarray(gold)].mean())
