"""What ``rlprompt explain`` found, made ready to be looked at."""

from dataclasses import dataclass

from rlprompt.explain.records import Explanation, Reliability, TokenEffect
from rlprompt.html.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Dot, Plot, Series
from rlprompt.html.scales import Scale


@dataclass(frozen=True)
class Mark:
    """A token with its effect as a colour.

    Attributes:
        token: what it does.
        value: its effect in nats, above 0 where it helps; None where it is not known.
        strength: share of the greatest effect, in [0, 1].
    """

    token: TokenEffect
    value: float | None
    strength: float

    @property
    def helps(self) -> bool:
        """Whether the effect is above 0."""
        return (self.value or 0.0) > 0


@dataclass(frozen=True)
class Effects:
    """An explanation and its pictures.

    Attributes:
        of: the explanation.
        marks: the tokens in order.
        measure: what the colours mean.
        curves: the calibration curve, where test was looked at.
    """

    of: Explanation
    marks: tuple[Mark, ...]
    measure: str
    curves: tuple[Plot, ...]


def effects_of(explanation: Explanation) -> Effects:
    """Prepares an explanation for the page."""
    shares = all(token.share is not None for token in explanation.tokens)
    values = [_effect(token, shares) for token in explanation.tokens]
    most = max((abs(value) for value in values if value is not None), default=0.0) or 1.0
    marks = tuple(
        Mark(token, value, round(abs(value or 0.0) / most, 3))
        for token, value in zip(explanation.tokens, values, strict=True)
    )
    measure = (
        "its share of what the prompt gains over the empty one (Shapley value)"
        if shares
        else "what is lost when it is left out"
    )
    test = explanation.test
    learned = None if test is None else test.prompts.get("learned")
    curves = (
        () if learned is None else (_curve(learned.reliability, learned.reliability_uncalibrated),)
    )
    return Effects(explanation, marks, measure, curves)


def _effect(token: TokenEffect, shares: bool) -> float | None:
    if shares:
        return None if token.share is None else token.share.value
    return None if token.left_out is None else -token.left_out.versus.log_likelihood.value


def _curve(calibrated: Reliability, raw: Reliability) -> Plot:
    """Draws the share of right answers against the probability of the likeliest label."""
    named = (("calibrated", 0, calibrated), ("uncalibrated", 1, raw))
    least = min(
        (bin_.confidence for _, _, each in named for bin_ in each.bins if bin_.count), default=0.5
    )
    low = min(0.5, least)
    x = Scale(low, 1.0, LEFT, WIDTH - RIGHT)
    y = Scale(0.0, 1.0, HEIGHT - BOTTOM, TOP)
    series = [Series("as sure as right", 7, f"{x(low)},{y(low)} {x(1)},{y(1)}")]
    told = []
    for name, style, each in named:
        filled = [bin_ for bin_ in each.bins if bin_.count]
        dots = tuple(
            Dot(
                x(bin_.confidence),
                y(bin_.accuracy),
                f"{name}: {bin_.count} examples, sure {bin_.confidence:.2f}, "
                f"right {bin_.accuracy:.2f}",
            )
            for bin_ in filled
        )
        series.append(Series(name, style, " ".join(f"{dot.x},{dot.y}" for dot in dots), dots))
        told.append(f"{name}, expected calibration error {each.ece:.3f}")
    return Plot(
        "Calibration curve",
        f"Share of right answers against probability of the likeliest label: {'; '.join(told)}.",
        "probability of the likeliest label",
        "share of right answers",
        x.ticks(5),
        y.ticks(5),
        tuple(series),
    )
