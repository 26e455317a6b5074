"""How much goes into one forward, and what happens when memory runs out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from rlprompt.core.errors import LMError
from rlprompt.core.evaluation import FloatArray
from rlprompt.lm.backbone import Backbone, free_cached_memory, is_out_of_memory
from rlprompt.lm.inputs import Inputs
from rlprompt.lm.packed import label_logprobs

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """How much goes into one forward.

    Attributes:
        row_tokens: packed tokens a row; the cost of attention grows with its square.
        batch_tokens: tokens a forward; enough to keep the matrix products busy, few enough for
            the processor's caches.
        cache_bytes: keys and values of left sides that are kept between calls.
    """

    row_tokens: int = 192
    batch_tokens: int = 1024
    cache_bytes: int = 1 << 29


class Batches:
    """Runs rows in batches that shrink when memory runs out, and stay small then."""

    def __init__(self, limits: Limits, device: torch.device) -> None:
        """Keeps what it is given; ``limits`` shrink when memory runs out."""
        self.limits = limits
        self._device = device

    def run(self, sizes: Sequence[int], run: Callable[[slice], T]) -> Iterator[tuple[slice, T]]:
        """Runs consecutive rows in batches.

        Args:
            sizes: tokens of each row; a batch is padded to its longest.
            run: computes some of the rows.

        Yields:
            The rows of a batch and what ``run`` made of them.

        Raises:
            LMError: a single row does not fit.
        """
        start = 0
        while start < len(sizes):
            stop = self._stop(sizes, start)
            longest = max(sizes[start:stop])
            try:
                result = run(slice(start, stop))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if stop - start == 1:
                    raise LMError(
                        f"One row of {longest} tokens does not fit the memory of "
                        f"{self._device}: use a smaller LM, dtype or context."
                    ) from error
                half = (stop - start) // 2 * max(1, longest)
                self.limits = replace(self.limits, batch_tokens=half)
                free_cached_memory()
                continue
            yield slice(start, stop), result
            start = stop

    def _stop(self, sizes: Sequence[int], start: int) -> int:
        """Returns the end of the longest batch whose padded tokens are within the limit."""
        longest = 1
        for stop in range(start, len(sizes)):
            longest = max(longest, sizes[stop])
            if stop > start and (stop + 1 - start) * longest > self.limits.batch_tokens:
                return stop
        return len(sizes)


class BatchedScorer:
    """What all scorers of packed prompts share: the inputs, and how rows are batched."""

    def __init__(self, backbone: Backbone, inputs: Inputs, n_labels: int, limits: Limits) -> None:
        """Keeps what it is given; ``limits`` shrink when memory runs out."""
        self.backbone = backbone
        self.inputs = inputs
        self.n_labels = n_labels
        self._batches = Batches(limits, backbone.device)

    @property
    def limits(self) -> Limits:
        """How much goes into one forward by now."""
        return self._batches.limits

    @property
    def n_examples(self) -> int:
        """Number of examples."""
        return len(self.inputs.sides)

    @property
    def truncated(self) -> int:
        """How many examples' text was cut so that prompt and answer fit the context."""
        return self.inputs.truncated

    def labels(self, words: torch.Tensor) -> FloatArray:
        """Returns label log-probabilities (..., n_labels) of word scores (..., n_words)."""
        return label_logprobs(words, self.inputs.word_label, self.n_labels)

    def batches(self, sizes: Sequence[int], run: Callable[[slice], T]) -> Iterator[tuple[slice, T]]:
        """Runs consecutive rows in batches; see :meth:`Batches.run`."""
        yield from self._batches.run(sizes, run)
