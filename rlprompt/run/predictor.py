"""A learned prompt at work: texts in, labels and probabilities out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlprompt.core.errors import RunError, TemplateError
from rlprompt.core.evaluation import Evaluation, calibrate, pool
from rlprompt.core.result import Candidate, Ensemble, Result, SplitScores
from rlprompt.lm.loading import LMConfig, load_lm
from rlprompt.lm.protocol import FrozenLM
from rlprompt.run import folder
from rlprompt.run.optimize import run_folder
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_of
from rlprompt.tasks.verbalizer import Verbalizer

#: Texts scored at a time, so that memory does not grow with their number.
BLOCK = 128


@dataclass(frozen=True)
class Prediction:
    """What the frozen LM answers for one text.

    Attributes:
        label: the likeliest label.
        probabilities: of each label, calibrated, summing to 1.
    """

    label: str
    probabilities: dict[str, float]


class Predictor:
    """A frozen LM with template, prompt text, label words and calibration.

    The prompt is taken from its *text*, encoded anew: what is scored is what anyone else would get
    who puts that text into the template. Several texts are an ensemble, whose predictions are
    averaged (:func:`rlprompt.core.evaluation.pool`); each costs an LM forward a text.
    """

    def __init__(
        self,
        lm: FrozenLM,
        *,
        template: Template,
        labels: Sequence[str],
        words: Mapping[str, Sequence[str]],
        text: str,
        calibration: Mapping[str, float],
        others: Sequence[str] = (),
    ) -> None:
        """Makes a predictor.

        Args:
            lm: the frozen LM.
            template: where input and prompt stand.
            labels: the labels.
            words: words of each label.
            text: exact text of the prompt.
            calibration: bias of each label, in nats; zeros for none.
            others: texts of further prompts, to be averaged with the first.
        """
        self.lm = lm
        self.labels = tuple(labels)
        self.prompt = prompt_of(lm.tokenizer, template, text)
        self.text = text
        self.prompts = [self.prompt, *(prompt_of(lm.tokenizer, template, each) for each in others)]
        self._template = template
        self._verbalizer = Verbalizer.of(self.labels, words)
        self._bias = np.asarray([calibration[label] for label in self.labels])

    @classmethod
    def of(
        cls, result: Result, lm: FrozenLM, found: Candidate | Ensemble | None = None
    ) -> "Predictor":
        """Makes the predictor of a result's learned prompt, or of others of its prompts."""
        found = found or result.main.found
        return cls(
            lm,
            template=Template(**result.template),
            labels=result.task["labels"],
            words=result.verbalizer,
            text=found.prompts[0].text,
            calibration=found.calibration,
            others=[each.text for each in found.prompts[1:]],
        )

    def predict(self, texts: Sequence[str | Mapping[str, str]]) -> list[Prediction]:
        """Labels texts.

        Args:
            texts: one string each, where the template has one input field; else a mapping from
                field to text.

        Returns:
            One :class:`Prediction` a text, in order.

        Raises:
            TemplateError: a text lacks an input field.
        """
        examples = [Example(fields_of(self._template, text), 0) for text in texts]
        probabilities = np.exp(calibrate(self._logprobs(examples), self._bias))
        return [
            Prediction(
                self.labels[int(row.argmax())],
                dict(zip(self.labels, map(float, row), strict=True)),
            )
            for row in probabilities
        ]

    def evaluate(self, examples: Sequence[Example]) -> SplitScores:
        """Scores labelled examples, with intervals."""
        gold = np.asarray([example.label for example in examples], np.int64)
        return SplitScores.of(
            Evaluation(self._logprobs(examples), gold, self._bias), intervals=True
        )

    def _logprobs(
        self, examples: Sequence[Example]
    ) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
        blocks = [np.zeros((0, len(self.labels)))]
        for start in range(0, len(examples), BLOCK):
            scorer = self.lm.bind(
                self._template,
                self._verbalizer,
                examples[start : start + BLOCK],
                max_prompt_tokens=max(map(len, self.prompts)),
            )
            blocks.append(pool([*scorer.choice_logprobs(self.prompts)]))
        return np.concatenate(blocks)


def fields_of(template: Template, text: str | Mapping[str, str]) -> Mapping[str, str]:
    """Returns a text as the input fields of a template.

    Raises:
        TemplateError: a field is missing, or a bare text is given for a template with several.
    """
    if not isinstance(text, str):
        template.check_fields(text)
        return text
    fields = template.fields
    if len(fields) != 1:
        raise TemplateError(
            f"The template has the fields {', '.join(fields)}: give each input as a mapping, "
            f"e.g. {{{fields[0]!r}: '...', {fields[1]!r}: '...'}}."
        )
    return {fields[0]: text}


def load(
    run: str | Path,
    *,
    lm: FrozenLM | None = None,
    device: str | None = None,
    ensemble: bool = False,
) -> Predictor:
    """Loads the learned prompt of a run, ready to predict.

    Args:
        run: folder of the run, or its ``result.json``.
        lm: the LM, if it is loaded already.
        device: where to load it otherwise; None for the best there is.
        ensemble: whether to average the prompts of a run with ``ensemble``.

    Raises:
        RunError: there is no finished run, the LM is not the one the prompt was learned for, or the
            run has no ensemble.
    """
    result = Result.load(run_folder(run) / folder.RESULT)
    found = result.learned(ensemble=ensemble)
    return Predictor.of(result, own_lm(result, lm=lm, device=device), found)


def own_lm(
    result: Result,
    *,
    lm: FrozenLM | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> FrozenLM:
    """Loads the LM that a run's prompt was learned for.

    Args:
        result: of the run.
        lm: the LM, if it is loaded already.
        device: where to load it otherwise; None for the best there is.
        threads: CPU threads; None for torch's choice.

    Raises:
        RunError: it is another LM than then.
    """
    config = result.config
    lm = lm or load_lm(
        LMConfig(
            name=config["lm"],
            revision=config["revision"],
            device=device,
            # That of the run, not this device's usual one: the calibration was fitted with it.
            dtype=result.lm["dtype"],
            threads=threads,
            trust_remote_code=config["trust_remote_code"],
            family=result.lm["family"],
        )
    )
    there, here = result.lm, lm.identity
    # Weights in another dtype cannot be compared; whoever passes such an LM has chosen it.
    other = there["dtype"] == here.dtype and there["weights"] != here.weights
    if other or there["tokenizer"] != here.tokenizer:
        raise RunError(
            f"The prompt was learned for {there['name']!r} (weights {there['weights']}), and the "
            f"LM here is {here.name!r} (weights {here.weights}): the calibration does not hold."
        )
    return lm
