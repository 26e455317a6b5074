"""From scores to records: variants of the learned prompt, and what each token is worth."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from rlprompt.core.evaluation import (
    Evaluation,
    FloatArray,
    correct,
    fit_calibration,
    gold_logprobs,
)
from rlprompt.core.prompt import Prompt
from rlprompt.core.statistics import Estimate, bootstrap_mean
from rlprompt.explain.derived import subsets
from rlprompt.explain.desk import Desk
from rlprompt.explain.material import Material
from rlprompt.explain.records import Variant
from rlprompt.run.transfer_cells import difference


def variant(
    text: str,
    tokens: Sequence[str],
    found: Evaluation,
    against: Evaluation,
    labels: Sequence[str],
    paid: int,
) -> Variant:
    """Describes scores beside those that they are compared with, on the same examples."""
    calibrated = found.calibrated
    return Variant(
        text=text,
        tokens=tuple(tokens),
        accuracy=float(correct(calibrated, found.gold).mean()),
        log_likelihood=float(gold_logprobs(calibrated, found.gold).mean()),
        calibration=dict(zip(labels, map(float, found.bias), strict=True)),
        versus=difference(found, against),
        paid=paid,
    )


class Variants:
    """Prompts that were scored in the run's own way, compared with the learned one."""

    def __init__(self, material: Material, desk: Desk) -> None:
        """Looks at what a desk has scored."""
        self._material = material
        self._desk = desk

    def of(self, prompt: Prompt | None) -> Variant | None:
        """Returns the record of a prompt, None where it was not scored."""
        if prompt is None or not self._desk.has(prompt):
            return None
        return variant(
            self._material.text(prompt),
            tokens(self._material, prompt),
            self._desk.everywhere(prompt),
            self._desk.everywhere(self._material.learned),
            self._material.task.labels,
            self._desk.paid(prompt),
        )

    def of_all(self, prompts: Sequence[Prompt]) -> list[Variant]:
        """Returns the records of those prompts that were scored."""
        return [found for p in prompts if (found := self.of(p)) is not None]


def tokens(material: Material, prompt: Prompt) -> tuple[str, ...]:
    """Returns the text of each token."""
    return tuple(material.lm.tokenizer.decode([token]) for token in prompt.ids)


def joined(logprobs: FloatArray, n_train: int, like: Evaluation) -> Evaluation:
    """Makes an evaluation of log-probabilities of which the first ``n_train`` are train's."""
    return Evaluation(logprobs, like.gold, fit_calibration(logprobs[:n_train]))


def shares(values: Mapping[tuple[int, ...], FloatArray], size: int) -> list[Estimate]:
    r"""Returns the Shapley value of each token, with its interval over examples.

    :math:`\sum_{S \not\ni i} \frac{|S|!\,(n-|S|-1)!}{n!} (v(S \cup i) - v(S))` (Shapley 1953); for
    each example by itself, so that the shares of an example sum to what the whole prompt adds.

    Args:
        values: by the positions of the tokens that are kept, log-probability of the right label,
            each of shape (n_examples,); of all :func:`subsets`.
        size: number of tokens.

    >>> values = {(): 0.0, (0,): 1.0, (1,): 0.0, (0, 1): 3.0}
    >>> arrays = {key: np.array([value, value]) for key, value in values.items()}
    >>> [share.value for share in shares(arrays, 2)]
    [2.0, 1.0]
    """
    found = []
    for token in range(size):
        total = np.zeros_like(values[()])
        for each in subsets(size):
            if token not in each:
                ways = math.factorial(len(each)) * math.factorial(size - len(each) - 1)
                with_it = tuple(sorted((*each, token)))
                total += ways / math.factorial(size) * (values[with_it] - values[each])
        found.append(bootstrap_mean(total))
    return found
