"""All that a classifier needs of a run: prompt, template, label words, calibration, LM."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rlprompt.core.errors import ConfigError, RunError
from rlprompt.core.result import Result
from rlprompt.core.version import __version__
from rlprompt.export.inputs import filled, shown
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template

#: Of the facts that stand in every export: of a prompt, and of an ensemble, which a reader of the
#: first must not take for its first prompt.
SCHEMA, OF_ENSEMBLE = 1, 2


@dataclass(frozen=True)
class LMSource:
    """The LM, and how plain transformers loads it.

    Attributes:
        name: as the run names it.
        family: 'causal', 'masked' or 'seq2seq'.
        revision: commit or file name, where there is one.
        dtype: torch name of the weights' dtype.
        weights: hash of the weights.
        tokenizer: hash of the tokenizer.
        location: hub id or folder.
        options: for ``from_pretrained``: gguf_file, revision, trust_remote_code.
    """

    name: str
    family: str
    revision: str
    dtype: str
    weights: str
    tokenizer: str
    location: str
    options: Mapping[str, Any]

    @property
    def described(self) -> str:
        """In a few words."""
        revision = f", {self.revision}" if self.revision else ""
        return f"{self.name} ({self.family}{revision}, {self.dtype}, weights {self.weights})"


@dataclass(frozen=True)
class Member:
    """One prompt of an ensemble.

    Attributes:
        prompt: exact text.
        ids: its token ids.
        input: the template with the prompt in it, as in :class:`Artifact`.
    """

    prompt: str
    ids: tuple[int, ...]
    input: tuple[str, ...]


@dataclass(frozen=True)
class Artifact:
    """What is exported.

    Attributes:
        task: name of the task.
        language: of its texts.
        prompt: exact text of the learned prompt, in several slots with ``||`` between.
        ids: its token ids.
        template: source of the template.
        input: the template with the prompt in it, as format strings, see
            :mod:`rlprompt.export.inputs`.
        fields: names of the input fields.
        words: label words of each label, each with what comes before it (a space) where it follows
            a text.
        calibration: bias of each label in nats: to be taken off the label's log-probability before
            the labels are normalised.
        lm: the LM.
        scores: of the prompt, calibrated, by split: accuracy, log_likelihood and their intervals.
        examples: labelled examples of dev to check with; none where the data are gone.
        others: further prompts of an ensemble; the labels' log-probabilities under all of them are
            averaged before the bias is taken off.
    """

    task: str
    language: str
    prompt: str
    ids: tuple[int, ...]
    template: Template
    input: tuple[str, ...]
    fields: tuple[str, ...]
    words: Mapping[str, tuple[str, ...]]
    calibration: Mapping[str, float]
    lm: LMSource
    scores: Mapping[str, Mapping[str, Any]]
    examples: tuple[Example, ...] = ()
    others: tuple[Member, ...] = ()

    @property
    def members(self) -> tuple[Member, ...]:
        """All prompts, one where it is no ensemble."""
        return (Member(self.prompt, self.ids, self.input), *self.others)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in order."""
        return tuple(self.words)

    @property
    def flat_words(self) -> list[str]:
        """All label words, label by label."""
        return [word for words in self.words.values() for word in words]

    def facts(self) -> dict[str, Any]:
        """Returns all but the examples, as JSON values."""
        return {
            "schema": OF_ENSEMBLE if self.others else SCHEMA,
            "rlprompt": __version__,
            "task": self.task,
            "language": self.language,
            "prompt": self.prompt,
            "prompt_ids": list(self.ids),
            "template": asdict(self.template),
            "input": list(self.input),
            "fields": list(self.fields),
            "words": {label: list(words) for label, words in self.words.items()},
            "calibration": dict(self.calibration),
            "lm": {**asdict(self.lm), "options": dict(self.lm.options)},
            "scores": {name: dict(scores) for name, scores in self.scores.items()},
            **({"others": [asdict(each) for each in self.others]} if self.others else {}),
        }

    def described(self) -> str:
        """Returns in a few lines what the text alone does not say."""
        words = "; ".join(f"{k}: {', '.join(map(repr, v))}" for k, v in self.words.items())
        bias = ", ".join(f"{label} {bias:+.4f}" for label, bias in self.calibration.items())
        inputs = " and ".join(repr(shown(each.input)) for each in self.members)
        averaged = ", predictions averaged," if self.others else ""
        return (
            f"input {inputs}{averaged} for {self.lm.described}; label words {words}; "
            f"calibration (nats, taken off each label's log-probability): {bias}"
        )


def read_facts(facts: Any) -> Artifact:
    """Reads what :meth:`Artifact.facts` returns.

    Raises:
        RunError: it is of another schema, or damaged.
    """
    if not isinstance(facts, dict) or facts.get("schema") not in (SCHEMA, OF_ENSEMBLE):
        raise RunError(
            f"These are no facts of schema {SCHEMA} or {OF_ENSEMBLE} about a prompt; export it "
            "again."
        )
    try:
        return Artifact(
            task=facts["task"],
            language=facts["language"],
            prompt=facts["prompt"],
            ids=tuple(facts["prompt_ids"]),
            template=Template(**facts["template"]),
            input=tuple(facts["input"]),
            fields=tuple(facts["fields"]),
            words={label: tuple(words) for label, words in facts["words"].items()},
            calibration=facts["calibration"],
            lm=LMSource(**facts["lm"]),
            scores=facts["scores"],
            others=tuple(
                Member(each["prompt"], tuple(each["ids"]), tuple(each["input"]))
                for each in facts.get("others", ())
            ),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"The facts about the prompt are damaged: {error!r}.") from error


def artifact_of(
    result: Result, examples: tuple[Example, ...] = (), *, ensemble: bool = False
) -> Artifact:
    """Collects what is exported of a run's result: of its prompt, or of its ensemble.

    Raises:
        RunError: the run has no ensemble.
    """
    template, found = Template(**result.template), result.learned(ensemble=ensemble)
    prefix = _answer_prefix(template, result.lm["family"])
    first, *others = (
        Member(each.text, each.ids, filled(template, each.text)) for each in found.prompts
    )
    return Artifact(
        task=result.task["name"],
        language=result.task["language"],
        prompt=first.prompt,
        ids=first.ids,
        template=template,
        input=first.input,
        fields=template.fields,
        words={
            label: tuple(prefix + word for word in result.verbalizer[label])
            for label in result.task["labels"]
        },
        calibration={label: found.calibration[label] for label in result.task["labels"]},
        lm=_lm_source(result),
        scores={name: _scores(split) for name, split in found.scores.items()},
        examples=examples,
        others=tuple(others),
    )


def _answer_prefix(template: Template, family: str) -> str:
    """Returns what comes before a label word: nothing where an encoder-decoder's decoder begins."""
    return template.answer_prefix if family != "seq2seq" or template.has_mask else ""


def _scores(split: Any) -> dict[str, Any]:
    return {
        "accuracy": split.accuracy,
        "log_likelihood": split.log_likelihood,
        "accuracy_interval": split.accuracy_interval and list(split.accuracy_interval),
        "log_likelihood_interval": split.log_likelihood_interval
        and list(split.log_likelihood_interval),
    }


def _lm_source(result: Result) -> LMSource:
    from rlprompt.lm.loading import find_source

    lm: dict[str, Any] = {k: v for k, v in result.lm.items() if k != "fingerprint"}
    options: dict[str, Any] = {}
    try:
        source = find_source(result.config["lm"])
    except ConfigError:
        # It is elsewhere now. The export says what it was.
        location = str(result.config["lm"])
    else:
        location = source.location
        if source.gguf_file is not None:
            options["gguf_file"] = source.gguf_file
        elif not source.local and lm["revision"]:
            options["revision"] = lm["revision"]
    if result.config.get("trust_remote_code"):
        options["trust_remote_code"] = True
    return LMSource(**lm, location=location, options=options)
