"""An LM bound to a split, with every score kept in the evaluation log."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rlprompt.core.errors import ConfigError
from rlprompt.core.evaluation import FloatArray, IntArray
from rlprompt.core.hashing import content_hash
from rlprompt.core.ledger import Ledger
from rlprompt.core.prompt import Prompt
from rlprompt.lm.protocol import ChoiceScorer, FrozenLM, NextToken, ReadsPrompts
from rlprompt.objective.evaluation_log import Batch, EvaluationLog
from rlprompt.objective.racing import Racing, heats_of
from rlprompt.tasks.examples import Split
from rlprompt.tasks.template import Template
from rlprompt.tasks.verbalizer import Verbalizer


@dataclass(frozen=True)
class Question:
    """What is asked of the LM, whatever the prompt and the examples.

    Attributes:
        template: where input, prompt and answer stand.
        verbalizer: the words of each label.
        max_prompt_tokens: longest prompt that will be scored; text is cut to leave room for it.
    """

    template: Template
    verbalizer: Verbalizer
    max_prompt_tokens: int


class SplitScorer:
    """Scores prompts on one split, each at most once in the life of the evaluation log."""

    def __init__(self, lm: FrozenLM, question: Question, split: Split, log: EvaluationLog) -> None:
        """Names the context; the LM is bound when a score is first missing.

        Args:
            lm: the frozen LM.
            question: template, verbalizer and room for the prompt.
            split: the examples.
            log: where scores come from and go to.
        """
        self._lm = lm
        self._question = question
        self._split = split
        self._log = log
        self._bound: ChoiceScorer | None = None
        self._truncated: int | None = None
        self._heats: dict[Racing, list[tuple[SplitScorer, IntArray]]] = {}
        self.context = content_hash(
            [
                lm.identity.fingerprint,
                question.template.source,
                question.template.answer_prefix,
                question.verbalizer.words,
                question.max_prompt_tokens,
                split.hash,
            ]
        )
        self.gold: IntArray = np.asarray(split.gold, np.int64)

    @property
    def n_examples(self) -> int:
        """Number of examples: what one prompt costs in LM forwards."""
        return len(self._split)

    @property
    def template(self) -> Template:
        """Where input, prompt and answer stand."""
        return self._question.template

    @property
    def scorer(self) -> ChoiceScorer:
        """The bound LM."""
        if self._bound is None:
            self._bound = self._lm.bind(
                self._question.template,
                self._question.verbalizer,
                self._split.examples,
                max_prompt_tokens=self._question.max_prompt_tokens,
            )
        return self._bound

    @property
    def truncated(self) -> int:
        """How many examples' text was cut so that prompt and answer fit the context."""
        return self._truncated if self._truncated is not None else self.scorer.truncated

    def release(self) -> None:
        """Lets go of the bound LM's cached keys and values; the next score makes them anew."""
        self._truncated = self.truncated
        self._bound = None

    def logprobs(
        self, prompts: Sequence[Prompt], ledger: Ledger, *, prefixes: bool = False
    ) -> list[FloatArray]:
        """Returns log-probabilities of shape (n_examples, n_labels) for each prompt.

        Args:
            prompts: distinct prompts in canonical form.
            ledger: where computed and replayed forwards, and the tokens and seconds that the scores
                cost whenever they were computed, are counted; charging is the caller's business.
            prefixes: whether to log the scores of all prefixes too, where they are free.
        """
        prefixes = prefixes and self.scorer.prefixes_are_free
        # A prompt that was logged without its prefixes, as by a control, is scored again for them.
        missing = [
            p for p in prompts if not all(map(self.has, p.prefixes() if prefixes and p else [p]))
        ]
        ledger.replayed += (len(prompts) - len(missing)) * self.n_examples
        ledger.computed += len(missing) * self.n_examples
        if missing:
            self._compute(missing, prefixes)
        self._count(self.context, prompts, ledger)
        return [self.known(p) for p in prompts]

    @property
    def predicts_tokens(self) -> bool:
        """Whether the LM can say how it would go on with a prompt in this template."""
        return isinstance(self.scorer, NextToken)

    def next_token_logprobs(
        self, rows: Sequence[int], prompts: Sequence[Prompt], ids: Sequence[int], ledger: Ledger
    ) -> FloatArray:
        """Predicts the next token of unfinished prompts, each behind one example.

        Args:
            rows: index of the example of each prompt.
            prompts: the unfinished prompts.
            ids: token ids to choose from.
            ledger: counts what was computed or replayed; charging is the caller's business.

        Returns:
            Log-probabilities among ``ids``, shape (len(prompts), len(ids)).

        Raises:
            ConfigError: the LM cannot do so in this template.
        """
        scorer = self.scorer
        if not isinstance(scorer, NextToken):
            raise ConfigError(
                "The LM can go on with the input only where the prompt follows it, as in "
                "'{text}{prompt}', and where prompts can be packed."
            )
        context = content_hash([self.context, "next token", list(ids)])
        # In the log the number of the example stands before the prompt's own ids.
        keys = [Prompt((row, *p.ids)) for row, p in zip(rows, prompts, strict=True)]
        missing = [
            n
            for n, key in enumerate(keys)
            if self._log.get(context, key) is None and key not in keys[:n]
        ]
        ledger.computed += len(missing)
        ledger.replayed += len(set(keys)) - len(missing)
        if missing:
            before = self._spent()
            found = scorer.next_token_logprobs(
                [rows[n] for n in missing], [prompts[n] for n in missing], ids
            )
            scores = dict(zip([keys[n] for n in missing], map(_as_logged, found), strict=True))
            self._keep(context, scores, before)
        self._count(context, keys, ledger)
        known = [self._log.get(context, key) for key in keys]
        return np.stack([row for row in known if row is not None])

    def read(self, rows: Sequence[int], prompts: Sequence[Prompt], ledger: Ledger) -> None:
        """Reads prompts and all their prefixes as text behind some examples.

        Args:
            rows: indices of the examples.
            prompts: distinct prompts; one LM forward each and example.
            ledger: counts what was computed or replayed; charging is the caller's business.

        Raises:
            ConfigError: the LM cannot do so in this template.
        """
        scorer = self.scorer
        if not isinstance(scorer, ReadsPrompts):
            raise ConfigError(
                "How fluent a prompt is can be told only where it follows the input, as in "
                "'{text}{prompt}', with a causal LM that scores packed prompts: leave fluency out."
            )
        context = context_of_reading(self.context, rows)
        prompts = [p for p in prompts if p]
        missing = [p for p in prompts if self._log.get(context, p) is None]
        ledger.computed += len(missing) * len(rows)
        ledger.replayed += (len(prompts) - len(missing)) * len(rows)
        if missing:
            before = self._spent()
            found = scorer.prompt_logprobs(
                list(rows) * len(missing), [p for p in missing for _ in rows]
            )
            scores: dict[Prompt, FloatArray] = {}
            for n, prompt in enumerate(missing):
                tokens = np.stack(found[n * len(rows) : (n + 1) * len(rows)])
                for prefix, total in zip(prompt.prefixes(), tokens.cumsum(1).T, strict=True):
                    if self._log.get(context, prefix) is None:
                        scores.setdefault(prefix, _as_logged(total[:, None]))
            self._keep(context, scores, before)
        self._count(context, prompts, ledger)

    def was_read(self, rows: Sequence[int], prompt: Prompt) -> FloatArray:
        """Returns the log-probability of a prompt behind each of some examples, shape (n_rows,).

        Raises:
            KeyError: it was not read.
        """
        found = self._log.get(context_of_reading(self.context, rows), prompt)
        if found is None:
            raise KeyError(f"{prompt} was never read behind examples {list(rows)}.")
        return found[:, 0]

    def known(self, prompt: Prompt) -> FloatArray:
        """Returns a score that is in the log.

        Raises:
            KeyError: it is not.
        """
        score = self._log.get(self.context, prompt)
        if score is None:
            raise KeyError(f"{prompt} was never scored in context {self.context}.")
        return score

    def heats(self, racing: Racing) -> list[tuple["SplitScorer", IntArray]]:
        """Returns scorers of the parts of the split that a race is run over, and their indices."""
        if racing not in self._heats:  # objectives that share a scorer share what it bound
            self._heats[racing] = [
                (SplitScorer(self._lm, self._question, heat, self._log), indices)
                for heat, indices in heats_of(self._split, racing)
            ]
        return self._heats[racing]

    def adopt(self, prompt: Prompt, scores: FloatArray) -> None:
        """Logs scores that were put together from those of all parts of the split.

        Args:
            prompt: the prompt.
            scores: shape (n_examples, n_labels), in the order of the split.
        """
        if not self.has(prompt):
            self._log.put(self.context, [prompt], [_as_logged(scores)])

    def has(self, prompt: Prompt) -> bool:
        """Whether a score is in the log."""
        return self._log.get(self.context, prompt) is not None

    def _compute(self, missing: list[Prompt], prefixes: bool) -> None:
        found: dict[Prompt, FloatArray] = {}
        before = self._spent()
        by_prefix = [p for p in missing if p] if prefixes else []
        whole = [p for p in missing if p not in by_prefix]
        if by_prefix:
            scores = self.scorer.prefix_logprobs(by_prefix)
            for prompt, rows in zip(by_prefix, scores, strict=True):
                for prefix, row in zip(prompt.prefixes(), rows, strict=True):
                    if not self.has(prefix):
                        found.setdefault(prefix, _as_logged(row))
        if whole:
            for prompt, row in zip(whole, self.scorer.choice_logprobs(whole), strict=True):
                found[prompt] = _as_logged(row)
        self._keep(self.context, found, before)

    def _count(self, context: str, keys: Sequence[Prompt], ledger: Ledger) -> None:
        """Counts what the LM calls cost that scores of the log came from, each call once."""
        for key in keys:
            batch = self._log.batch(context, key)
            ledger.count(batch, batch.tokens, batch.seconds, batch.saved)

    def _spent(self) -> Batch:
        """Returns what the LM has spent so far."""
        meter = self._lm.meter
        return Batch(meter.tokens, meter.seconds, meter.saved_tokens)

    def _keep(self, context: str, found: dict[Prompt, FloatArray], before: Batch) -> None:
        """Logs what an LM call found, with what the LM has spent since ``before``."""
        now = self._spent()
        batch = Batch(
            now.tokens - before.tokens, now.seconds - before.seconds, now.saved - before.saved
        )
        self._log.put(context, list(found), list(found.values()), batch)


def context_of_reading(context: str, rows: Sequence[int]) -> str:
    """Names, in the log, what prompts were read as behind examples of a split."""
    return content_hash([context, "read", list(rows)])


def _as_logged(scores: FloatArray) -> FloatArray:
    """Rounds to what the log keeps, so that a fresh score equals a replayed one to the bit."""
    return np.asarray(scores, np.float32).astype(np.float64)


def parts(split: Split, size: int) -> Iterator[Split]:
    """Cuts a split into consecutive parts of up to ``size`` examples."""
    for start in range(0, len(split), size):
        yield Split(split.name, split.examples[start : start + size])


def halves(split: Split) -> list[Split]:
    """Deals a split into two parts in turn, so that a split sorted by label is dealt evenly."""
    dealt = (split.examples[0::2], split.examples[1::2])
    return [Split(split.name, examples) for examples in dealt if examples]
