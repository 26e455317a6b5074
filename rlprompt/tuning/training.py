"""Gradient descent on whatever a tuner changes: a sweep of learning rates, chosen by dev."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlprompt.core.errors import BudgetExhausted, ConfigError, RunError
from rlprompt.core.events import Event, OnEvent
from rlprompt.core.hashing import content_hash
from rlprompt.tuning import checkpoint
from rlprompt.tuning.protocol import Problem
from rlprompt.tuning.trainable import Trainable, bind, scores
from rlprompt.tuning.training_config import TrainingConfig

#: What a backward counts, in LM forwards.
BACKWARD = 2
STATE = "training.safetensors"


@dataclass
class Progress:
    """Where a training stands; all of it is in the checkpoint.

    Attributes:
        rate: index of the learning rate that is tried.
        step: updates done with it.
        worse: looks at dev since its best one.
        rate_best: its best mean log-probability of the right label on dev.
        best: the best of all learning rates.
        best_rate: the learning rate of the best; 0.0 for the start.
        best_step: updates after which it was seen.
        seen: train examples of the updates since the last look at dev.
        right: of them, those that were right before their update.
        likelihood: sum of their log-probabilities of the right label, then.
        forwards: LM forwards spent.
        backwards: backwards spent.
        done: whether nothing is left to do.
        history: a row for each look at dev.
    """

    rate: int = 0
    step: int = 0
    worse: int = 0
    rate_best: float = -math.inf
    best: float = -math.inf
    best_rate: float = 0.0
    best_step: int = 0
    seen: int = 0
    right: int = 0
    likelihood: float = 0.0
    forwards: int = 0
    backwards: int = 0
    done: bool = False
    history: list[dict[str, Any]] | None = None


class Training:
    """Trains a trainable; ends with the parameters that were best on dev.

    Loss is the cross-entropy over the label words: minus the mean of what
    :meth:`GradientScorer.choice_logprobs` gives the right label. The model is in eval mode, without
    dropout, so a step depends on the parameters and on which examples it sees alone, and these
    depend on seed and step: so a training that was killed ends with the very same bits.
    """

    def __init__(
        self,
        problem: Problem,
        trained: Trainable,
        config: TrainingConfig,
        *,
        settings: Mapping[str, Any],
        seed: int,
        on_event: OnEvent,
        work: Path | None,
        name: str,
        save_every: int = 1,
    ) -> None:
        """Loads a checkpoint where there is one.

        Args:
            problem: LM, task and budget.
            trained: what is trained, as it is before training.
            config: how to train.
            settings: all of the tuner's, as JSON values: a checkpoint of others is refused.
            seed: of the order of the examples.
            on_event: is told of progress.
            work: folder of the checkpoint; None for none.
            name: what errors and events call the tuner.
            save_every: updates between two checkpoints, for large ones.

        Raises:
            RunError: the checkpoint is damaged or was made with other settings.
        """
        self._problem, self.trained, self._config = problem, trained, config
        self._settings, self._seed, self._tell, self._name = settings, seed, on_event, name
        self._path = None if work is None else work / STATE
        self._save_every = save_every
        self._train = bind(problem, self.trained, tuple(problem.task.train))
        self._dev = bind(problem, self.trained, tuple(problem.task.dev))
        self._gold = torch.as_tensor(problem.task.train.gold)
        self.progress = Progress(history=[])
        self._best = self._copied()
        self._optimizer = self._new_optimizer()
        self._resume()

    def run(self) -> Trainable:
        """Trains until everything was tried or the budget does not cover the next step.

        Raises:
            ConfigError: the budget does not even cover one look at dev.
        """
        try:
            while not self.progress.done:
                self._advance()
        except BudgetExhausted:
            if not self.progress.history:
                raise ConfigError(
                    f"{self._problem.budget.forwards} LM forwards for the tuning buy nothing: one "
                    f"look at dev costs {self._dev.n_examples}, and training comes on top."
                ) from None
            self.progress.done = True
            self._keep()
        with torch.no_grad():
            for name, parameter in self.trained.parameters().items():
                parameter.copy_(self._best[name])
        return self.trained

    def _advance(self) -> None:
        """Does one update, and looks at dev where it is due."""
        progress, config = self.progress, self._config
        if progress.step == 0 and progress.rate == 0 and not progress.history:
            self._look(0.0)
        rate = config.learning_rates[progress.rate]
        self._update(rate)
        progress.step += 1
        last = progress.step == config.steps
        if progress.step % config.evaluate_every == 0 or last:
            self._look(rate)
        if last or progress.worse >= config.patience:
            self._next_rate()
        # Step 0 is that of the next learning rate: everything but the best is as at the start.
        if progress.step % self._save_every == 0 or progress.done:
            self._keep()

    def _update(self, rate: float) -> None:
        progress, config = self.progress, self._config
        batch = self._batch(progress.step)
        self._charge(len(batch), len(batch))
        factor = min(1.0, (progress.step + 1) / (config.warm_up + 1))
        for group in self._optimizer.param_groups:
            group["lr"] = rate * factor
        self._optimizer.zero_grad(set_to_none=True)
        for part in np.array_split(batch, config.accumulate):
            found = self._train.choice_logprobs(part.tolist(), self.trained.soft())
            gold = self._gold[part].to(found.device)
            likelihood = found.gather(1, gold[:, None]).sum()
            (-likelihood / len(batch)).backward()  # type: ignore[no-untyped-call]
            progress.seen += len(part)
            progress.right += int((found.detach().argmax(1) == gold).sum())
            progress.likelihood += float(likelihood.detach())
        self._optimizer.step()

    def _batch(self, step: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Returns the examples of an update: each epoch all of them, in an order of its own."""
        n = self._train.n_examples
        size = min(self._config.batch_size, n)
        wanted = range(step * size, (step + 1) * size)
        orders = {
            epoch: np.random.default_rng([self._seed, epoch]).permutation(n)
            for epoch in {place // n for place in wanted}
        }
        return np.asarray([orders[place // n][place % n] for place in wanted], np.int64)

    def _look(self, rate: float) -> None:
        """Scores dev and keeps the parameters if they are the best so far."""
        progress = self.progress
        self._charge(self._dev.n_examples, 0)
        found, gold = scores(self.trained, self._dev), np.asarray(self._problem.task.dev.gold)
        value = float(found[np.arange(len(gold)), gold].mean())
        better = value > progress.rate_best
        progress.worse = 0 if better else progress.worse + 1
        progress.rate_best = max(value, progress.rate_best)
        if value > progress.best or progress.history == []:
            progress.best, progress.best_rate, progress.best_step = value, rate, progress.step
            self._best = self._copied()
        assert progress.history is not None
        seen, progress.seen = progress.seen, 0
        right, progress.right = progress.right, 0
        likelihood, progress.likelihood = progress.likelihood, 0.0
        accuracy = float((found.argmax(-1) == gold).mean())
        progress.history.append(
            {
                "rate": rate,
                "step": progress.step,
                "dev_log_likelihood": value,
                "dev_accuracy": accuracy,
                # Of the updates up to here, for nothing; none before the first.
                "train_log_likelihood": likelihood / seen if seen else None,
                "train_accuracy": right / seen if seen else None,
                "passes": progress.forwards + BACKWARD * progress.backwards,
            }
        )
        self._tell(
            Event(
                f"tune: {self._name}",
                progress.forwards + BACKWARD * progress.backwards,
                self._problem.budget.forwards,
                progress.best,
                metrics={"rate": rate, "step": float(progress.step)},
            )
        )

    def _next_rate(self) -> None:
        progress = self.progress
        progress.rate += 1
        progress.step = progress.worse = progress.seen = progress.right = 0
        progress.likelihood = 0.0
        progress.rate_best = -math.inf
        progress.done = progress.rate == len(self._config.learning_rates)
        start = self.trained.start
        with torch.no_grad():
            for name, parameter in self.trained.parameters().items():
                parameter.copy_(start[name])
        self._optimizer = self._new_optimizer()

    def _new_optimizer(self) -> torch.optim.Optimizer:
        parameters = list(self.trained.parameters().values())
        if self._config.optimizer == "adafactor":
            return torch.optim.Adafactor(parameters, lr=1.0)
        return torch.optim.AdamW(parameters, lr=1.0, weight_decay=self._config.weight_decay)

    def _copied(self) -> dict[str, torch.Tensor]:
        return {n: each.detach().clone() for n, each in self.trained.parameters().items()}

    def _charge(self, forwards: int, backwards: int) -> None:
        self._problem.ledger.charge(forwards + BACKWARD * backwards, self._problem.budget)
        self.progress.forwards += forwards
        self.progress.backwards += backwards

    @property
    def _key(self) -> str:
        """Names everything that the outcome depends on."""
        problem = self._problem
        return content_hash(
            [
                self._name,
                self._settings,
                self._seed,
                problem.lm.identity.fingerprint,
                [self.trained.template.source, self.trained.template.answer_prefix],
                list(self.trained.prompt.ids),
                [list(words) for words in problem.task.verbalizer.words],
                list(problem.task.manual_prompts),
                problem.task.train.hash,
                problem.task.dev.hash,
                problem.budget.forwards,
            ]
        )

    def _keep(self) -> None:
        if self._path is None:
            return
        tensors, values = checkpoint.flat(self._optimizer.state_dict())
        current = self.trained.parameters()
        checkpoint.save(
            self._path,
            {
                **{f"now.{name}": each for name, each in current.items()},
                **{f"best.{name}": each for name, each in self._best.items()},
                **{f"optimizer.{name}": each for name, each in tensors.items()},
            },
            {"key": self._key, "optimizer": values, "progress": asdict(self.progress)},
        )

    def _resume(self) -> None:
        found = None if self._path is None else checkpoint.load(self._path)
        if found is None:
            return
        tensors, facts = found
        if facts["key"] != self._key:
            raise RunError(
                f"{self._path} belongs to a training with other settings, data or LM: choose "
                "another folder, or delete it."
            )
        self.progress = Progress(**facts["progress"])
        self._problem.ledger.forwards += self.progress.forwards + BACKWARD * self.progress.backwards
        parts: dict[str, dict[str, torch.Tensor]] = {"now": {}, "best": {}, "optimizer": {}}
        for name, each in tensors.items():
            kind, _, rest = name.partition(".")
            parts[kind][rest] = each
        with torch.no_grad():
            for name, parameter in self.trained.parameters().items():
                parameter.copy_(parts["now"][name])
        device = next(iter(self.trained.parameters().values())).device
        self._best = {name: each.to(device) for name, each in parts["best"].items()}
        groups = self._optimizer.state_dict()["param_groups"]
        state = checkpoint.unflat(parts["optimizer"], facts["optimizer"], groups)
        self._optimizer.load_state_dict(state)
