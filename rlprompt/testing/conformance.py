"""What every frozen LM must hold to; plain functions for anyone's test suite.

Call them from a test with an LM of your own: ``check_scorer(my_lm, template, verbalizer, examples,
prompts)`` returns nothing where all is well.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rlprompt.core.evaluation import FloatArray
from rlprompt.core.prompt import Prompt
from rlprompt.lm.protocol import ChoiceScorer, FrozenLM
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.verbalizer import Verbalizer


def check_scorer(
    lm: FrozenLM,
    template: Template,
    verbalizer: Verbalizer,
    examples: Sequence[Example],
    prompts: Sequence[Prompt],
    *,
    tolerance: float = 1e-4,
) -> None:
    """Checks that scores are well-formed and depend on prompt and example alone.

    Shape, dtype, finiteness, normalisation; repeated calls; the order, number and repetition of the
    prompts in a call; the order and number of the examples; prefixes; the meter; and, where the LM
    has a ``model`` with a ``state_dict``, that no parameter changed.

    Args:
        lm: what is checked.
        template: one that suits the LM.
        verbalizer: its labels are those of the examples.
        examples: two or more.
        prompts: two or more, best of different lengths; the empty prompt is added.
        tolerance: greatest absolute difference in nats of scores that should be equal.

    Raises:
        AssertionError: says what differs, by how much and where.
        ValueError: fewer than two examples or two distinct prompts, which would check nothing.
    """
    asked = [*dict.fromkeys((*prompts, Prompt()))]
    if len(examples) < 2 or len(asked) < 3:
        raise ValueError("check_scorer needs two examples and two distinct non-empty prompts.")
    limit = max(map(len, asked))
    before = _fingerprints(lm)
    scorer = lm.bind(template, verbalizer, examples, max_prompt_tokens=limit)
    shape = (len(asked), len(examples), len(verbalizer))
    _equal(scorer.n_examples, len(examples), "n_examples")
    tokens, seconds = lm.meter.tokens, lm.meter.seconds
    scores = scorer.choice_logprobs(asked)
    _check_form(scores, shape)
    assert lm.meter.tokens > tokens, "meter.tokens did not increase in a forward."
    assert lm.meter.seconds > seconds, "meter.seconds did not increase in a forward."

    again = scorer.choice_logprobs(asked)
    assert np.array_equal(scores, again), (
        f"The same call gave other scores, by up to {abs(scores - again).max():.3g}: is dropout "
        "on, or does something of the first call remain?"
    )
    _check_batches(scorer, asked, scores, tolerance)
    _check_prefixes(scorer, asked, scores, tolerance)
    turned = lm.bind(template, verbalizer, [*reversed(examples)], max_prompt_tokens=limit)
    _close(turned.choice_logprobs(asked)[:, ::-1], scores, tolerance, "examples in other order")
    alone = lm.bind(template, verbalizer, examples[:1], max_prompt_tokens=limit)
    _close(alone.choice_logprobs(asked), scores[:, :1], tolerance, "one example by itself")
    longer = lm.bind(template, verbalizer, examples, max_prompt_tokens=limit + 1)
    if longer.truncated == scorer.truncated == 0:
        _close(longer.choice_logprobs(asked), scores, tolerance, "a larger max_prompt_tokens")
    _close(scorer.choice_logprobs(asked), scores, tolerance, "a scorer after others were bound")
    _check_unchanged(lm, before)


def check_blind_to_labels(
    lm: FrozenLM,
    template: Template,
    verbalizer: Verbalizer,
    examples: Sequence[Example],
    prompts: Sequence[Prompt],
) -> None:
    """Checks that gold labels change no score, so that no answer leaks into the LM's input.

    Every real LM must pass; :class:`rlprompt.testing.PlantedLM` does not, by design.

    Raises:
        AssertionError: by how much scores differ, and where.
    """
    limit = max(1, *map(len, prompts))
    others = [replace(e, label=(e.label + 1) % len(verbalizer)) for e in examples]
    scores, other_scores = (
        lm.bind(template, verbalizer, given, max_prompt_tokens=limit).choice_logprobs(prompts)
        for given in (examples, others)
    )
    _close(other_scores, scores, 1e-6, "examples with other gold labels")


def check_embeddings(lm: FrozenLM, ids: Sequence[int]) -> None:
    """Checks that embedding rows are finite copies, one an id, and follow the order of ids.

    Raises:
        AssertionError: says what is wrong.
    """
    rows = lm.embeddings(ids)
    assert rows.ndim == 2 and len(rows) == len(ids), (  # noqa: PT018 - one property, one message
        f"embeddings of {len(ids)} ids have shape {rows.shape}, not ({len(ids)}, width)."
    )
    assert np.isfinite(rows).all(), "embeddings are not all finite."
    kept = rows.copy()
    rows += 1.0
    _close(lm.embeddings(ids), kept, 0.0, "embeddings after a caller wrote into its copy")
    turned = lm.embeddings([*reversed(ids)])
    _close(turned[::-1], kept, 0.0, "embeddings of ids in other order")


def _check_form(scores: FloatArray, shape: tuple[int, ...]) -> None:
    _equal(scores.shape, shape, "The shape (n_prompts, n_examples, n_labels)")
    assert scores.dtype in (np.float32, np.float64), (
        f"Scores are {scores.dtype}: convert to float32 or float64 before the softmax."
    )
    where = np.argwhere(~np.isfinite(scores))
    assert not len(where), (
        f"{len(where)} scores are not finite, the first at [prompt, example, label] = {where[0]}."
    )
    totals = np.logaddexp.reduce(scores.astype(np.float64), axis=-1)
    _close(totals, np.zeros_like(totals), 1e-5, "logsumexp over the labels, which must be 0,")


def _check_batches(
    scorer: ChoiceScorer, asked: Sequence[Prompt], scores: FloatArray, tolerance: float
) -> None:
    singly = np.concatenate([scorer.choice_logprobs([prompt]) for prompt in asked])
    _close(singly, scores, tolerance, "one prompt a call instead of all in one")
    turned = scorer.choice_logprobs([*reversed(asked)])
    _close(turned[::-1], scores, tolerance, "prompts in other order")
    doubled = scorer.choice_logprobs([*asked, *asked])
    _close(doubled[: len(asked)], scores, tolerance, "a call with every prompt twice")
    _close(doubled[len(asked) :], scores, tolerance, "the second of two equal prompts")


def _check_prefixes(
    scorer: ChoiceScorer, asked: Sequence[Prompt], scores: FloatArray, tolerance: float
) -> None:
    if not scorer.prefixes_are_free:
        return
    given = scorer.prefix_logprobs(asked)
    _equal(len(given), len(asked), "The number of arrays of prefix_logprobs")
    for prompt, rows, own in zip(asked, given, scores, strict=True):
        shape = (len(prompt), *scores.shape[1:])
        _equal(rows.shape, shape, f"The shape of prefix_logprobs of {prompt}")
        if not len(prompt):
            continue
        expected = scorer.choice_logprobs(prompt.prefixes())
        _close(rows, expected, tolerance, f"prefixes of {prompt}, free instead of scored each")
        _close(rows[-1], own, tolerance, f"the last prefix of {prompt}, which is the prompt,")


def _fingerprints(lm: FrozenLM) -> dict[str, str]:
    """Hash of each tensor of ``lm.model`` by name; empty where there is no such model."""
    model: Any = getattr(lm, "model", None)
    if not hasattr(model, "state_dict"):
        return {}
    return {
        # float64 holds every value of the smaller dtypes, of which numpy lacks bfloat16.
        name: hashlib.sha256(tensor.detach().cpu().double().numpy().tobytes()).hexdigest()
        for name, tensor in model.state_dict().items()
    }


def _check_unchanged(lm: FrozenLM, before: dict[str, str]) -> None:
    after = _fingerprints(lm)
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    assert not changed, f"Scoring changed parameters of the frozen LM: {', '.join(changed[:5])}."
    if not before:
        return
    model: Any = getattr(lm, "model", None)
    assert not model.training, "The frozen LM is in training mode; call model.eval()."
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    assert not trainable, f"Parameters of the frozen LM require a gradient: {trainable[:5]}."


def _equal(found: object, expected: object, what: str) -> None:
    assert found == expected, f"{what} is {found}, not {expected}."


def _close(found: FloatArray, expected: FloatArray, tolerance: float, what: str) -> None:
    _equal(found.shape, expected.shape, f"With {what}: the shape")
    gap = np.abs(np.asarray(found, dtype=np.float64) - expected)
    if gap.size and not gap.max() <= tolerance:
        where = [int(i) for i in np.unravel_index(gap.argmax(), gap.shape)]
        raise AssertionError(
            f"With {what}: scores differ by up to {gap.max():.3g} (more than {tolerance:g}), "
            f"at index {where}."
        )
