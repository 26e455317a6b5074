"""From values to coordinates of a drawing: scales and round ticks."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

MINUS = "\N{MINUS SIGN}"
STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Tick:
    """A mark on an axis.

    Attributes:
        at: its place in the drawing.
        text: its label.
    """

    at: float
    text: str


@dataclass(frozen=True)
class Scale:
    """A straight line from values to places in a drawing.

    Attributes:
        low: value at ``start``.
        high: value at ``end``; above ``low``.
        start: place of ``low``.
        end: place of ``high``; below ``start`` on an axis that points up.
    """

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(
        cls, values: Iterable[float], start: float, end: float, *, margin: float = 0.05
    ) -> "Scale":
        """Makes the scale that holds all values, with a margin as a share of their range."""
        finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(finite), max(finite)
        room = (high - low) * margin or max(abs(high), 1.0) * 0.05
        return cls(low - room, high + room, start, end)

    def __call__(self, value: float) -> float:
        """Returns where a value stands, to a tenth; one that is off the scale at its end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, most: int = 5) -> tuple[Tick, ...]:
        """Returns marks at round values within the scale."""
        step = _step(self.high - self.low, most)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        digits += round(step * 10**digits, 6) % 1 > 0  # of 2.5
        values = [n * step + 0.0 for n in range(first, last + 1)]
        return tuple(
            Tick(self(value), f"{value:,.{digits}f}".replace("-", MINUS)) for value in values
        )


def _step(width: float, most: int) -> float:
    """Returns a round distance that gives at most so many ticks.

    >>> _step(1.0, 5), _step(20_000.0, 5)
    (0.2, 5000.0)
    """
    least = width / most
    power = 10.0 ** math.floor(math.log10(least))
    return next(each * power for each in STEPS if each * power >= least * (1 - 1e-9))
