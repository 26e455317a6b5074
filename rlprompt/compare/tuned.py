"""Tuned methods of a comparison: trained, written down, and made again to be scored on test."""

import hashlib
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rlprompt.compare import folder
from rlprompt.compare.config import CompareConfig
from rlprompt.compare.records import item_row, origin, plain
from rlprompt.core.errors import ConfigError, RLPromptError
from rlprompt.core.evaluation import Evaluation, FloatArray
from rlprompt.core.events import Event, OnEvent
from rlprompt.core.ledger import Budget
from rlprompt.core.result import Scores, SplitScores
from rlprompt.core.trials import Setting
from rlprompt.lm.protocol import FrozenLM, GradientLM
from rlprompt.run.parts import Parts
from rlprompt.run.search import settings_of
from rlprompt.tasks.examples import Split
from rlprompt.tuning.protocol import Problem, TrainableLM, Tuned, Tuner, make_tuner, settle

#: How far dev's mean log-probability may be off when something tuned is made again: rounding.
_ROUNDING = 1e-3
_CHECKPOINT, _SECONDS = "checkpoint", "seconds.json"


@dataclass(frozen=True, eq=False)
class TunedContestant:
    """Something tuned that was settled on train and dev, ready for test.

    Implements :class:`rlprompt.compare.records.Settled`.

    Attributes:
        text: what was tuned, in a few words.
        bias: calibration of each label, shape (n_labels,).
        train_reward: by the run's reward.
        dev: its scores on dev.
    """

    text: str
    bias: FloatArray
    train_reward: float
    dev: Scores


class TunedRuns:
    """The tuners of one group.

    What was tuned is in its checkpoint. For test it is made again from there, by the same call,
    which finds nothing left to do: so a kill between training and test changes nothing. A tuner is
    given a task whose test split cannot be opened.
    """

    def __init__(self, config: CompareConfig, load: Callable[[], FrozenLM]) -> None:
        """Loads nothing.

        Args:
            config: of the comparison.
            load: returns the LM a second time, loaded to be trained; called when a tuner starts.
        """
        self._config = config
        self._load = load
        self.seconds = 0.0

    def train(self, run: Parts, setting: Setting, on_event: OnEvent) -> dict[str, Any]:
        """Runs a tuner, keeps what it learned beside the record, and returns the record.

        Train is scored once more at the end, for the calibration: that is in the budget too.

        Raises:
            ConfigError: the budget is too small, or the LM cannot be trained.
        """
        lm = trainable(self._load, run.lm)
        watch = _Stopwatch(_work(self._file(setting)) / _SECONDS)

        def listen(event: Event) -> None:
            watch.keep()
            on_event(event)

        with self._timed():
            tuner, problem, tuned = self._tune(run, setting, lm, listen)
            bias = settle(tuned, run.task.train, run.task.dev)
            on_train, on_dev = (_evaluated(tuned, each, bias) for each in _seen(run))
            kept = self._file(setting).with_suffix("")
            shutil.rmtree(kept, ignore_errors=True)  # of a start that was killed
            kept.mkdir(parents=True)
            tuned.save(kept)
        both = Evaluation(
            np.concatenate([on_train.logprobs, on_dev.logprobs]),
            np.concatenate([on_train.gold, on_dev.gold]),
            bias,
        )
        dev = SplitScores.of(on_dev)
        files = sorted(path for path in kept.rglob("*") if path.is_file())
        return {
            "setting": asdict(setting),
            "tuner": self._config.method(setting.method).tuner,
            "settings": settings_of(tuner),
            "origin": origin(run),
            "prompt": {"text": described(files, tuned.n_parameters)},
            "n_parameters": tuned.n_parameters,
            "traits": {
                name: getattr(tuner.traits, name) for name in ("gradients", "readable", "other_lms")
            },
            "bytes": sum(path.stat().st_size for path in files),
            "saved": _hash(files, kept),
            "calibration": dict(zip(run.task.labels, map(float, bias), strict=True)),
            "reward": run.reward(both),
            "train_reward": run.reward(on_train),
            "dev": {"accuracy": dev.accuracy, "log_likelihood": dev.log_likelihood},
            "ledger": {
                "forwards": problem.ledger.forwards + len(run.task.train),
                "seconds": round(watch.seconds, 3),
            },
            "history": [{key: plain(value) for key, value in row.items()} for row in tuned.history],
        }

    def test_row(
        self, run: Parts, setting: Setting, record: dict[str, Any], test: Split
    ) -> dict[str, Any]:
        """Makes what was tuned again and returns what it does on every test item.

        Raises:
            RLPromptError: what comes out is not what was selected.
        """
        lm = trainable(self._load, run.lm)
        with self._timed():
            _, _, tuned = self._tune(run, setting, lm, lambda event: None)
            bias = np.array([*record["calibration"].values()])
            dev = SplitScores.of(_evaluated(tuned, run.task.dev, bias))
            was = Scores(**record["dev"])
            if abs(dev.log_likelihood - was.log_likelihood) > _ROUNDING:
                raise RLPromptError(
                    f"{setting.method!r} cannot be made again: its log-likelihood on dev was "
                    f"{was.log_likelihood:.4f} and is {dev.log_likelihood:.4f}. Delete "
                    f"{self._file(setting)} to have it trained anew."
                )
            found = _evaluated(tuned, test, bias)
        settled = TunedContestant(record["prompt"]["text"], bias, record["train_reward"], was)
        # A tuner does not tell how many inputs it had to cut.
        row = item_row(settled, found.logprobs, found.gold, None)
        return {**row, "saved": record["saved"]}

    def clear(self, setting: Setting) -> None:
        """Takes away the checkpoint of what was scored on test: several times what is kept."""
        shutil.rmtree(_work(self._file(setting)), ignore_errors=True)

    def _tune(
        self, run: Parts, setting: Setting, lm: TrainableLM, on_event: OnEvent
    ) -> tuple[Tuner, Problem, Tuned]:
        method = self._config.method(setting.method)
        tuner = make_tuner(method.tuner, method.settings)
        left = setting.budget - len(run.task.train)
        if left < 1:
            raise ConfigError(
                f"A budget of {setting.budget} LM forwards is too small for {setting.method!r}: "
                f"its calibration alone takes {len(run.task.train)}."
            )
        task = replace(run.task, test=run.task.test.withheld())
        problem = Problem(lm, task, Budget(left))
        work = _work(self._file(setting)) / _CHECKPOINT
        tuned = tuner.tune(problem, seed=setting.seed, on_event=on_event, work=work)
        return tuner, problem, tuned

    def _file(self, setting: Setting) -> Path:
        return folder.run_file(self._config.out, setting)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started


class _Stopwatch:
    """Counts seconds over all the starts that a tuning takes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = float((folder.read(path) or {"seconds": 0.0})["seconds"])
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        return self._before + time.perf_counter() - self._started

    def keep(self) -> None:
        folder.write(self._path, {"seconds": self.seconds})


def trainable(load: Callable[[], FrozenLM], scoring: FrozenLM) -> TrainableLM:
    """Returns the LM that gives scores, loaded to be trained.

    Raises:
        ConfigError: it cannot be trained, or another one was loaded.
    """
    if not isinstance(scoring, GradientLM):  # so that it need not be loaded to know
        raise ConfigError(_no_gradients(scoring))
    lm = load()
    if not isinstance(lm, GradientLM):
        raise ConfigError(_no_gradients(lm))
    if lm.identity.fingerprint != scoring.identity.fingerprint:
        raise ConfigError(
            f"The LM to train, {lm.identity.name}, is not the one that gives the scores: "
            f"{lm.identity.fingerprint} and {scoring.identity.fingerprint}."
        )
    return lm


def described(files: list[Path], n_parameters: int) -> str:
    """Says what was tuned in a few words: '(5 x 576 numbers)', or how many numbers in all.

    Args:
        files: that were saved; the shape is that of the only tensor in them.
        n_parameters: how many numbers were trained.
    """
    from safetensors import safe_open

    shapes = []
    for path in files:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="numpy") as file:
                names = [*file.keys()]
                shapes += [file.get_slice(name).get_shape() for name in names]
    if len(shapes) == 1 and math.prod(shapes[0]) == n_parameters:
        return f"({' x '.join(map(str, shapes[0]))} numbers)"
    return f"({n_parameters:,} numbers)"


def _no_gradients(lm: FrozenLM) -> str:
    return (
        f"{lm.identity.name} cannot be tuned: there are no gradients of {lm.identity.family} LMs. "
        "Leave tuners out, or take an LM of another family."
    )


def _work(path: Path) -> Path:
    """Returns the folder in which a tuner works, beside the file of its run."""
    return path.with_suffix(".work")


def _seen(run: Parts) -> tuple[Split, Split]:
    return run.task.train, run.task.dev


def _evaluated(tuned: Tuned, split: Split, bias: FloatArray) -> Evaluation:
    return Evaluation(tuned.choice_logprobs(tuple(split)), np.asarray(split.gold), bias)


def _hash(files: list[Path], within: Path) -> str:
    """Tells one tuning from another of the same shape."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(within).as_posix()}\0".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
