"""From a soft prompt back to words: what is it near, and what is that text worth?

Lester et al. 2021 (arXiv:2104.08691, sec. 7) look at the nearest tokens of trained rows; Khashabi
et al. 2022 (arXiv:2112.08348) show that nearness says little: a soft prompt can stand next to the
tokens of any text and still do its task. Scoring the text shows the gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlprompt.core.errors import ConfigError
from rlprompt.core.evaluation import FloatArray
from rlprompt.core.prompt import Prompt
from rlprompt.lm.protocol import FrozenLM
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import canonical, prompt_text


@dataclass(frozen=True)
class Projection:
    """The text that a soft prompt is nearest to.

    Attributes:
        nearest: the nearest token of each row.
        cosines: how near it is, from -1 to 1.
        prompt: the prompt that the text of these tokens is, which may have other tokens.
        text: that text, as it goes into the template.
    """

    nearest: tuple[int, ...]
    cosines: tuple[float, ...]
    prompt: Prompt
    text: str


def nearest_text(
    lm: FrozenLM, template: Template, rows: FloatArray, ids: Sequence[int] | None = None
) -> Projection:
    """Projects every row of a soft prompt to the token with the greatest cosine similarity.

    Args:
        lm: the LM that the soft prompt was trained for.
        template: where the prompt stands.
        rows: the soft prompt, shape (length, width).
        ids: tokens to choose from; None for all but special ones.

    Raises:
        ConfigError: there are no tokens to choose from, or rows of another width.
    """
    tokenizer = lm.tokenizer
    if ids is None:
        ids = sorted({*range(tokenizer.vocab_size)} - tokenizer.special_ids)
    if not len(ids):
        raise ConfigError("There are no tokens to project a soft prompt to: give some ids.")
    table = _unit(lm.embeddings(ids))
    if rows.shape[1] != table.shape[1]:
        raise ConfigError(
            f"The soft prompt is {rows.shape[1]} wide and the LM's embeddings {table.shape[1]}: it "
            "was trained for another LM."
        )
    cosines = _unit(np.asarray(rows, np.float64)) @ table.T
    best = cosines.argmax(axis=1)
    nearest = tuple(int(ids[n]) for n in best)
    prompt = canonical(tokenizer, template, Prompt(nearest))
    return Projection(
        nearest,
        tuple(float(row[n]) for row, n in zip(cosines, best, strict=True)),
        prompt,
        prompt_text(tokenizer, template, prompt),
    )


def _unit(rows: FloatArray) -> FloatArray:
    """Returns rows of length 1; rows of nothing but zeros, which are near nothing, stay so."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1.0))
