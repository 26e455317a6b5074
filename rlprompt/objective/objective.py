"""The search's view of a task: prompts in, rewards out, and a budget that cannot be exceeded."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rlprompt.core.archive import Archive
from rlprompt.core.errors import BudgetExhausted, ConfigError, SearchStalled
from rlprompt.core.evaluation import Evaluation, FloatArray
from rlprompt.core.ledger import Budget, Ledger
from rlprompt.core.prompt import Prompt
from rlprompt.objective.split_scorer import SplitScorer
from rlprompt.rewards import Reward
from rlprompt.tasks.tokenization import Tokenizer, canonical, prompt_text

#: Calls of ``evaluate`` in a row without one new prompt, after which a search is called off.
STALL_CALLS = 500


@dataclass(frozen=True, eq=False)
class Scored:
    """One scored prompt.

    Attributes:
        prompt: the prompt in canonical form.
        reward: its reward on train, higher is better.
        evaluation: what the LM said about every train example.
    """

    prompt: Prompt
    reward: float
    evaluation: Evaluation


class Objective:
    """Scores prompts on train under a budget and keeps them in the archive.

    A forward is charged once for each prompt and example, on first request, before it is run.
    Where the LM gives the scores of all prefixes with a prompt's own forward, these are free in
    both directions: prefixes of a paid prompt cost nothing, and a prompt that lengthens a paid one
    by one token goes on with its forward, once. So an episode of L tokens costs the same whether
    its rewards come at the end or after every token.
    """

    def __init__(
        self,
        scorer: SplitScorer,
        tokenizer: Tokenizer,
        reward: Reward,
        budget: Budget,
        *,
        max_prompt_tokens: int,
        stall_calls: int | None = STALL_CALLS,
    ) -> None:
        """Makes an objective with an empty archive and ledger.

        Args:
            scorer: the LM bound to the train split.
            tokenizer: the LM's tokenizer, which gives every prompt its canonical form.
            reward: pure function of an evaluation.
            budget: hard limit in LM forwards.
            max_prompt_tokens: longest prompt in tokens.
            stall_calls: calls of :meth:`evaluate` in a row without one new prompt, after which the
                search is called off; None for never, where the caller counts its own steps.

        Raises:
            ConfigError: the budget does not cover one prompt.
        """
        if budget.forwards < scorer.n_examples:
            raise ConfigError(
                f"A search budget of {budget.forwards} LM forwards does not cover one prompt on "
                f"{scorer.n_examples} train examples: allow at least {scorer.n_examples}."
            )
        self.budget = budget
        self.ledger = Ledger()
        self.archive = Archive()
        self.max_prompt_tokens = max_prompt_tokens
        self._scorer = scorer
        self._tokenizer = tokenizer
        self._reward = reward
        self._known: dict[Prompt, Scored] = {}
        self._open: set[Prompt] = set()
        self._asked: set[tuple[int, tuple[int, ...]]] = set()
        self._stall_calls = stall_calls
        self._calls_without_news = 0
        self._canonical = lru_cache(maxsize=200_000)(
            lambda p: canonical(tokenizer, scorer.template, p)
        )

    @property
    def n_examples(self) -> int:
        """Number of train examples: what one prompt costs in LM forwards."""
        return self._scorer.n_examples

    @property
    def remaining(self) -> int:
        """LM forwards left."""
        return self.budget.forwards - self.ledger.forwards

    @property
    def prefixes_are_free(self) -> bool:
        """Whether the scores of all prefixes come with a prompt's own forward."""
        return self._scorer.scorer.prefixes_are_free

    def text(self, prompt: Prompt) -> str:
        """Returns the text of a prompt as it goes into the template."""
        return prompt_text(self._tokenizer, self._scorer.template, prompt)

    def canonical(self, prompt: Prompt) -> Prompt:
        """Returns the form in which a prompt is scored: what its own text encodes to."""
        return self._canonical(prompt)

    @property
    def predicts_tokens(self) -> bool:
        """Whether :meth:`next_token_logprobs` is to be had."""
        return self._scorer.predicts_tokens

    def next_token_logprobs(
        self, rows: Sequence[int], prompts: Sequence[Prompt], ids: Sequence[int]
    ) -> FloatArray:
        """Returns how the frozen LM itself would go on with prompts, each behind a train example.

        One LM forward a prompt; going on with a prompt behind the same example by one token goes on
        with its forward.

        Args:
            rows: index of the train example of each prompt.
            prompts: the unfinished prompts.
            ids: token ids to choose from.

        Returns:
            Log-probabilities among ``ids``, shape (len(prompts), len(ids)).

        Raises:
            BudgetExhausted: the budget does not cover them.
            ConfigError: the LM cannot do so in this template.
        """
        asked = [(row, p.ids) for row, p in zip(rows, prompts, strict=True)]
        new = {key for key in asked if key not in self._asked}
        begun = [key for key in new if not key[1] or (key[0], key[1][:-1]) not in self._asked]
        self.ledger.charge(len(begun), self.budget)
        self._asked |= new
        return self._scorer.next_token_logprobs(rows, prompts, ids, self.ledger)

    def evaluate(self, prompts: Sequence[Prompt]) -> list[Scored]:
        """Scores prompts, in one LM call for all that are new.

        Args:
            prompts: any number, duplicates allowed; each is scored in canonical form.

        Returns:
            One :class:`Scored` a prompt, in the same order.

        Raises:
            BudgetExhausted: not all new prompts could be paid for. Those that could, in order, are
                scored and in the archive.
            SearchStalled: the last ``stall_calls`` calls (500) brought no new prompt.
            ConfigError: a prompt is longer than ``max_prompt_tokens``.
        """
        wanted = [self.canonical(p) for p in prompts]
        new = list(dict.fromkeys(p for p in wanted if p not in self._known))
        self.ledger.cache_hits += (len(wanted) - len(new)) * self.n_examples
        self._check_lengths(new)
        self._watch_for_stall(bool(new))
        paid, refusal = self._pay(new)
        self._score(paid)
        if refusal is not None:
            raise refusal
        return [self._known[p] for p in wanted]

    def prefix_rewards(self, prompt: Prompt) -> list[float]:
        """Returns the reward of every non-empty prefix of a scored prompt, free of charge.

        Raises:
            ConfigError: prefixes are not free with this LM and template.
            KeyError: the prompt was not scored in this run.
        """
        if not self.prefixes_are_free:
            raise ConfigError(
                "Prefix scores are not free here: something follows the prompt, a label word has "
                "several tokens, or the LM cannot score packed prompts."
            )
        if prompt not in self._known:
            raise KeyError(f"{prompt} was not scored in this run.")
        return [self._scored(p).reward for p in prompt.prefixes()]

    def _check_lengths(self, prompts: list[Prompt]) -> None:
        for prompt in prompts:
            if len(prompt) > self.max_prompt_tokens:
                raise ConfigError(
                    f"The prompt {self.text(prompt)!r} has {len(prompt)} tokens, more than the "
                    f"{self.max_prompt_tokens} there is room for."
                )

    def _watch_for_stall(self, news: bool) -> None:
        self._calls_without_news = 0 if news else self._calls_without_news + 1
        if self._stall_calls is not None and self._calls_without_news >= self._stall_calls:
            raise SearchStalled(
                f"The last {self._stall_calls} batches brought no prompt that was not scored "
                f"before; {self.remaining} LM forwards are left unspent."
            )

    def _pay(self, new: list[Prompt]) -> tuple[list[tuple[Prompt, int]], BudgetExhausted | None]:
        """Charges prompts in order until one cannot be paid."""
        paid: list[tuple[Prompt, int]] = []
        covered: set[Prompt] = set()
        for prompt in new:
            if prompt in covered:
                continue
            parent = Prompt(prompt.ids[:-1])
            if parent in self._open and self.prefixes_are_free:
                self._open.remove(parent)
            else:
                try:
                    self.ledger.charge(self.n_examples, self.budget)
                except BudgetExhausted as refusal:
                    return paid, refusal
            self._open.add(prompt)
            paid.append((prompt, self.ledger.forwards))
            if self.prefixes_are_free:
                covered.update(prompt.prefixes())
        return paid, None

    def _score(self, paid: list[tuple[Prompt, int]]) -> None:
        if not paid:
            return
        self._scorer.logprobs([p for p, _ in paid], self.ledger, prefixes=True)
        for prompt, found_at in paid:
            related = prompt.prefixes() if self.prefixes_are_free else []
            for each in related or [prompt]:
                # A prefix whose own text encodes to other ids is no prompt that could be shipped.
                if each not in self._known and self.canonical(each) == each:
                    scored = self._scored(each)
                    self._known[each] = scored
                    self.archive.add(each, scored.reward, found_at)

    def _scored(self, prompt: Prompt) -> Scored:
        if prompt in self._known:
            return self._known[prompt]
        evaluation = Evaluation(self._scorer.known(prompt), self._scorer.gold)
        reward = float(self._reward(evaluation))
        if not np.isfinite(reward):
            raise ConfigError(
                f"The reward of {self.text(prompt)!r} is {reward}: a reward must be finite."
            )
        return Scored(prompt, reward, evaluation)
