"""What is asked about the tokens of the learned prompt, and what came of it."""

from collections.abc import Sequence
from functools import cached_property

from rlprompt.core.evaluation import gold_logprobs
from rlprompt.core.prompt import Prompt
from rlprompt.core.statistics import Estimate
from rlprompt.explain.derived import (
    kept,
    nearest,
    other_orders,
    possible_orders,
    similarities,
    slots,
    subsets,
    swapped,
)
from rlprompt.explain.desk import Desk
from rlprompt.explain.effects import Variants, shares, tokens
from rlprompt.explain.material import Material
from rlprompt.explain.records import Orders, Swap, TokenEffect
from rlprompt.explain.settings import Settings
from rlprompt.run.transfer_cells import difference

#: Longest prompt whose tokens get shares: these take all 2^n choices of tokens.
MOST_SHARED = 5


class TokenQuestions:
    """The prompts that are made of the learned one.

    Every prompt is asked about in its canonical form, the one that its text encodes to, since the
    text is what anybody would try.
    """

    def __init__(self, material: Material, settings: Settings) -> None:
        """Makes the prompts; nothing is scored yet."""
        self._material = material
        self._settings = settings
        self._learned = material.learned
        self._size = len(material.learned)

    def ask_parts(self, desk: Desk) -> list[str]:
        """Scores the prompt less one token, each token alone, and every prefix."""
        n = range(self._size)
        without = [self._kept([m for m in n if m != i]) for i in n]
        alone = [self._kept([i]) for i in n]
        prefixes = [self._kept(range(i + 1)) for i in n]
        short = desk.score([p for p in (*without, *alone, *prefixes) if p], "tokens")
        what = "prompts with a token left out, alone or at the end"
        return [_unpaid(short, what)] if short else []

    def ask_more(self, desk: Desk) -> list[str]:
        """Scores all choices of tokens, other orders and near words."""
        missing = []
        if self._size > MOST_SHARED:
            missing.append(
                f"Shares of the tokens: a prompt of {self._size} tokens has too many parts "
                f"({2**self._size:,}); {MOST_SHARED} tokens are the most."
            )
        elif short := desk.score([*filter(None, self._subsets)], "parts", together=True):
            missing.append(_unpaid(short, "parts of the prompt, so no shares of the tokens"))
        if short := desk.score(self._orders, "orders"):
            missing.append(_unpaid(short, "orders"))
        # The nearest words of all tokens come first, so that a small budget has some of each.
        swaps = sorted((rank, at, p) for at in self._swaps for rank, p in enumerate(self._at(at)))
        if short := desk.score([p for _, _, p in swaps], "near words"):
            missing.append(_unpaid(short, "near words"))
        return missing

    def tokens(self, desk: Desk) -> tuple[TokenEffect, ...]:
        """Returns what each token does."""
        variants = Variants(self._material, desk)
        share = self._shares(desk)
        texts = tokens(self._material, self._learned)
        found = []
        for n, slot in enumerate(slots(self._learned, self._sizes)):
            before, here = self._kept(range(n)), self._kept(range(n + 1))
            known = before is not None and desk.has(before) and here is not None and desk.has(here)
            found.append(
                TokenEffect(
                    position=n,
                    slot=slot,
                    token=texts[n],
                    id=self._learned.ids[n],
                    left_out=variants.of(self._kept([m for m in range(self._size) if m != n])),
                    alone=variants.of(self._kept([n])),
                    prefix=variants.of(here),
                    adds=difference(desk.everywhere(here), desk.everywhere(before))
                    if known and here is not None and before is not None
                    else None,
                    share=share[n] if share else None,
                    swaps=tuple(
                        Swap(by, similarity, variant)
                        for by, similarity, p in self._swaps[n]
                        if (variant := variants.of(p)) is not None
                    ),
                )
            )
        return tuple(found)

    def orders(self, desk: Desk) -> Orders | None:
        """Returns what the order does; None where there is but one."""
        possible = possible_orders(self._learned)
        if possible < 2 or not self._settings.orders:
            return None
        found = Variants(self._material, desk).of_all(self._orders)
        ranked = sorted(found, key=lambda each: -each.log_likelihood)
        sampled = possible - 1 > self._settings.orders
        return Orders(possible, tuple(ranked), self._settings.seed if sampled else None)

    @property
    def _sizes(self) -> tuple[int, ...]:
        return self._material.task.template.sizes

    def _kept(self, positions: Sequence[int]) -> Prompt | None:
        return self._material.shipped(kept(self._learned, self._sizes, positions))

    def _at(self, position: int) -> list[Prompt]:
        return [p for _, _, p in self._swaps[position]]

    @cached_property
    def _subsets(self) -> list[Prompt | None]:
        return [self._kept(each) for each in subsets(self._size)]

    @cached_property
    def _orders(self) -> list[Prompt]:
        asked = other_orders(self._learned, self._settings.orders, self._settings.seed)
        found = dict.fromkeys(map(self._material.shipped, asked))
        return [p for p in found if p is not None and p != self._learned]

    @cached_property
    def _swaps(self) -> dict[int, list[tuple[str, float, Prompt]]]:
        """By position: text, similarity and prompt of each near word."""
        material, vocabulary = self._material, self._material.vocabulary
        if not self._size:
            return {}
        rows = material.lm.embeddings(vocabulary.token_ids)
        similarity = similarities(rows, material.lm.embeddings(self._learned.ids))
        found: dict[int, list[tuple[str, float, Prompt]]] = {}
        for n, own in enumerate(self._learned.ids):

            def usable(candidate: int, n: int = n, own: int = own) -> bool:
                token = vocabulary.token_ids[candidate]
                prompt = swapped(self._learned, n, token)
                # Where the text encodes to other tokens, it is no longer one word for another.
                return token != own and material.shipped(prompt) == prompt

            found[n] = [
                (vocabulary.texts[m], value, swapped(self._learned, n, vocabulary.token_ids[m]))
                for m, value in nearest(similarity[n], self._settings.swaps, usable)
            ]
        return found

    def _shares(self, desk: Desk) -> list[Estimate]:
        if not 0 < self._size <= MOST_SHARED:
            return []
        values = {}
        for each, prompt in zip(subsets(self._size), self._subsets, strict=True):
            if prompt is None or not desk.has(prompt):
                return []
            evaluation = desk.everywhere(prompt)
            values[each] = gold_logprobs(evaluation.calibrated, evaluation.gold)
        return shares(values, self._size)


def _unpaid(count: int, what: str) -> str:
    return f"{count} {what}: the budget is spent."
