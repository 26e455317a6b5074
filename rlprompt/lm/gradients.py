"""Label scores that can be differentiated, for all families."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, cast

import numpy as np
import torch

from rlprompt.core.prompt import Prompt

Words = Sequence[tuple[int, ...]]


@dataclass(frozen=True)
class Row:
    """What the LM reads once, and where it answers.

    Attributes:
        ids: token ids; ``-1 - n`` stands for row n of a soft prompt.
        decoder: ids that the decoder of an encoder-decoder reads.
        at: positions whose logits predict the tokens of label words, one after the other.
    """

    ids: tuple[int, ...]
    decoder: tuple[int, ...]
    at: tuple[int, ...]


class Rows(Protocol):
    """The examples of a split in one template, to be filled with a prompt.

    A word's score is the sum of the log-probabilities of its tokens, the n-th at the n-th of the
    positions where a row answers.
    """

    @property
    def words(self) -> Words:
        """Token ids of every label word."""

    @property
    def word_label(self) -> Sequence[int]:
        """Label index of each word."""

    @property
    def asks(self) -> Mapping[Any, Sequence[int]]:
        """What an example is asked, one row each, and the indices of the words it answers for."""

    @property
    def n_examples(self) -> int:
        """Number of examples."""

    @property
    def truncated(self) -> int:
        """How many examples' text was cut."""

    def row(self, example: int, prompt: Prompt, ask: Any) -> Row:
        """Returns the row of one example for one of the ``asks``."""


#: From the model, embeddings (rows, length, width), their mask and the rows to logits of all
#: positions of which the head is given (of the decoder, where there is one), shape (rows, length,
#: vocabulary).
Forward = Callable[[Any, torch.Tensor, torch.Tensor, Sequence[Row]], torch.Tensor]


class RowScorer:
    """Implements :class:`rlprompt.lm.protocol.GradientScorer` for all families."""

    def __init__(
        self,
        model: torch.nn.Module,
        rows: Rows,
        n_labels: int,
        prompt: Prompt,
        forward: Forward,
        reads_bundles: Callable[[], bool] = lambda: False,
    ) -> None:
        """Keeps what it is given.

        Args:
            model: the LM's model, or what was made of it.
            rows: the examples.
            n_labels: number of labels.
            prompt: tokens in the place of the prompt where no soft prompt is given.
            forward: runs the model.
            reads_bundles: finds out whether ``forward`` takes rows that are bundles (see
                ``bundles``), which a training never asks.
        """
        self.model = model
        self._rows = rows
        self._n_labels = n_labels
        self._prompt = prompt
        self.forward = forward
        self.reads_bundles = reads_bundles

    @property
    def n_examples(self) -> int:
        """Number of examples."""
        return self._rows.n_examples

    @property
    def truncated(self) -> int:
        """How many examples' text was cut so that prompt and answer fit the context."""
        return self._rows.truncated

    @cached_property
    def lengths(self) -> Sequence[int]:
        """Tokens that each example takes without a prompt."""
        ask = next(iter(self._rows.asks))
        rows = (self._rows.row(n, Prompt(), ask) for n in range(self.n_examples))
        return [len(row.ids) for row in rows]

    def choice_logprobs(
        self, examples: Sequence[int], soft: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See :meth:`rlprompt.lm.protocol.GradientScorer.choice_logprobs`."""
        rows = self.asked(examples, soft)
        return self.read(answers(self.model, rows, [soft] * len(rows), self.forward))

    def asked(self, examples: Sequence[int], soft: torch.Tensor | None) -> list[Row]:
        """Returns the rows of some examples: all examples for the first ask, then for the next."""
        prompt = self._prompt if soft is None else Prompt(tuple(-1 - n for n in range(len(soft))))
        return [self._rows.row(e, prompt, ask) for ask in self._rows.asks for e in examples]

    def read(self, found: Sequence[torch.Tensor]) -> torch.Tensor:
        """Turns the answers of rows into label log-probabilities.

        Args:
            found: of the rows of :meth:`asked`, each (len(row.at), vocabulary), log-probabilities.

        Returns:
            Shape (n_examples, n_labels), float32.
        """
        asks = list(self._rows.asks.values())
        size = len(found) // len(asks)
        columns: dict[int, torch.Tensor] = {}
        for n, wanted in enumerate(asks):
            logprobs = torch.stack(list(found[n * size : (n + 1) * size]))
            for word in wanted:
                ids = self._rows.words[word]
                columns[word] = logprobs[:, range(len(ids)), list(ids)].sum(-1)
        words = torch.stack([columns[n] for n in range(len(columns))], dim=-1)
        return label_scores(words, self._rows.word_label, self._n_labels)


def answers(
    model: torch.nn.Module,
    rows: Sequence[Row],
    softs: Sequence[torch.Tensor | None],
    forward: Forward,
) -> list[torch.Tensor]:
    """Runs rows in one forward.

    Args:
        model: the LM's model, or what was made of it.
        rows: what it reads.
        softs: the soft prompt of each row.
        forward: runs the model.

    Returns:
        For each row log-probabilities where it answers, shape (len(row.at), vocabulary), float32.
    """
    embedded, mask = embed(model, [row.ids for row in rows], softs)
    with narrow_head(model, [row.at for row in rows]) as narrowed:
        logits = forward(model, embedded, mask, rows)
    at = [range(len(row.at)) if narrowed else row.at for row in rows]
    return [logits[n, list(each)].float().log_softmax(dim=-1) for n, each in enumerate(at)]


@contextmanager
def narrow_head(model: torch.nn.Module, at: Sequence[Sequence[int]]) -> Iterator[list[bool]]:
    """Has a model's head multiply only some positions of each row.

    The head of a small LM costs about as much as all its layers when it is multiplied at every
    position of a batch, and one or two positions a row are asked for.

    Args:
        model: the LM's model, or what was made of it.
        at: positions of each row; logits of a row that has fewer than another are filled up.

    Yields:
        A list that is empty as long as no head was narrowed: a model whose head is no module of its
        own gives all logits.
    """
    head: Any = cast(Any, model).get_output_embeddings()
    widest = max(map(len, at))
    places = torch.tensor([[*each, *[0] * (widest - len(each))] for each in at])
    narrowed: list[bool] = []

    def pick(module: torch.nn.Module, given: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        narrowed.append(True)
        rows = torch.arange(len(at), device=given[0].device)
        return (given[0][rows[:, None], places.to(given[0].device)],)

    handle = None if head is None else head.register_forward_pre_hook(pick)
    try:
        yield narrowed
    finally:
        if handle is not None:
            handle.remove()


@torch.no_grad()
def looked_up(model: torch.nn.Module, ids: Sequence[int]) -> torch.Tensor:
    """Returns what the model reads for tokens, shape (len(ids), width), float32.

    These are rows of its table of embeddings, which some models scale.
    """
    table = cast(Any, model).get_input_embeddings()
    found: torch.Tensor = table(torch.tensor(list(ids), device=table.weight.device))
    return found.float()


def embed(
    model: torch.nn.Module,
    rows: Sequence[Sequence[int]],
    softs: Sequence[torch.Tensor | None],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Looks up input embeddings and puts soft prompts where they belong.

    Args:
        model: has the table of embeddings.
        rows: ids, as in :class:`Row`.
        softs: the soft prompt of each row, (length, width).

    Returns:
        Embeddings (rows, length, width), padded at the end, and the mask (rows, length), 1 where a
        row has a token.
    """
    table = cast(Any, model).get_input_embeddings()
    device = table.weight.device
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    mask = (torch.arange(longest, device=device)[None] < lengths[:, None]).long()
    found: torch.Tensor = table(ids.clamp(min=0))
    # Every distinct soft prompt once, one behind the other.
    distinct = {id(soft): soft for soft in softs if soft is not None and len(soft)}
    if not distinct:
        return found, mask
    sizes = [len(soft) for soft in distinct.values()]
    first = dict(zip(distinct, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))
    offsets = torch.tensor([first.get(id(soft), 0) for soft in softs], device=device)
    bank = torch.cat([soft.to(found.dtype) for soft in distinct.values()])
    index = (offsets[:, None] - 1 - ids).clamp(min=0, max=len(bank) - 1)
    return torch.where((ids < 0)[:, :, None], bank[index], found), mask


def label_scores(words: torch.Tensor, word_label: Sequence[int], n_labels: int) -> torch.Tensor:
    """Sums word probabilities a label and normalises over the labels.

    Args:
        words: word log-probabilities up to a shared constant, shape (rows, n_words).
        word_label: label index of each word.
        n_labels: number of labels.

    Returns:
        Log-probabilities, shape (rows, n_labels), float32.
    """
    labels = torch.as_tensor(word_label, device=words.device)
    columns = [words[:, labels == n].logsumexp(dim=-1) for n in range(n_labels)]
    return torch.stack(columns, dim=-1).log_softmax(dim=-1)


def stems_of(words: Words) -> dict[tuple[int, ...], list[int]]:
    """Groups words by what must be read to predict their last token.

    Returns:
        For each stem the indices of the words that it predicts: those of which it is, or begins
        with, all tokens but the last. A stem that begins another is not there.
    """
    needed = {word[:-1] for word in words}
    stems = sorted(s for s in needed if not any(o != s and o[: len(s)] == s for o in needed))
    found: dict[tuple[int, ...], list[int]] = {stem: [] for stem in stems}
    for n, word in enumerate(words):
        found[next(s for s in stems if s[: len(word) - 1] == word[:-1])].append(n)
    return found
