"""A checking fake: an LM whose best prompt is known; numpy only."""

import time
from collections import Counter
from collections.abc import Sequence

import numpy as np

from rlprompt.core.errors import ConfigError, TemplateError
from rlprompt.core.evaluation import FloatArray, IntArray, log_softmax
from rlprompt.core.hashing import content_hash
from rlprompt.core.prompt import Prompt
from rlprompt.lm.protocol import Identity, Meter
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.verbalizer import Verbalizer
from rlprompt.testing.words import COMMON_WORDS, WordTokenizer, made_up_words


class PlantedLM:
    r"""A frozen LM whose one best prompt is known, for tests of anything that searches.

    The first ``vocab_size`` words (ids 1 to ``vocab_size``) are made up; frequent English words for
    texts and labels follow. A sequence :math:`p^*` of ``length`` made-up words is planted. The
    quality of a prompt :math:`p` is

    .. math:: q(p) = \frac{1}{L}\sum_{t \le L} \left((1 - s)\,[p_t = p^*_t] + s \cos(e_{p_t},
              e_{p^*_t})\right) - \frac{1}{2L} \max(0, |p| - L)

    with embedding rows :math:`e` and ``smoothness`` :math:`s`: the first part makes the optimum
    sharp, the second lets an agent generalise over embeddings. So :math:`q(p^*) = 1`, every other
    prompt has less, and the empty prompt has 0. The logit of label :math:`y` for example :math:`i`
    is ``gain * q`` where :math:`y` is gold, plus noise that depends on the example's input alone.

    Why calibration cannot move the optimum: it takes ``gain * q`` times each label's share of the
    examples from that label, so the gold label's lead over label :math:`y` still grows with
    :math:`q`, by :math:`1 - share_{gold} + share_y > 0` (0 only if all examples have one label).

    It reads the gold labels, as no real LM does, and it checks everything that it is given.

    With ``predicts_tokens`` its scorers also say how it goes on with a prompt: the logits of the
    next token are the products of its embedding row and the last token's, over the root of the
    width. That is alike for every example, and knows nothing of the planted prompt.

    Attributes:
        optimum: the planted prompt, the unique best one on any split with two labels or more.
        scored_pairs: how many examples were scored with each prompt, over all scorers.
    """

    def __init__(
        self,
        vocab_size: int = 64,
        length: int = 4,
        *,
        width: int = 8,
        smoothness: float = 0.4,
        gain: float = 4.0,
        noise: float = 1.0,
        prefixes_are_free: bool = True,
        predicts_tokens: bool = False,
        seed: int = 0,
    ) -> None:
        """Plants a prompt.

        Args:
            vocab_size: how many made-up words there are.
            length: number of tokens of the planted prompt.
            width: dimensions of an embedding row.
            smoothness: share of the quality that comes from similar embeddings, from 0 up to 1,
                1 left out.
            gain: log-odds between the empty prompt (about chance) and the optimum.
            noise: standard deviation of each example's label offsets, in log-odds.
            prefixes_are_free: what its scorers say of themselves.
            predicts_tokens: whether its scorers are of :class:`PlantedPredictor`.
            seed: decides embeddings, planted prompt and noise.

        Raises:
            ConfigError: a setting out of range.
        """
        if vocab_size < 2 or length < 1 or width < 2:
            raise ConfigError("A PlantedLM needs vocab_size >= 2, length >= 1 and width >= 2.")
        if not 0 <= smoothness < 1 or gain <= 0 or noise < 0:
            raise ConfigError("A PlantedLM needs 0 <= smoothness < 1, gain > 0 and noise >= 0.")
        self._settings = (vocab_size, length, width, smoothness, gain, noise, seed)
        self._gain, self._noise, self._seed = gain, noise, seed
        self._free, self._predicts = prefixes_are_free, predicts_tokens
        rng = np.random.default_rng(seed)
        self._tokenizer = WordTokenizer((*made_up_words(vocab_size), *COMMON_WORDS))
        self._rows = rng.normal(size=(self._tokenizer.vocab_size, width))
        planted = rng.integers(1, vocab_size + 1, size=length)
        self._optimum = Prompt(tuple(int(i) for i in planted))
        unit = self._rows / np.linalg.norm(self._rows, axis=1, keepdims=True)
        exact = planted[:, None] == np.arange(len(unit))
        # (length + 1, vocabulary): what a token adds at each position; the last row is "too long".
        gains = (1 - smoothness) * exact + smoothness * (unit[planted] @ unit.T)
        too_long = np.full((1, len(unit)), -0.5)
        self._table = np.concatenate([gains, too_long]) / length
        self._first = rng.normal(size=width)
        self._meter = Meter()
        self.scored_pairs: Counter[Prompt] = Counter()

    @property
    def identity(self) -> Identity:
        """Differs wherever the settings that change a score differ."""
        weights = content_hash(self._settings)
        return Identity("planted", "causal", "", "float64", weights, content_hash(COMMON_WORDS))

    @property
    def tokenizer(self) -> WordTokenizer:
        """The made-up words and frequent English words."""
        return self._tokenizer

    @property
    def meter(self) -> Meter:
        """Words and seconds so far; a text's words count once for each prompt."""
        return self._meter

    @property
    def optimum(self) -> Prompt:
        """The planted prompt."""
        return self._optimum

    def embeddings(self, ids: Sequence[int]) -> FloatArray:
        """Returns copies of embedding rows, shape (len(ids), width).

        Raises:
            IndexError: an id is out of range.
        """
        if any(not 0 <= i < len(self._rows) for i in ids):
            raise IndexError(f"Ids {list(ids)} are not all from 0 to {len(self._rows) - 1}.")
        return np.array(self._rows[np.asarray(ids, dtype=np.int64)])

    def qualities(self, prompts: Sequence[Prompt]) -> FloatArray:
        """Returns the quality of every prefix of prompts.

        Returns:
            Shape (n_prompts, longest + 1); column ``k`` is the prefix of ``k`` tokens. Columns past
            a prompt's own length repeat its last value.
        """
        longest = max(map(len, prompts), default=0)
        ids = np.zeros((len(prompts), longest), dtype=np.int64)
        real = np.arange(longest) < np.array([len(p) for p in prompts], dtype=int)[:, None]
        ids[real] = [i for prompt in prompts for i in prompt.ids]
        position = np.minimum(np.arange(longest), len(self._optimum))
        added = np.where(real, self._table[position, ids], 0.0)
        return np.concatenate([np.zeros((len(prompts), 1)), added.cumsum(axis=1)], axis=1)

    def bind(
        self,
        template: Template,
        verbalizer: Verbalizer,
        examples: Sequence[Example],
        *,
        max_prompt_tokens: int,
    ) -> "PlantedScorer":
        """Checks everything and makes a scorer.

        Raises:
            TypeError, ValueError: what is given breaks the protocol.
            TemplateError: the template has a mask, an example lacks a field, or a label word is
                not one word of the vocabulary.
        """
        if not isinstance(template, Template) or not isinstance(verbalizer, Verbalizer):
            raise TypeError(f"Not a template and a verbalizer: {template!r}, {verbalizer!r}.")
        if not examples or max_prompt_tokens < 1:
            raise ValueError("bind needs an example or more and max_prompt_tokens of 1 or more.")
        if template.has_mask:
            raise TemplateError(
                f"A causal LM fills no {{mask}}: take it out of {template.source!r}."
            )
        for word in verbalizer.flat:
            try:
                single = len(self._tokenizer.encode(word)) == 1
            except ConfigError as error:
                raise TemplateError(f"Label word {word!r}: {error}") from error
            if not single:
                raise TemplateError(f"The label word {word!r} is more than one token.")
        for example in examples:
            if not isinstance(example, Example) or not 0 <= example.label < len(verbalizer):
                raise ValueError(f"{example!r} is no example with one of {len(verbalizer)} labels.")
            template.check_fields(example.fields)
        words = np.array([len(template.render(e.fields, "").split()) for e in examples], np.int64)
        gold = np.array([example.label for example in examples], dtype=np.int64)
        offsets = np.stack([self._offsets(example, len(verbalizer)) for example in examples])
        kind = PlantedPredictor if self._predicts else PlantedScorer
        return kind(self, offsets, gold, words, max_prompt_tokens)

    def _offsets(self, example: Example, n_labels: int) -> FloatArray:
        digits = content_hash([self._seed, dict(example.fields)])
        return self._noise * np.random.default_rng(int(digits, 16)).normal(size=n_labels)

    def _next_logprobs(self, prompts: Sequence[Prompt], ids: Sequence[int]) -> FloatArray:
        """Log-probabilities of the next token among ids, shape (len(prompts), len(ids))."""
        last = np.stack([self._rows[p.ids[-1]] if p else self._first for p in prompts])
        return log_softmax(last @ self.embeddings(ids).T / np.sqrt(last.shape[1]))

    def _logprobs(self, quality: FloatArray, offsets: FloatArray, gold: IntArray) -> FloatArray:
        """Quality of any shape (n,) to log-probabilities (n, n_examples, n_labels)."""
        right = np.arange(offsets.shape[1]) == gold[:, None]
        return log_softmax(offsets + self._gain * quality[:, None, None] * right)


class PlantedScorer:
    """A :class:`PlantedLM` bound to the examples of one split.

    Attributes:
        calls: how often it was asked, in any way.
        pairs: how many pairs of a prompt and an example it scored; equal prompts count each.
    """

    def __init__(
        self,
        lm: PlantedLM,
        offsets: FloatArray,
        gold: IntArray,
        words: IntArray,
        max_prompt_tokens: int,
    ) -> None:
        """Made by :meth:`PlantedLM.bind`; offsets (n_examples, n_labels), words a text."""
        self._lm, self._offsets, self._gold, self._words = lm, offsets, gold, words
        self._max_prompt_tokens = max_prompt_tokens
        self.calls = 0
        self.pairs = 0

    @property
    def n_examples(self) -> int:
        """Number of examples."""
        return len(self._gold)

    @property
    def truncated(self) -> int:
        """Always 0: no context limits a planted LM."""
        return 0

    @property
    def prefixes_are_free(self) -> bool:
        """What the LM was built with."""
        return self._lm._free

    def choice_logprobs(self, prompts: Sequence[Prompt]) -> FloatArray:
        """Scores prompts, shape (n_prompts, n_examples, n_labels).

        Raises:
            TypeError, ValueError: a prompt breaks the protocol.
        """
        started = self._check_and_count(prompts)
        quality = self._lm.qualities(prompts)[:, -1]
        logprobs = self._lm._logprobs(quality, self._offsets, self._gold)
        self._lm.meter.seconds += time.perf_counter() - started
        return logprobs

    def prefix_logprobs(self, prompts: Sequence[Prompt]) -> list[FloatArray]:
        """Scores all non-empty prefixes, each (len(prompt), n_examples, n_labels).

        Raises:
            TypeError, ValueError: a prompt breaks the protocol, or prefixes are not free.
        """
        if not self.prefixes_are_free:
            raise ValueError("prefix_logprobs was called although prefixes_are_free is False.")
        started = self._check_and_count(prompts)
        rows = self._lm.qualities(prompts)
        qualities = [row[1 : len(p) + 1] for row, p in zip(rows, prompts, strict=True)]
        scores = [self._lm._logprobs(q, self._offsets, self._gold) for q in qualities]
        self._lm.meter.seconds += time.perf_counter() - started
        return scores

    def _check_and_count(self, prompts: Sequence[Prompt]) -> float:
        """Refuses what no agent may send; counts the rest; returns the time."""
        started = time.perf_counter()
        self._check(prompts)
        self.calls += 1
        self.pairs += len(prompts) * self.n_examples
        for prompt in prompts:
            self._lm.scored_pairs[prompt] += self.n_examples
            self._lm.meter.tokens += int(self._words.sum()) + len(prompt) * self.n_examples
        return started

    def _check(self, prompts: Sequence[Prompt]) -> None:
        if not isinstance(prompts, Sequence) or not prompts:
            raise ValueError(f"Prompts must be a non-empty sequence, not {prompts!r}.")
        special = self._lm.tokenizer.special_ids
        for prompt in prompts:
            if not isinstance(prompt, Prompt) or any(type(i) is not int for i in prompt.ids):
                raise TypeError(f"{prompt!r} is no Prompt of a tuple of ints.")
            if len(prompt) > self._max_prompt_tokens:
                raise ValueError(f"{prompt!r} is longer than {self._max_prompt_tokens} tokens.")
            if not all(0 <= i < self._lm.tokenizer.vocab_size for i in prompt.ids):
                raise ValueError(f"{prompt!r} has ids outside the vocabulary.")
            if not special.isdisjoint(prompt.ids):
                raise ValueError(f"{prompt!r} holds a special token.")


class PlantedPredictor(PlantedScorer):
    """A scorer that also says how the LM would go on; implements ``NextToken``."""

    def next_token_logprobs(
        self, rows: Sequence[int], prompts: Sequence[Prompt], ids: Sequence[int]
    ) -> FloatArray:
        """Predicts next tokens: log-probabilities among ids, shape (len(prompts), len(ids)).

        Raises:
            TypeError, ValueError: an argument breaks the protocol.
        """
        started = time.perf_counter()
        self._check(prompts)
        self._check_next(rows, prompts, ids)
        self.calls += 1
        for row, prompt in zip(rows, prompts, strict=True):
            self._lm.meter.tokens += int(self._words[row]) + len(prompt)
        logprobs = self._lm._next_logprobs(prompts, ids)
        self._lm.meter.seconds += time.perf_counter() - started
        return logprobs

    def _check_next(
        self, rows: Sequence[int], prompts: Sequence[Prompt], ids: Sequence[int]
    ) -> None:
        if len(rows) != len(prompts):
            raise ValueError(f"{len(prompts)} prompts stand behind {len(rows)} examples.")
        if any(type(n) is not int for n in (*rows, *ids)):
            raise TypeError(f"Rows {rows!r} and ids {ids!r} must be ints.")
        if not all(0 <= row < self.n_examples for row in rows):
            raise ValueError(f"Rows {rows!r} are not all from 0 to {self.n_examples - 1}.")
        if any(len(prompt) == self._max_prompt_tokens for prompt in prompts):
            raise ValueError(f"A prompt of {self._max_prompt_tokens} tokens has no next one.")
        if not ids or len(set(ids)) != len(ids):
            raise ValueError(f"Ids must be distinct, and at least one: {ids!r}.")
        self._check([Prompt((i,)) for i in ids])
