"""What a run leaves behind: ``result.json``, frozen, versioned, never a pickle.

Everything but ``ledger.*.seconds`` and ``process`` is the same for the same configuration and seed,
however often the run was killed and started again.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rlprompt.core.errors import RunError
from rlprompt.core.evaluation import Evaluation, correct, gold_logprobs
from rlprompt.core.files import write_json
from rlprompt.core.statistics import bootstrap_mean

SCHEMA = 1
#: Its name in the folder of a run.
FILE = "result.json"


@dataclass(frozen=True)
class Scores:
    """Scores of one prompt on one split.

    Attributes:
        accuracy: share of right answers, in [0, 1].
        log_likelihood: mean log-probability of the right label, in nats.
        accuracy_interval: 95 % bootstrap interval over examples, None where not computed.
        log_likelihood_interval: the same for the log-likelihood.
    """

    accuracy: float
    log_likelihood: float
    accuracy_interval: tuple[float, float] | None = None
    log_likelihood_interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class SplitScores:
    """Scores of one prompt on one split, with and without calibration.

    Attributes:
        accuracy: calibrated, in [0, 1].
        log_likelihood: calibrated, in nats.
        accuracy_interval: 95 % bootstrap interval over examples, on test only.
        log_likelihood_interval: the same for the log-likelihood.
        uncalibrated: the same scores from the LM's own label probabilities.
    """

    accuracy: float
    log_likelihood: float
    uncalibrated: Scores
    accuracy_interval: tuple[float, float] | None = None
    log_likelihood_interval: tuple[float, float] | None = None

    @classmethod
    def of(cls, evaluation: Evaluation, *, intervals: bool = False) -> "SplitScores":
        """Scores an evaluation."""
        calibrated = _scores(evaluation.calibrated, evaluation, intervals)
        return cls(
            uncalibrated=_scores(evaluation.logprobs, evaluation, intervals), **asdict(calibrated)
        )

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "SplitScores":
        """The opposite of ``asdict``."""
        value = {k: _pair(v) for k, v in value.items()}
        inner = {k: _pair(v) for k, v in value.pop("uncalibrated").items()}
        return cls(uncalibrated=Scores(**inner), **value)


def _scores(logprobs: Any, evaluation: Evaluation, intervals: bool) -> Scores:
    hits = correct(logprobs, evaluation.gold)
    likelihoods = gold_logprobs(logprobs, evaluation.gold)
    if not intervals:
        return Scores(float(hits.mean()), float(likelihoods.mean()))
    accuracy, likelihood = bootstrap_mean(hits), bootstrap_mean(likelihoods)
    return Scores(
        accuracy.value,
        likelihood.value,
        (accuracy.low, accuracy.high),
        (likelihood.low, likelihood.high),
    )


def _pair(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class PromptRecord:
    """A prompt as it is shipped.

    Attributes:
        ids: token ids, all slots together; which stand in which slot is for the text to say.
        text: exact text for the template's slots; ``prompt.txt`` holds the same.
        tokens: text of each token.
        retokenizes: whether every train example, rendered with the text and encoded as one string,
            holds exactly these ids.
    """

    ids: tuple[int, ...]
    text: str
    tokens: tuple[str, ...]
    retokenizes: bool

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "PromptRecord":
        """The opposite of ``asdict``."""
        return cls(**{k: _pair(v) for k, v in value.items()})


@dataclass(frozen=True)
class Candidate:
    """A prompt with its calibration and scores.

    Attributes:
        prompt: the prompt.
        calibration: bias of each label in nats, fitted on train, taken off before the softmax.
        scores: by split name; test only for prompts that were selected before it was opened.
    """

    prompt: PromptRecord
    calibration: dict[str, float]
    scores: dict[str, SplitScores]

    @property
    def prompts(self) -> tuple[PromptRecord, ...]:
        """The prompt, as an ensemble has several."""
        return (self.prompt,)

    @property
    def texts(self) -> tuple[str, ...]:
        """The prompt's text, as an ensemble has several."""
        return (self.prompt.text,)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Candidate":
        """The opposite of ``asdict``."""
        prompt = PromptRecord.from_json(value["prompt"])
        scores = {k: SplitScores.from_json(v) for k, v in value["scores"].items()}
        return cls(prompt, dict(value["calibration"]), scores)


@dataclass(frozen=True)
class Ensemble:
    """Several prompts whose calibrated predictions are averaged (``core.evaluation.pool``).

    Attributes:
        prompts: the prompts, the selected one first.
        calibration: bias of each label in nats, of the average.
        scores: of the average, by split.
    """

    prompts: tuple[PromptRecord, ...]
    calibration: dict[str, float]
    scores: dict[str, SplitScores]

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of its prompts."""
        return tuple(prompt.text for prompt in self.prompts)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Ensemble":
        """The opposite of ``asdict``."""
        prompts = tuple(map(PromptRecord.from_json, value["prompts"]))
        scores = {k: SplitScores.from_json(v) for k, v in value["scores"].items()}
        return cls(prompts, dict(value["calibration"]), scores)


@dataclass(frozen=True)
class Search:
    """One agent's search and what it found.

    Attributes:
        agent: registered name or import path.
        settings: the agent's settings, all of them.
        found: the selected prompt.
        reward: its reward on train and dev together, by which it was selected.
        ended: why the search ended.
        ledger: forwards, cache_hits, tokens, saved_tokens, seconds; and of the forwards, those of
            the search and of the selection.
        trace: each improvement on train: LM forwards, reward and text.
        finalists: text, reward on train and dev of the last round of the selection.
        ensemble: the best of the finalists together, where a run was asked for that.
    """

    agent: str
    settings: dict[str, Any]
    found: Candidate
    reward: float
    ended: str
    ledger: dict[str, float]
    trace: tuple[dict[str, Any], ...]
    finalists: tuple[dict[str, Any], ...]
    ensemble: Ensemble | None = None

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Search":
        """The opposite of ``asdict``."""
        value = {k: _pair(v) for k, v in value.items()}
        value["found"] = Candidate.from_json(value["found"])
        if value.get("ensemble") is not None:
            value["ensemble"] = Ensemble.from_json(value["ensemble"])
        return cls(**value)


@dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes:
        task: name, version, labels, language, reports of what was done to the data.
        lm: identity of the frozen LM and its fingerprint.
        template: source and answer_prefix.
        verbalizer: words of each label.
        vocabulary: size and language of the action vocabulary, what each filter removed, its file.
        splits: for each split its hash, size and number of cut texts; for test also how many
            examples were scored and why it was opened.
        main: the run's own agent.
        controls: other agents at the same budget, by name.
        baselines: 'empty' and 'manual' (best of the task's manual prompts on dev; the empty one
            again where it has none).
        manual_candidates: every manual prompt with its dev scores.
        reward: name of the reward.
        budget: forwards in all, and the parts for search and selection.
        seed: of the agent.
        config: the whole run configuration.
        versions: of the packages that matter.
        process: wall seconds, share of them inside the LM, peak memory, of the last process.
    """

    task: dict[str, Any]
    lm: dict[str, str]
    template: dict[str, str]
    verbalizer: dict[str, list[str]]
    vocabulary: dict[str, Any]
    splits: dict[str, dict[str, Any]]
    main: Search
    controls: dict[str, Search]
    baselines: dict[str, Candidate]
    manual_candidates: tuple[dict[str, Any], ...]
    reward: str
    budget: dict[str, int]
    seed: int
    config: dict[str, Any]
    versions: dict[str, str]
    process: dict[str, float] = field(default_factory=dict)

    @property
    def prompt(self) -> PromptRecord:
        """The learned prompt."""
        return self.main.found.prompt

    @property
    def scores(self) -> dict[str, SplitScores]:
        """The learned prompt's scores by split."""
        return self.main.found.scores

    def learned(self, *, ensemble: bool = False) -> Candidate | Ensemble:
        """Returns what the run's own agent came to: its prompt, or its ensemble.

        Raises:
            RunError: the run has no ensemble.
        """
        found = self.main.ensemble if ensemble else self.main.found
        if found is None:
            raise RunError(
                "The run has no ensemble: run it anew with ensemble = 4 (--ensemble 4) and another "
                "--out."
            )
        return found

    @property
    def tested(self) -> dict[str, Candidate | Ensemble]:
        """What was scored on test, by name, the learned prompt first.

        The manual one is among them only where the task has any: else it is the empty one again.
        """
        found: dict[str, Candidate | Ensemble] = {}
        for name, search in {self.main.agent: self.main, **self.controls}.items():
            found[name] = search.found
            if search.ensemble is not None:
                found[f"{name}, {len(search.ensemble.prompts)} prompts"] = search.ensemble
        for name, baseline in self.baselines.items():
            if name != "manual" or self.manual_candidates:
                found[f"{name} prompt"] = baseline
        return found

    def to_json(self) -> dict[str, Any]:
        """Returns what ``result.json`` holds; the learned prompt stands at the top level."""
        value = asdict(self)
        main = value.pop("main")
        found = main.pop("found")
        return {
            "schema": SCHEMA,
            "prompt": found["prompt"],
            "calibration": found["calibration"],
            "scores": found["scores"],
            "agent": {"name": main.pop("agent"), "settings": main.pop("settings")},
            "ledger": main.pop("ledger"),
            "search": main,
            **value,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Result":
        """Reads what :meth:`to_json` gives.

        Raises:
            RunError: another schema, or a part is missing.
        """
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            raise RunError(f"This is no result of schema {SCHEMA}; run it again.")
        value = {k: v for k, v in value.items() if k != "schema"}
        try:
            found = {k: value.pop(k) for k in ("prompt", "calibration", "scores")}
            agent = value.pop("agent")
            main = Search.from_json(
                {
                    "agent": agent["name"],
                    "settings": agent["settings"],
                    "ledger": value.pop("ledger"),
                    "found": found,
                    **value.pop("search"),
                }
            )
            for name, kind in (("controls", Search), ("baselines", Candidate)):
                value[name] = {k: kind.from_json(v) for k, v in value[name].items()}
            value["manual_candidates"] = tuple(value["manual_candidates"])
            return cls(main=main, **value)
        except (KeyError, TypeError, AttributeError) as error:
            raise RunError(f"The result is damaged: {error!r}.") from error

    def save(self, path: Path | str) -> None:
        """Writes ``result.json``.

        Args:
            path: the file, or a folder for a file of this name.

        Raises:
            RunError: it cannot be written.
        """
        write_json(_file(path), self.to_json())

    @classmethod
    def load(cls, path: Path | str) -> "Result":
        """Reads ``result.json``.

        Args:
            path: the file, or the folder of a run.

        Raises:
            RunError: the file is missing, unreadable or of another schema.
        """
        file = _file(path)
        try:
            value = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            why = (
                "the run is not finished, or elsewhere"
                if file.name == FILE
                else "there is no such file or folder"
            )
            raise RunError(f"No result at {file}: {why}.") from error
        except (OSError, ValueError) as error:
            raise RunError(f"Cannot read {file}: {error}.") from error
        return cls.from_json(value)


def _file(path: Path | str) -> Path:
    """Returns the file that a path means, which may be that of its folder."""
    path = Path(path)
    return path / FILE if path.is_dir() else path
