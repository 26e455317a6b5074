"""An explanation in sentences: the numbers are those of the records."""

from dataclasses import replace

from rlprompt.core.statistics import Estimate
from rlprompt.explain.summary import summary, written


def with_loss(variant, low, high):
    middle = Estimate((low + high) / 2, low, high)
    return replace(variant, versus=replace(variant.versus, log_likelihood=middle))


def test_what_is_needed_and_what_is_not(explained):
    found = explained[0]
    first, second, third = found.tokens
    tokens = (
        replace(first, left_out=with_loss(first.left_out, -0.3, -0.1)),
        replace(second, left_out=with_loss(second.left_out, -0.6, -0.4)),
        replace(third, left_out=with_loss(third.left_out, -0.2, 0.1)),
    )
    said = " ".join(summary(replace(found, tokens=tokens)))
    assert (
        f"It gets clearly worse without {second.token!r} (-0.500), {first.token!r} (-0.200)."
        in said
    )
    assert f"Without {third.token!r} it is not clearly worse." in said


def test_order_swaps_and_other_ways_to_ask(explained):
    found = explained[0]
    variants = [
        with_loss(each, *ends)
        for each, ends in zip(
            found.orders.variants, ((0.1, 0.2), (-0.1, 0.1), (-0.4, -0.2)), strict=True
        )
    ]
    orders = replace(found.orders, variants=tuple(variants))
    swaps = tuple(
        replace(token, swaps=tuple(with_swap(s, -0.2, -0.1) for s in token.swaps))
        for token in found.tokens[1:]
    )
    kept = replace(
        found.tokens[0], swaps=tuple(with_swap(s, -0.1, 0.1) for s in found.tokens[0].swaps)
    )
    rows = [
        replace(row, learned=with_loss(row.learned, *ends), margin=margin_of(row, *ends))
        for row, ends in zip(
            found.templates, [(-0.3, -0.2)] * 2 + [(-0.1, 0.1)] * 3 + [(0.1, 0.2)], strict=True
        )
    ]
    said = " ".join(
        summary(replace(found, orders=orders, tokens=(kept, *swaps), templates=tuple(rows)))
    )
    assert "Its order is number 2 of 4 that were scored (6 are possible); of the others 2" in said
    assert "Of 6 swaps of a token for a near word 2 are not clearly worse" in said
    fixed = ", ".join(repr(token.token) for token in found.tokens[1:])
    assert f"No near word stands in for {fixed}." in said
    assert "Of 6 other templates 2 make it clearly worse" in said
    assert "ahead of the manual prompt in 1 of them, clearly behind in 2." in said


def with_swap(swap, low, high):
    return replace(swap, variant=with_loss(swap.variant, low, high))


def margin_of(row, low, high):
    return replace(row.margin, log_likelihood=Estimate((low + high) / 2, low, high))


def test_the_worth_on_train_dev_and_test(explained):
    found = explained[0]
    said = " ".join(summary(found))
    worth = found.base["empty"].versus.log_likelihood
    assert f"it is worth {-worth.value:+.3f} [{-worth.high:+.3f} {-worth.low:+.3f}] nats" in said
    duel = found.test.duel
    assert f"{written(duel.margin.log_likelihood)} nats over the manual prompt; of 30" in said
    assert f"wrong in {duel.only_learned}, the other way round in {duel.only_manual} " in said
    learned = found.test.prompts["learned"]
    before, after = learned.reliability_uncalibrated.ece, learned.reliability.ece
    assert f"from {before:.3f} to {after:.3f}." in said
    biases = found.base["learned"].calibration
    label = max(biases, key=biases.get)
    assert f"{2 * biases[label]:.2f} to {label} (learned)" in said
