"""Answers of many rows whose head multiplies only the positions that answer.

The head of a small LM costs about as much as all its layers when it is multiplied at every position
of a batch, and one position a row is asked for.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch

from rlprompt.lm.gradients import Forward, Row, embed


def narrow_answers(
    model: torch.nn.Module,
    rows: Sequence[Row],
    softs: Sequence[torch.Tensor | None],
    forward: Forward,
) -> list[torch.Tensor]:
    """Like :func:`rlprompt.lm.gradients.answers`, with a head that reads only where rows answer.

    What the model does with the logits afterwards, as scaling, it does as always. A model without
    a module as its head is run as it is.
    """
    embedded, mask = embed(model, [row.ids for row in rows], softs)
    widest = max(len(row.at) for row in rows)
    places = [[*row.at, *[0] * (widest - len(row.at))] for row in rows]
    at = torch.tensor(places, device=embedded.device)
    head: Any = cast(Any, model).get_output_embeddings()
    narrowed = []

    def pick(module: torch.nn.Module, given: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        narrowed.append(True)
        states = given[0]
        return (states[torch.arange(len(rows), device=states.device)[:, None], at],)

    handle = None if head is None else head.register_forward_pre_hook(pick)
    try:
        logits = forward(model, embedded, mask, rows)
    finally:
        if handle is not None:
            handle.remove()
    if narrowed:
        kept = [logits[n, : len(row.at)] for n, row in enumerate(rows)]
    else:
        kept = [logits[n, list(row.at)] for n, row in enumerate(rows)]
    return [each.float().log_softmax(dim=-1) for each in kept]
