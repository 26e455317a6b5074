"""Three ways to score prompts with a causal LM; all give the same numbers.

* :class:`AfterInputScorer`: input left of the prompt. Rows are examples; their keys and values are
  computed once a run, and every step packs its prompts behind them.
* :class:`BeforeInputScorer`: only the prompt is left of the input. Rows are prompts; their keys and
  values are computed once a call, and the examples are packed behind them.
* :class:`PlainScorer`: one row for each prompt and example, whole logits. Slow, and right for every
  architecture.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from rlprompt.core.evaluation import FloatArray, IntArray
from rlprompt.core.prompt import Prompt
from rlprompt.lm.backbone import Backbone
from rlprompt.lm.batching import BatchedScorer, Limits
from rlprompt.lm.inputs import Inputs
from rlprompt.lm.packed import PackedForward, Prefixes
from rlprompt.lm.packing import Row, pack, stack


class AfterInputScorer(BatchedScorer):
    """Rows are examples, prompts are packed.

    Implements ``ChoiceScorer``, ``NextToken`` and ``ReadsPrompts``.
    """

    def __init__(self, backbone: Backbone, inputs: Inputs, n_labels: int, limits: Limits) -> None:
        """Sorts the examples by length, so that padding is short."""
        super().__init__(backbone, inputs, n_labels, limits)
        self._forward = PackedForward(backbone, inputs)
        self._order = np.argsort([len(left) for left in inputs.left], kind="stable")
        self._kept: list[Prefixes] = []
        self._same_right = len(set(inputs.right)) == 1

    @property
    def prefixes_are_free(self) -> bool:
        """True where one-token label words follow the prompt immediately."""
        return not any(self.inputs.right) and self.inputs.single_token_words

    @torch.inference_mode()
    def choice_logprobs(self, prompts: Sequence[Prompt]) -> FloatArray:
        """Scores prompts: log-probabilities of shape (n_prompts, n_examples, n_labels)."""
        result = np.empty((len(prompts), self.n_examples, self.n_labels))
        packs = self._packs(prompts)
        for block in self._blocks():
            for group in packs:
                self._score(block, prompts, group, result)
        return result

    @torch.inference_mode()
    def prefix_logprobs(self, prompts: Sequence[Prompt]) -> list[FloatArray]:
        """Scores every non-empty prefix: for each prompt (len(prompt), n_examples, n_labels)."""
        if not self.prefixes_are_free:
            raise ValueError("Prefix scores are free only where labels follow the prompt directly.")
        result = [np.empty((len(p), self.n_examples, self.n_labels)) for p in prompts]
        packs = self._packs(prompts)
        for block in self._blocks():
            for group in packs:
                self._score_prefixes(block, prompts, group, result)
        return result

    @torch.inference_mode()
    def next_token_logprobs(
        self, rows: Sequence[int], prompts: Sequence[Prompt], ids: Sequence[int]
    ) -> FloatArray:
        """See :meth:`rlprompt.lm.protocol.NextToken.next_token_logprobs`."""
        result = np.empty((len(prompts), len(ids)))
        head = self.backbone.rows_of_head(ids)
        for asked, prefixes, row in self._behind(rows, prompts):
            logits = self._forward.next_tokens(prefixes, row, head)[:, 0]
            result[asked] = logits.double().log_softmax(dim=-1).cpu().numpy()
        return result

    @torch.inference_mode()
    def prompt_logprobs(self, rows: Sequence[int], prompts: Sequence[Prompt]) -> list[FloatArray]:
        """See :meth:`rlprompt.lm.protocol.ReadsPrompts.prompt_logprobs`."""
        result = [np.empty(0)] * len(prompts)
        for asked, prefixes, row in self._behind(rows, prompts):
            found = self._forward.own_tokens(prefixes, row).double().cpu().numpy()
            for n, tokens in zip(asked, found, strict=True):
                result[n] = tokens[: len(prompts[n])]
        return result

    def _behind(
        self, rows: Sequence[int], prompts: Sequence[Prompt]
    ) -> Iterator[tuple[list[int], Prefixes, Row]]:
        """Lays out prompts, each behind one example: which they are, left sides, and rows."""
        for block in self._blocks():
            place = {row: n for n, row in enumerate(block.rows.tolist())}
            asked = [n for n, row in enumerate(rows) if row in place]
            if asked:
                row = stack([pack([prompts[n].ids], []) for n in asked])
                yield asked, block.part([place[rows[n]] for n in asked]), row

    def _packs(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Groups prompts so that a row stays within its token limit."""
        beside = max(map(len, self.inputs.right)) + sum(map(len, self._forward.branches))
        return list(_groups([len(p) + beside for p in prompts], self.limits.row_tokens))

    def _blocks(self) -> Iterator[Prefixes]:
        """Yields the cached left sides, block by block, computing those that were not kept."""
        yield from self._kept
        done = sum(len(block.rows) for block in self._kept)
        room = self.limits.cache_bytes - sum(block.bytes for block in self._kept)
        rest = self._order[done:]
        lefts = [self.inputs.left[n] for n in rest]
        for _, block in self.batches(
            [len(left) for left in lefts],
            lambda part: self._forward.prefixes(rest[part], lefts[part]),
        ):
            room -= block.bytes
            # Only a run of blocks from the first on is kept; those after it are longer.
            if room >= 0:
                self._kept.append(block)
            yield block

    def _score(
        self, block: Prefixes, prompts: Sequence[Prompt], group: list[int], result: FloatArray
    ) -> None:
        branches = self._forward.branches
        packed = [
            pack([prompts[n].ids + self.inputs.right[e] for n in group], branches)
            for e in (block.rows[:1] if self._same_right else block.rows)
        ]
        if self._same_right:
            packed *= len(block.rows)
        for part, labels in self.batches(
            [len(row.tokens) for row in packed],
            lambda part: self.labels(self._forward.words(block.part(part), stack(packed[part]))),
        ):
            result[np.ix_(np.asarray(group), block.rows[part])] = labels.swapaxes(0, 1)

    def _score_prefixes(
        self,
        block: Prefixes,
        prompts: Sequence[Prompt],
        group: list[int],
        result: list[FloatArray],
    ) -> None:
        row = pack([prompts[n].ids for n in group], [])
        if not len(row.tokens):
            return
        packed = [row] * len(block.rows)
        for part, labels in self.batches(
            [len(row.tokens) for row in packed],
            lambda part: self.labels(
                self._forward.first_words_everywhere(block.part(part), stack(packed[part]))
            ),
        ):
            # (n_rows, length, n_labels) to one (len(prompt), n_rows, n_labels) a prompt.
            for segment, n in enumerate(group):
                result[n][:, block.rows[part]] = labels.swapaxes(0, 1)[row.trunk(segment)]


class BeforeInputScorer(BatchedScorer):
    """Rows are prompts, examples are packed. Implements ``ChoiceScorer``."""

    def __init__(self, backbone: Backbone, inputs: Inputs, n_labels: int, limits: Limits) -> None:
        """Groups the examples into packed rows, once."""
        super().__init__(backbone, inputs, n_labels, limits)
        self._forward = PackedForward(backbone, inputs)
        branches = self._forward.branches
        sizes = [len(right) + sum(map(len, branches)) for right in inputs.right]
        order = np.argsort(sizes, kind="stable")
        self._groups = [
            (
                np.asarray([order[n] for n in group]),
                pack([inputs.right[order[n]] for n in group], branches),
            )
            for group in _groups([sizes[n] for n in order], limits.row_tokens)
        ]

    @property
    def prefixes_are_free(self) -> bool:
        """False: the input follows the prompt, so every prefix needs its own forward."""
        return False

    @torch.inference_mode()
    def choice_logprobs(self, prompts: Sequence[Prompt]) -> FloatArray:
        """Scores prompts: log-probabilities of shape (n_prompts, n_examples, n_labels)."""
        result = np.empty((len(prompts), self.n_examples, self.n_labels))
        rows = np.arange(len(prompts))
        left = self.inputs.left[0]
        lefts = [left + prompt.ids for prompt in prompts]
        for _, prefixes in self.batches(
            [len(ids) for ids in lefts],
            lambda part: self._forward.prefixes(rows[part], lefts[part]),
        ):
            for examples, row in self._groups:
                self._score(prefixes, examples, row, result)
        return result

    def prefix_logprobs(self, prompts: Sequence[Prompt]) -> list[FloatArray]:
        """Not available here (see :attr:`prefixes_are_free`)."""
        raise ValueError("Prefix scores are free only where labels follow the prompt directly.")

    def _score(self, prefixes: Prefixes, examples: IntArray, row: Row, result: FloatArray) -> None:
        for part, labels in self.batches(
            [len(row.tokens)] * len(prefixes.rows),
            lambda part: self.labels(
                self._forward.words(prefixes.part(part), stack([row] * (part.stop - part.start)))
            ),
        ):
            result[np.ix_(prefixes.rows[part], examples)] = labels


class PlainScorer(BatchedScorer):
    """One row for each prompt, example and word of several tokens. Implements ``ChoiceScorer``."""

    @property
    def prefixes_are_free(self) -> bool:
        """False: nothing is shared here."""
        return False

    @torch.inference_mode()
    def choice_logprobs(self, prompts: Sequence[Prompt]) -> FloatArray:
        """Scores prompts: log-probabilities of shape (n_prompts, n_examples, n_labels)."""
        inputs = self.inputs
        words = torch.zeros(
            (len(prompts), self.n_examples, len(inputs.words)), device=self.backbone.device
        )
        one_token = [n for n, word in enumerate(inputs.words) if len(word) == 1]
        jobs: list[tuple[tuple[int, ...], tuple[int, int], list[int]]] = []
        for p, prompt in enumerate(prompts):
            for e in range(self.n_examples):
                stem = inputs.left[e] + prompt.ids + inputs.right[e]
                if one_token:
                    jobs.append((stem, (p, e), one_token))
                jobs += [
                    (stem + word[:-1], (p, e), [n])
                    for n, word in enumerate(inputs.words)
                    if len(word) > 1
                ]
        jobs.sort(key=lambda job: len(job[0]))

        for part, scores in self.batches(
            [len(ids) for ids, _, _ in jobs],
            lambda part: self._job_scores([(ids, wanted) for ids, _, wanted in jobs[part]]),
        ):
            for (_, (p, e), wanted), score in zip(jobs[part], scores, strict=True):
                words[p, e, wanted] = score
        return self.labels(words)

    def _job_scores(self, jobs: list[tuple[tuple[int, ...], list[int]]]) -> list[torch.Tensor]:
        """Returns the log-probability of each job's words, shape (n_words of the job,)."""
        backbone = self.backbone
        lengths = np.asarray([len(ids) for ids, _ in jobs], np.int64)
        tokens = np.zeros((len(jobs), lengths.max()), np.int64)
        for n, (ids, _) in enumerate(jobs):
            tokens[n, : len(ids)] = ids
        logits = backbone.full_logits(backbone.tensor(tokens), backbone.tensor(lengths))
        scores = []
        for n, (ids, wanted) in enumerate(jobs):
            words = torch.tensor([self.inputs.words[w] for w in wanted], device=logits.device)
            # The logits at a position predict the token after it.
            rows = logits[n, len(ids) - words.shape[1] : len(ids)].float().log_softmax(-1)
            scores.append(rows.gather(1, words.T).sum(0))
        return scores

    def prefix_logprobs(self, prompts: Sequence[Prompt]) -> list[FloatArray]:
        """Not available here (see :attr:`prefixes_are_free`)."""
        raise ValueError("Prefix scores are free only where labels follow the prompt directly.")


def _groups(sizes: Sequence[int], limit: int) -> Iterator[list[int]]:
    """Cuts a sequence into runs whose sizes sum to at most ``limit``; one item at least a run."""
    group: list[int] = []
    total = 0
    for n, size in enumerate(sizes):
        if group and total + size > limit:
            yield group
            group, total = [], 0
        group.append(n)
        total += size
    if group:
        yield group
