"""Many short continuations of one cached prefix in one row: layouts and masks.

A row of a packed forward holds several *segments*: each a *trunk* (a prompt and what follows it)
and, for label words of several tokens, one *branch* a word behind the trunk. Every token sees the
row's cached prefix and what stands before it in its own segment, nothing else. So what segments
begin with alike is in the row once: the row is a tree with one mask, as in tree attention (Miao et
al. 2023, arXiv:2305.09781). Prompts that edit one another share much.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Parent of a token that stands right behind the prefix, and of padding.
ROOT = -1
PAD = -2
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Row:
    """One packed row; all arrays have shape (length,) but the ends and reads.

    Attributes:
        tokens: token ids.
        parent: where the token stands that each one follows: left of it, ``ROOT`` or ``PAD``.
        position: how many tokens after the cached prefix the token stands.
        ends: shape (n_segments,), where each trunk ends; ``ROOT`` for an empty trunk, whose answer
            is read at the end of the prefix.
        branch_reads: shape (n_segments, n_branch_tokens), where each branch token stands.
        saved: shape (), how many tokens more the segments have than the row.
    """

    tokens: IntArray
    parent: IntArray
    position: IntArray
    ends: IntArray
    branch_reads: IntArray
    saved: IntArray

    def trunk(self, segment: int) -> IntArray:
        """Returns where the tokens of one segment's trunk stand, of a row that is not stacked."""
        found = []
        at = int(self.ends[segment])
        while at != ROOT:
            found.append(at)
            at = int(self.parent[at])
        return np.asarray(found[::-1], np.int64)


def pack(trunks: Sequence[Sequence[int]], branches: Sequence[Sequence[int]]) -> Row:
    """Lays segments out as a tree: each trunk, followed by every branch.

    Args:
        trunks: token ids of each segment's trunk.
        branches: token ids that follow each trunk, once a branch: a label word of several tokens
            without its last token, which is only predicted.
    """
    tokens: list[int] = []
    parent: list[int] = []
    position: list[int] = []
    children: dict[tuple[int, int], int] = {}

    def grow(at: int, ids: Sequence[int]) -> list[int]:
        """Returns where the tokens stand that follow the one at ``at``."""
        path = []
        for token in ids:
            key = (at, token)
            if key not in children:
                children[key] = len(tokens)
                tokens.append(token)
                parent.append(at)
                position.append(0 if at == ROOT else position[at] + 1)
            at = children[key]
            path.append(at)
        return path

    ends: list[int] = []
    reads: list[list[int]] = []
    for trunk in trunks:
        end = [ROOT, *grow(ROOT, trunk)][-1]
        ends.append(end)
        reads.append([at for branch in branches for at in grow(end, branch)])
    asked = sum(len(trunk) + sum(map(len, branches)) for trunk in trunks)
    return Row(
        np.asarray(tokens, np.int64),
        np.asarray(parent, np.int64),
        np.asarray(position, np.int64),
        np.asarray(ends, np.int64),
        np.asarray(reads, np.int64).reshape(len(trunks), -1),
        np.asarray(asked - len(tokens), np.int64),
    )


def stack(rows: Sequence[Row]) -> Row:
    """Pads rows at the end to one length; every array gets a leading axis (n_rows, ...)."""
    length = max(len(row.tokens) for row in rows)

    def padded(arrays: list[IntArray], value: int) -> IntArray:
        return np.stack([np.pad(a, (0, length - len(a)), constant_values=value) for a in arrays])

    return Row(
        padded([row.tokens for row in rows], 0),
        padded([row.parent for row in rows], PAD),
        padded([row.position for row in rows], 0),
        np.stack([row.ends for row in rows]),
        np.stack([row.branch_reads for row in rows]),
        np.stack([row.saved for row in rows]),
    )


def visible(row: Row, prefix_lengths: IntArray, prefix_size: int) -> NDArray[np.bool_]:
    """Returns who sees whom: shape (n_rows, length, prefix_size + length), True = visible.

    Args:
        row: stacked rows, arrays of shape (n_rows, length).
        prefix_lengths: shape (n_rows,), true lengths of the cached prefixes.
        prefix_size: their padded length.
    """
    rows, length = row.tokens.shape
    prefix = np.arange(prefix_size)[None, None, :] < prefix_lengths[:, None, None]
    # Everybody sees what the parent sees, and itself; padding too, for a finite softmax.
    own = np.zeros((rows, length, length), np.bool_)
    for n in range(length):
        follows = np.flatnonzero(row.parent[:, n] >= 0)
        own[follows, n] = own[follows, row.parent[follows, n]]
        own[:, n, n] = True
    return np.concatenate([np.broadcast_to(prefix, (rows, length, prefix_size)), own], axis=2)
