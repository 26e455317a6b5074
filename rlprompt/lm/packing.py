"""Many short continuations of one cached prefix in one row: layouts and masks.

A row of a packed forward holds several *segments*. Every token of a segment sees the row's cached
prefix and what stands before it in its own segment, nothing else. A segment is a *trunk* (a prompt
and what follows it) and, for label words of several tokens, one *branch* a word that sees the trunk
and itself: a tree with one mask, as in tree attention (Miao et al. 2023, arXiv:2305.09781).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TRUNK = -1
PAD = -1
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Row:
    """One packed row; all arrays have shape (length,) but the reads.

    Attributes:
        tokens: token ids.
        segment: index of the segment each token belongs to, ``PAD`` for padding.
        branch: index of the branch within the segment, ``TRUNK`` for the trunk.
        position: how many tokens after the cached prefix the token stands.
        ends: shape (n_segments,), where each trunk ends; -1 for an empty trunk, whose answer is
            read at the end of the prefix.
        branch_reads: shape (n_segments, n_branch_tokens), where each branch token stands.
    """

    tokens: IntArray
    segment: IntArray
    branch: IntArray
    position: IntArray
    ends: IntArray
    branch_reads: IntArray


def pack(trunks: Sequence[Sequence[int]], branches: Sequence[Sequence[int]]) -> Row:
    """Lays segments side by side: each trunk, followed by every branch.

    Args:
        trunks: token ids of each segment's trunk.
        branches: token ids that follow each trunk, once a branch: a label word of several tokens
            without its last token, which is only predicted.
    """
    tokens: list[int] = []
    segment: list[int] = []
    branch: list[int] = []
    position: list[int] = []
    ends: list[int] = []
    reads: list[list[int]] = []
    for s, trunk in enumerate(trunks):
        for parts, label, offset in [(trunk, TRUNK, 0)] + [
            (b, n, len(trunk)) for n, b in enumerate(branches)
        ]:
            if label == TRUNK:
                ends.append(len(tokens) + len(parts) - 1 if parts else -1)
                reads.append([])
            else:
                reads[-1] += range(len(tokens), len(tokens) + len(parts))
            tokens += parts
            segment += [s] * len(parts)
            branch += [label] * len(parts)
            position += range(offset, offset + len(parts))
    return Row(
        np.asarray(tokens, np.int64),
        np.asarray(segment, np.int64),
        np.asarray(branch, np.int64),
        np.asarray(position, np.int64),
        np.asarray(ends, np.int64),
        np.asarray(reads, np.int64).reshape(len(trunks), -1),
    )


def stack(rows: Sequence[Row]) -> Row:
    """Pads rows at the end to one length; every array gets a leading axis (n_rows, ...)."""
    length = max(len(row.tokens) for row in rows)

    def padded(arrays: list[IntArray], value: int) -> IntArray:
        return np.stack([np.pad(a, (0, length - len(a)), constant_values=value) for a in arrays])

    return Row(
        padded([row.tokens for row in rows], 0),
        padded([row.segment for row in rows], PAD),
        padded([row.branch for row in rows], TRUNK),
        padded([row.position for row in rows], 0),
        np.stack([row.ends for row in rows]),
        np.stack([row.branch_reads for row in rows]),
    )


def visible(row: Row, prefix_lengths: IntArray, prefix_size: int) -> NDArray[np.bool_]:
    """Returns who sees whom: shape (n_rows, length, prefix_size + length), True = visible.

    Args:
        row: stacked rows, arrays of shape (n_rows, length).
        prefix_lengths: shape (n_rows,), true lengths of the cached prefixes.
        prefix_size: their padded length.
    """
    length = row.tokens.shape[1]
    prefix = np.arange(prefix_size)[None, None, :] < prefix_lengths[:, None, None]
    query, key = row.segment[:, :, None], row.segment[:, None, :]
    key_branch = row.branch[:, None, :]
    same = (query == key) & ((key_branch == TRUNK) | (row.branch[:, :, None] == key_branch))
    causal = np.tri(length, dtype=bool)
    # A token always sees itself, so that padding has a finite softmax.
    own = (same & causal & (key != PAD)) | np.eye(length, dtype=bool)
    rows = len(prefix_lengths)
    return np.concatenate([np.broadcast_to(prefix, (rows, length, prefix_size)), own], axis=2)
