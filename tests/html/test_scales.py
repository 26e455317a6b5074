"""Scales and ticks."""

import math

from hypothesis import given
from hypothesis import strategies as st

from rlprompt.html.page import signed, visible
from rlprompt.html.scales import MINUS, Scale

numbers = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 6))


@given(st.lists(numbers, min_size=1, max_size=20), st.integers(2, 8))
def test_everything_is_on_the_scale_and_ticks_are_few_and_tell_apart(values, most):
    scale = Scale.over(values, 300, 10)
    assert all(10 <= scale(value) <= 300 for value in values)
    ticks = scale.ticks(most)
    assert len(ticks) <= most + 1
    assert len({tick.text for tick in ticks}) == len(ticks)
    assert [tick.at for tick in ticks] == sorted((t.at for t in ticks), reverse=True)
    for tick in ticks:
        value = float(tick.text.replace(",", "").replace(MINUS, "-"))
        assert abs(scale(value) - tick.at) <= 0.1


def test_round_ticks():
    assert [t.text for t in Scale(0, 20_000, 0, 100).ticks(4)] == [
        *("0", "5,000", "10,000", "15,000", "20,000")
    ]
    assert [t.text for t in Scale(-0.72, -0.49, 0, 100).ticks(5)] == [
        f"{MINUS}{each}" for each in ("0.70", "0.65", "0.60", "0.55", "0.50")
    ]


def test_what_is_not_finite_is_at_no_place_of_the_scale():
    scale = Scale.over([math.nan, 1.0, math.inf], 0, 100)
    assert (scale.low, scale.high) == (0.95, 1.05)
    assert Scale.over([], 0, 100).ticks()


@given(st.text(max_size=30))
def test_visible_pieces_are_the_text(text):
    assert "".join(piece for piece, _ in visible(text)) == text


def test_differences_have_their_sign():
    assert (signed(0.5), signed(-0.5), signed(None)) == ("+0.500", f"{MINUS}0.500", "—")
