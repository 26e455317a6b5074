"""An explanation in sentences."""

from collections.abc import Iterator, Sequence

from rlprompt.core.statistics import Estimate
from rlprompt.explain.records import Explanation, Reworded, Swap, TokenEffect, Variant


def summary(found: Explanation) -> list[str]:
    """Returns what is to be said of an explanation, one sentence each, what weighs most first."""
    return [
        *_worth(found),
        *_tokens(found.tokens),
        *_order(found),
        *_swaps(found.tokens),
        *_reworded("other templates", found.templates),
        *_reworded("other label words", found.label_words),
        *_test(found),
        *_caveat(found),
    ]


def written(estimate: Estimate) -> str:
    """Writes a difference with its interval.

    >>> written(Estimate(-0.05, -0.1, 0.0))
    '-0.050 [-0.100 +0.000]'
    """
    return f"{estimate.value:+.3f} [{estimate.low:+.3f} {estimate.high:+.3f}]"


def negative(estimate: Estimate) -> Estimate:
    """Returns the opposite: of learned less other, given other less learned."""
    return Estimate(-estimate.value, -estimate.high, -estimate.low)


def _worth(found: Explanation) -> Iterator[str]:
    if not found.tokens:
        yield "The learned prompt is the empty one: there is no token to explain."
    others = [name for name in ("empty", "manual") if name in found.base]
    margins = [
        f"{written(negative(found.base[name].versus.log_likelihood))} nats over the {name} prompt"
        for name in (others if found.tokens else others[1:])
    ]
    if margins:
        yield f"On train and dev it is worth {' and '.join(margins)}."


def _tokens(tokens: Sequence[TokenEffect]) -> Iterator[str]:
    known = [each for each in tokens if each.left_out is not None]
    if len(tokens) < 2 or not known:
        return
    needed = sorted((each for each in known if each.matters), key=_loss)
    rest = [each for each in known if not each.matters]
    if needed:
        losses = ", ".join(f"{each.token!r} ({_loss(each):+.3f})" for each in needed)
        yield f"It gets clearly worse without {losses}."
    if rest:
        names = ", ".join(repr(each.token) for each in rest)
        yield f"Without {names} it is not clearly worse."


def _loss(token: TokenEffect) -> float:
    return 0.0 if token.left_out is None else token.left_out.versus.log_likelihood.value


def _order(found: Explanation) -> Iterator[str]:
    orders = found.orders
    if orders is None or not orders.variants:
        return
    keep = sum(each.keeps for each in orders.variants)
    best, worst = orders.variants[0], orders.variants[-1]
    yield (
        f"Its order is number {orders.rank} of {len(orders.variants) + 1} that were scored "
        f"({orders.possible:,} are possible); of the others {keep} are not clearly worse "
        f"({_by(best)} to {_by(worst)})."
    )


def _by(variant: Variant) -> str:
    return f"{variant.text!r} {variant.versus.log_likelihood.value:+.3f}"


def _swaps(tokens: Sequence[TokenEffect]) -> Iterator[str]:
    pairs = [(token, swap) for token in tokens for swap in token.swaps]
    if not pairs:
        return
    keep = [(token, swap) for token, swap in pairs if swap.variant.keeps]
    best = max(pairs, key=lambda pair: pair[1].variant.log_likelihood)
    yield (
        f"Of {len(pairs)} swaps of a token for a near word {len(keep)} are not clearly worse; the "
        f"best is {_named(*best)}."
    )
    fixed = [token.token for token in tokens if token.swaps and not any(_kept(token.swaps))]
    if fixed:
        yield f"No near word stands in for {', '.join(map(repr, fixed))}."


def _named(token: TokenEffect, swap: Swap) -> str:
    value = written(swap.variant.versus.log_likelihood)
    return f"{swap.by!r} for {token.token!r}, {value}"


def _kept(swaps: Sequence[Swap]) -> Iterator[bool]:
    return (swap.variant.keeps for swap in swaps)


def _reworded(what: str, rows: Sequence[Reworded]) -> Iterator[str]:
    if not rows:
        return
    worst = min(rows, key=lambda row: row.learned.log_likelihood)
    keep = sum(row.learned.keeps for row in rows)
    sentence = (
        f"In {len(rows)} {what}" if what.endswith("templates") else f"With {len(rows)} {what}"
    )
    sentence += (
        f" it is clearly worse {len(rows) - keep} times (at worst "
        f"{worst.learned.versus.log_likelihood.value:+.3f}, {worst.name})"
    )
    margins = [row.margin.log_likelihood for row in rows if row.margin is not None]
    if margins:
        ahead = sum(each.low > 0 for each in margins)
        behind = sum(each.high < 0 for each in margins)
        sentence += (
            f"; there it is clearly ahead of the manual prompt {ahead} times, clearly behind "
            f"{behind} times"
        )
    yield f"{sentence}."


def _test(found: Explanation) -> Iterator[str]:
    if found.test is None:
        return
    if (duel := found.test.duel) is not None:
        yield (
            f"On test it is right and the manual prompt wrong {duel.only_learned} times, the other "
            f"way round {duel.only_manual} times of {found.test.scored:,}; accuracy "
            f"{written(duel.margin.accuracy)}."
        )
    learned = found.test.prompts["learned"]
    yield (
        f"Calibration takes its expected calibration error on test from "
        f"{learned.reliability_uncalibrated.ece:.3f} to {learned.reliability.ece:.3f}."
    )


def _caveat(found: Explanation) -> Iterator[str]:
    if found.tokens:
        yield (
            "It was chosen as the best of many on these very train and dev examples, the others "
            "were not: differences there lean towards it, and each interval is for its own row."
        )
