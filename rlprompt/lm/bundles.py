"""Rows that begin alike in one row: what they share goes through the LM once.

Several tasks ask about the same text, and a label word of several tokens asks twice. As in tree
attention (Miao et al. 2023, arXiv:2305.09781) every row's own end sees the shared beginning and
itself. Unlike ``packing``, which keeps the beginning for thousands of prompts, nothing is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rlprompt.lm.gradients import Row


@dataclass(frozen=True)
class Bundle(Row):
    """A shared beginning, then each row's own end, one after the other.

    Attributes:
        members: which rows it is made of.
        shared: tokens of the beginning.
        ends: tokens of each row's end.
        soft: rows of all members' soft prompts, one after the other; None for none.
    """

    members: tuple[int, ...]
    shared: int
    ends: tuple[int, ...]
    soft: torch.Tensor | None

    def of_members(self, found: torch.Tensor, rows: Sequence[Row]) -> dict[int, torch.Tensor]:
        """Deals what was found where the bundle answers, shape (len(at), ...), to its members."""
        parts = torch.split(found, [len(rows[n].at) for n in self.members])
        return dict(zip(self.members, parts, strict=True))


def bundle(
    rows: Sequence[Row], softs: Sequence[torch.Tensor | None], *, together: bool, most: int
) -> list[Bundle]:
    """Puts rows together that share half of their tokens or more.

    Args:
        rows: what the LM is to read.
        softs: the soft prompt of each.
        together: False for a bundle a row, which every family reads.
        most: tokens of a bundle of several rows.

    Returns:
        Bundles that hold every row once.
    """
    found: list[Bundle] = []
    members: list[int] = []
    shared = 0
    for n in sorted(range(len(rows)), key=lambda n: rows[n].ids):
        ids = rows[n].ids
        common = _common(rows[members[0]].ids[:shared], ids) if members and together else 0
        tokens = common + sum(len(rows[m].ids) - common for m in [*members, n])
        if 2 * common >= max(len(ids), shared) and common > 0 and tokens <= most:
            members.append(n)
            shared = common
            continue
        if members:
            found.append(_make(rows, softs, members, shared))
        members, shared = [n], len(ids)
    if members:
        found.append(_make(rows, softs, members, shared))
    return found


def tree(bundles: Sequence[Bundle], size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Lays bundles out for a decoder.

    Args:
        bundles: one a row.
        size: padded length.

    Returns:
        Positions (rows, size), and who sees whom (rows, size, size), True = visible.
    """
    positions = torch.zeros((len(bundles), size), dtype=torch.long)
    # Which end a token belongs to: 0 for the beginning, -1 for padding.
    owner = torch.full((len(bundles), size), -1)
    for row, each in enumerate(bundles):
        owner[row, : each.shared] = 0
        positions[row, : each.shared] = torch.arange(each.shared)
        start = each.shared
        for n, length in enumerate(each.ends):
            owner[row, start : start + length] = n + 1
            positions[row, start : start + length] = torch.arange(length) + each.shared
            start += length
    query, key = owner[:, :, None], owner[:, None, :]
    causal = torch.ones(size, size, dtype=torch.bool).tril()
    # A token always sees itself, so that padding has a finite softmax.
    own = torch.eye(size, dtype=torch.bool)
    return positions, (causal & ((query == key) | (key == 0))) | own


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens with which both begin; rows of soft prompts are never the same."""
    for n, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b or a < 0:
            return n
    return min(len(one), len(other))


def _make(
    rows: Sequence[Row], softs: Sequence[torch.Tensor | None], members: Sequence[int], shared: int
) -> Bundle:
    ids = list(rows[members[0]].ids[:shared])
    at: list[int] = []
    ends: list[int] = []
    bank: list[torch.Tensor] = []
    used = 0
    for n in members:
        end = rows[n].ids[shared:]
        at += [p if p < shared else p + len(ids) - shared for p in rows[n].at]
        ids += [token - used if token < 0 else token for token in end]
        ends.append(len(end))
        soft = softs[n]
        if soft is not None:
            bank.append(soft)
            used += len(soft)
    soft = torch.cat(bank) if len(bank) > 1 else bank[0] if bank else None
    decoder = rows[members[0]].decoder
    return Bundle(tuple(ids), decoder, tuple(at), tuple(members), shared, tuple(ends), soft)
