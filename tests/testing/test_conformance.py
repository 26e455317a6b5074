"""The conformance suites pass a right LM and catch each kind of wrong one."""

import numpy as np
import pytest
import torch

from rlprompt.core.prompt import Prompt
from rlprompt.testing import (
    PlantedLM,
    PlantedScorer,
    check_blind_to_labels,
    check_embeddings,
    check_scorer,
    planted_task,
)

TASK = planted_task()
PROMPTS = [Prompt((1,)), Prompt((2, 3, 4)), Prompt((5, 6))]


class _Scorer:
    """A planted scorer whose answers pass through ``spoil(scores, prompts, n_call)``."""

    def __init__(self, inner: PlantedScorer, spoil, spoil_prefix) -> None:
        self._inner, self._spoil, self._spoil_prefix = inner, spoil, spoil_prefix
        self.n_examples, self.truncated, self.prefixes_are_free = inner.n_examples, 0, True

    def choice_logprobs(self, prompts):
        return self._spoil(self._inner.choice_logprobs(prompts), prompts, self._inner.calls)

    def prefix_logprobs(self, prompts):
        return self._spoil_prefix(self._inner.prefix_logprobs(prompts))


class _LM:
    def __init__(self, spoil=lambda s, p, n: s, spoil_prefix=lambda s: s, model=None) -> None:
        self._inner, self._spoils = PlantedLM(16, 4), (spoil, spoil_prefix)
        self.meter = self._inner.meter
        self.model = model

    def bind(self, *args, **kwargs):
        return _Scorer(self._inner.bind(*args, **kwargs), *self._spoils)

    def embeddings(self, ids):
        return self._inner.embeddings(ids)


def _check(lm) -> None:
    check_scorer(lm, TASK.template, TASK.verbalizer, list(TASK.train), PROMPTS)


def _nan(scores, prompts, call):
    scores[0, 1, 0] = np.nan
    return scores


def _leak(scores, prompts, call):
    """The first prompt's row leaks a little into the others' (a wrong packed mask)."""
    mixed = scores + 0.01 * np.array([0.0, 1.0]) * (scores - scores[:1])
    return mixed - np.logaddexp.reduce(mixed, axis=-1, keepdims=True)


def _position(scores, prompts, call):
    """Scores depend on the place in the call."""
    mixed = scores + 0.01 * np.arange(len(scores))[:, None, None] * np.array([0.0, 1.0])
    return mixed - np.logaddexp.reduce(mixed, axis=-1, keepdims=True)


def _first_example(scores, prompts, call):
    """Scores of the first example differ from those of the rest (padding gone wrong)."""
    mixed = scores.copy()
    mixed[:, 0, 1] += 0.01
    return mixed - np.logaddexp.reduce(mixed, axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s, p, n: s[:, :, :1], "shape"),
        (lambda s, p, n: s.astype(np.float16), "float16"),
        (_nan, r"not finite, the first at \[prompt, example, label\] = \[0 1 0\]"),
        (lambda s, p, n: s + 0.1, "logsumexp"),
        (lambda s, p, n: s[::-1] if n > 1 else s, "The same call"),
        (_leak, "one prompt a call"),
        (_position, "one prompt a call"),
    ],
)
def test_wrong_scores_are_caught(spoil, message):
    with pytest.raises(AssertionError, match=message):
        _check(_LM(spoil))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda arrays: arrays[1:], "number of arrays"),
        (lambda arrays: [a[1:] for a in arrays], "shape of prefix_logprobs"),
        (lambda arrays: [a[::-1] for a in arrays], "free instead of scored"),
    ],
)
def test_wrong_prefixes_are_caught(spoil, message):
    with pytest.raises(AssertionError, match=message):
        _check(_LM(spoil_prefix=spoil))


def test_scores_that_depend_on_the_other_examples_are_caught():
    def spoil_prefixes(arrays):
        return [_first_example(array, None, 0) for array in arrays]

    with pytest.raises(AssertionError, match="examples in other order"):
        _check(_LM(_first_example, spoil_prefixes))


def test_right_lm_passes():
    _check(_LM())
    _check(_LM(model=torch.nn.Linear(2, 2).bfloat16().eval().requires_grad_(False)))


def test_changed_parameters_are_caught():
    model = torch.nn.Linear(2, 2).eval().requires_grad_(False)

    def learn(scores, prompts, call):
        model.bias += 1.0
        return scores

    with pytest.raises(AssertionError, match="changed parameters of the frozen LM: bias"):
        _check(_LM(learn, model=model))


def test_unfrozen_parameters_are_caught():
    with pytest.raises(AssertionError, match="training mode"):
        _check(_LM(model=torch.nn.Linear(2, 2)))
    with pytest.raises(AssertionError, match="require a gradient"):
        _check(_LM(model=torch.nn.Linear(2, 2).eval()))


def test_a_meter_that_stands_still_is_caught():
    lm = _LM()
    lm.meter = type(lm.meter)()
    with pytest.raises(AssertionError, match=r"meter\.tokens"):
        _check(lm)


def test_too_little_to_check_is_refused():
    with pytest.raises(ValueError, match="two examples"):
        check_scorer(PlantedLM(), TASK.template, TASK.verbalizer, list(TASK.train)[:1], PROMPTS)


def test_leaked_labels_are_caught():
    with pytest.raises(AssertionError, match="gold labels"):
        check_blind_to_labels(
            PlantedLM(), TASK.template, TASK.verbalizer, list(TASK.train), [PlantedLM().optimum]
        )


def test_views_of_embeddings_are_caught():
    lm = _LM()
    rows = np.ones((20, 3))
    lm.embeddings = lambda ids: rows[: len(ids)]
    with pytest.raises(AssertionError, match="wrote into its copy"):
        check_embeddings(lm, [1, 2])
