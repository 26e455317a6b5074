"""The policy that chooses a prompt for each input learns what there is to learn."""

import numpy as np
import pytest

pytest.importorskip("torch")

from input_specific import _validated, chosen, learn


def test_it_chooses_by_the_input_where_that_pays():
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(64, 4))
    right = np.full((64, 3), 0.5)
    right[:, 0] = np.where(inputs[:, 1] > 0, 0.9, 0.2)
    right[:, 1] = np.where(inputs[:, 1] > 0, 0.2, 0.9)
    picks = chosen(inputs, learn(inputs, right, 0.01))
    assert np.mean(picks == (inputs[:, 1] <= 0)) > 0.95
    assert _validated(inputs, right, 0.01) > _validated(inputs, right, 100.0)


def test_held_back_it_keeps_to_the_best_prompt():
    generator = np.random.default_rng(1)
    inputs, right = generator.normal(size=(64, 4)), generator.uniform(0.4, 0.6, (64, 3))
    right[:, 2] += 0.2
    assert set(chosen(inputs, learn(inputs, right, 1e3)).tolist()) == {2}
