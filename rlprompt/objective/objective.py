"""The search's view of a task: prompts in, rewards out, and a budget that cannot be exceeded."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rlprompt.core.archive import Archive
from rlprompt.core.errors import ConfigError, SearchStalled
from rlprompt.core.evaluation import Evaluation, FloatArray, IntArray
from rlprompt.core.ledger import Budget, Ledger
from rlprompt.core.prompt import Prompt
from rlprompt.objective.account import Account, Due
from rlprompt.objective.fluency import ENOUGH, Fluency
from rlprompt.objective.racing import Racing, hopeless
from rlprompt.objective.split_scorer import SplitScorer
from rlprompt.rewards import Reward
from rlprompt.tasks.tokenization import Tokenizer, canonical, prompt_of, prompt_text

#: Calls of ``evaluate`` in a row without one new prompt, after which a search is called off.
STALL_CALLS = 500


@dataclass(frozen=True, eq=False)
class Scored:
    """One scored prompt.

    Attributes:
        prompt: the prompt in canonical form.
        reward: its reward on train, higher is better; an estimate where racing dropped the prompt.
        evaluation: what the LM said about the train examples it was scored on.
        complete: whether these are all; False where racing dropped the prompt.
    """

    prompt: Prompt
    reward: float
    evaluation: Evaluation
    complete: bool = True


@dataclass(frozen=True, eq=False)
class Heat:
    """A part of train that prompts are scored on together.

    Attributes:
        scorer: the LM bound to these examples.
        indices: where they stand in train, shape (n_heat,).
        account: which prompts are paid for here.
    """

    scorer: SplitScorer
    indices: IntArray
    account: Account


class Objective:
    """Scores prompts on train under a budget and keeps them in the archive.

    A forward is charged once for each prompt and example, on first request, before it is run.
    Where the LM gives the scores of all prefixes with a prompt's own forward, these are free in
    both directions: prefixes of a paid prompt cost nothing, and a prompt that lengthens a paid one
    by one token goes on with its forward, once. So an episode of L tokens costs the same whether
    its rewards come at the end or after every token.

    With racing a prompt is scored heat by heat and dropped where it has fallen behind; only the
    heats it was in are charged. The archive holds prompts that were scored on all of train. All of
    this holds in each heat for itself: a prompt whose prefix was dropped pays for itself in the
    heats that the prefix was not in, and rewards after every token cost more than one at the end,
    since a prefix may stay in where the prompt would have been dropped.

    With a weight for fluency a prompt is also read as text, for a few forwards more, and what it
    lacks (:mod:`rlprompt.objective.fluency`) is taken off its reward.
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
        racing: Racing | None = None,
        fluency: float = 0.0,
        perplexity: float = ENOUGH,
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
            racing: how prompts earn their examples; None to score each on all.
            fluency: what a nat a token costs that a prompt's log-probability under the LM lacks;
                0 to leave prompts unread.
            perplexity: a token, at which a prompt is fluent enough.

        Raises:
            ConfigError: the budget does not cover one prompt.
        """
        #: Reads prompts; None where they are left unread.
        self.fluency = Fluency(scorer, fluency, perplexity) if fluency else None
        self._n_reads = self.fluency.cost if self.fluency else 0
        least = scorer.n_examples + self._n_reads
        if budget.forwards < least:
            raise ConfigError(
                f"A search budget of {budget.forwards} LM forwards does not cover one prompt on "
                f"{scorer.n_examples} train examples: allow at least {least}."
            )
        self.budget = budget
        self.ledger = Ledger()
        self.archive = Archive()
        self.max_prompt_tokens = max_prompt_tokens
        self._scorer = scorer
        self._tokenizer = tokenizer
        self._reward = reward
        self._racing = racing
        parts = [(scorer, np.arange(scorer.n_examples))] if racing is None else scorer.heats(racing)
        self._heats = [Heat(part, indices, Account()) for part, indices in parts]
        self._known: dict[Prompt, Scored] = {}
        self._lost_to: dict[Prompt, Scored] = {}
        self._asked: set[tuple[int, tuple[int, ...]]] = set()
        self._unfinished: set[tuple[int, tuple[int, ...]]] = set()
        self._stall_calls = stall_calls
        self._calls_without_news = 0
        #: Distinct prompts that were asked for and not known before, be it as prefixes of others.
        self.proposed = 0
        #: Prompts that :meth:`evaluate` was asked for, repeats included, and the sum of rewards.
        self.asked = 0
        self.asked_rewards = 0.0
        self._canonical = lru_cache(maxsize=200_000)(
            lambda p: canonical(tokenizer, scorer.template, p)
        )

    @property
    def n_examples(self) -> int:
        """Number of train examples."""
        return self._scorer.n_examples

    @property
    def cost(self) -> int:
        """LM forwards that one prompt costs, with racing at most."""
        return self._scorer.n_examples + self._n_reads

    @property
    def remaining(self) -> int:
        """LM forwards left."""
        return self.budget.forwards - self.ledger.forwards

    @property
    def prefixes_are_free(self) -> bool:
        """Whether the scores of all prefixes come with a prompt's own forward."""
        # Of a heat, which is bound anyway; to ask it of train would bind the LM to it once more.
        return self._heats[0].scorer.scorer.prefixes_are_free

    def text(self, prompt: Prompt) -> str:
        """Returns the text of a prompt as it goes into the template."""
        return prompt_text(self._tokenizer, self._scorer.template, prompt)

    def prompt(self, text: str) -> Prompt:
        """Returns the prompt that a text is in the template."""
        return prompt_of(self._tokenizer, self._scorer.template, text)

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
        with its forward, once.

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
        new = dict.fromkeys(key for key in asked if key not in self._asked)
        going_on: set[tuple[int, tuple[int, ...]]] = set()
        begun = []
        for row, beginning in new:
            parent = (row, beginning[:-1])
            if beginning and parent in self._unfinished and parent not in going_on:
                going_on.add(parent)
            else:
                begun.append(parent)
        self.ledger.charge(len(begun), self.budget)
        self._asked.update(new)
        self._unfinished = (self._unfinished - going_on) | set(new)
        return self._scorer.next_token_logprobs(rows, prompts, ids, self.ledger)

    def evaluate(self, prompts: Sequence[Prompt]) -> list[Scored]:
        """Scores prompts, in one LM call for all that are new; with racing, one a heat.

        No prompt is begun that the budget does not cover to its end, so where racing drops prompts
        near the end of the budget, others are scored in their place, in further calls.

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
        self.proposed += len(new)
        while new:
            rival = self._rival()
            field = self._admit(new, rival)
            self._run_heats(field, rival)
            # The others may have come with the field as prefixes.
            new = [p for p in new[len(field) :] if p not in self._known]
        scored = [self._known[p] for p in wanted]
        self.asked += len(scored)
        self.asked_rewards += sum(each.reward for each in scored)
        return scored

    def knows(self, prompt: Prompt) -> bool:
        """Whether a prompt was scored in this run, be it on part of train."""
        return self.canonical(prompt) in self._known

    def prefix_rewards(self, prompt: Prompt) -> list[float]:
        """Returns the reward of every non-empty prefix of a scored prompt, free of charge.

        All on the same examples, those that the prompt was scored on; the last is its own reward.

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
        heats, rival = self._heats_of(prompt), self._lost_to.get(prompt)
        return [self._judge(p, heats, rival).reward for p in prompt.prefixes()]

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

    def _admit(self, new: list[Prompt], rival: Scored | None) -> list[Prompt]:
        """Returns the first prompts, as many as are covered whichever of them are dropped.

        Raises:
            BudgetExhausted: that is not even one.
        """
        # With a bar the others need not be scored in full.
        most = len(new) if self._racing is None or rival else self._racing.rival
        claimed: set[tuple[int, Prompt]] = set()
        total = 0
        for n, prompt in enumerate(new[:most]):
            for h, heat in enumerate(self._heats):
                due = heat.account.due(prompt, self.prefixes_are_free)
                parent = (h, Prompt(prompt.ids[:-1]))
                if due is Due.FORWARD or (due is Due.CONTINUATION and parent in claimed):
                    total += len(heat.indices) + (0 if h else self._n_reads)
                claimed.add(parent)
            if total > self.remaining:
                if not n:
                    self.ledger.charge(total, self.budget)  # raises
                return new[:n]
        return new[:most]

    def _run_heats(self, field: list[Prompt], rival: Scored | None) -> None:
        """Scores prompts heat by heat."""
        start = self.ledger.forwards
        paid = dict.fromkeys(field, 0)
        running = field
        for n, heat in enumerate(self._heats, start=1):
            unpaid = []
            for prompt in running:
                due = heat.account.due(prompt, self.prefixes_are_free)
                if due is Due.FORWARD:
                    # A prompt is read with its first heat.
                    cost = len(heat.indices) + (self._n_reads if n == 1 else 0)
                    self.ledger.charge(cost, self.budget)
                    paid[prompt] += cost
                if due is not Due.NOTHING:
                    heat.account.pay(prompt, self.prefixes_are_free)
                    unpaid.append(prompt)
            if n == 1 and self.fluency:
                self.fluency.read(unpaid, self.ledger)
            if unpaid:
                heat.scorer.logprobs(unpaid, self.ledger, prefixes=True)
            if n < len(self._heats) and rival is not None:
                running = self._survivors(running, n, rival)
        # When its score would have been known, had one prompt been scored after the other.
        found_at = dict(zip(field, (start + np.cumsum([*paid.values()])).tolist(), strict=True))
        for prompt in running:
            self._complete(prompt, found_at[prompt])

    def _complete(self, prompt: Prompt, found_at: int) -> None:
        """Takes a prompt that was scored on all of train, and its prefixes, into the archive."""
        related = prompt.prefixes() if self.prefixes_are_free else []
        for each in related or [prompt]:
            known = self._known.get(each)
            # A prefix whose own text encodes to other ids is no prompt that could be shipped.
            if (known is None or not known.complete) and self.canonical(each) == each:
                scored = self._judge(each, len(self._heats), None)
                if self._racing is not None:
                    self._scorer.adopt(each, scored.evaluation.logprobs)
                self._known[each] = scored
                self.archive.add(each, scored.reward, found_at)

    def _survivors(self, field: list[Prompt], heats: int, rival: Scored) -> list[Prompt]:
        """Drops prompts that are behind after some heats: keeps an estimate; returns the others."""
        assert self._racing is not None
        seen = [self._seen(prompt, heats) for prompt in field]
        bar = self._seen(rival.prompt, heats)
        survivors = []
        ahead = [self._bonus(prompt) - self._bonus(rival.prompt) for prompt in field]
        lost_ones = hopeless(seen, bar, self._reward, self._racing.margin, ahead)
        for prompt, lost in zip(field, lost_ones, strict=True):
            if lost:
                self._known[prompt] = self._judge(prompt, heats, rival)
                self._lost_to[prompt] = rival
            else:
                survivors.append(prompt)
        return survivors

    def _rival(self) -> Scored | None:
        """Returns the prompt that others have to hold their own against, None without racing."""
        if self._racing is None:
            return None
        top = self.archive.top(self._racing.rival)
        return self._known[top[-1].prompt] if len(top) == self._racing.rival else None

    def _heats_of(self, prompt: Prompt) -> int:
        """Returns in how many heats a known prompt was scored."""
        seen = len(self._known[prompt].evaluation.gold)
        sizes = np.cumsum([len(heat.indices) for heat in self._heats])
        return int(np.searchsorted(sizes, seen)) + 1

    def _seen(self, prompt: Prompt, heats: int) -> Evaluation:
        """Joins what the LM said in the first heats, the examples in the order of train."""
        run = self._heats[:heats]
        order = np.argsort(np.concatenate([heat.indices for heat in run]))
        logprobs = np.concatenate([heat.scorer.known(prompt) for heat in run])
        gold = np.concatenate([heat.scorer.gold for heat in run])
        return Evaluation(logprobs[order], gold[order])

    def _judge(self, prompt: Prompt, heats: int, rival: Scored | None) -> Scored:
        """Rewards a prompt for what it did in some heats.

        Where these are not all and there is a rival, the reward is what it did more or less than
        the rival on the same examples, on top of the rival's reward on all of train: easy examples
        in the first heat make nobody look good.
        """
        if heats == len(self._heats) and prompt in self._known and self._known[prompt].complete:
            return self._known[prompt]
        evaluation = self._seen(prompt, heats)
        reward = self._finite(prompt, evaluation) + self._bonus(prompt)
        complete = heats == len(self._heats)
        if not complete and rival is not None:
            seen = self._finite(rival.prompt, self._seen(rival.prompt, heats))
            reward += rival.reward - self._bonus(rival.prompt) - seen
        return Scored(prompt, reward, evaluation, complete)

    def _bonus(self, prompt: Prompt) -> float:
        return self.fluency.bonus(prompt) if self.fluency else 0.0

    def _finite(self, prompt: Prompt, evaluation: Evaluation) -> float:
        reward = float(self._reward(evaluation))
        if not np.isfinite(reward):
            raise ConfigError(
                f"The reward of {self.text(prompt)!r} is {reward}: a reward must be finite."
            )
        return reward
