"""How readable prompts are: differences are paired, ratios are of geometric means."""

import math

import pandas as pd
import pytest

pytest.importorskip("pandas")
pytest.importorskip("matplotlib")

import front
import readable

from rlprompt import RunConfig, optimize


def scores(perplexity, accuracy):
    """Two tasks of two splits."""
    index = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["task", "split_seed"])
    own = {
        "fluency": [-math.log(perplexity * each) for each in (0.5, 2, 1, 1)],
        "test_accuracy": accuracy,
        "test_log_likelihood": [-0.5] * 4,
    }
    return pd.DataFrame(own, index=index)


def test_each_method_is_beside_the_first_of_its_kind():
    plain, fluent = scores(400, [0.7, 0.8, 0.7, 0.8]), scores(40, [0.7, 0.8, 0.6, 0.8])
    found = {
        "several": (True, scores(800, [0.7] * 4)),
        "plain": (False, plain),
        "fluent": (False, fluent),
        "several fluent": (True, scores(80, [0.7] * 4)),
    }
    _, first, second, last = readable.table(found).splitlines()[2:]
    assert last.startswith("| several fluent | 80 | 10.0 [10.0, 10.0] | 0.700 | +0.0000 ")
    assert first == "| plain | 400 |  | 0.750 |  | -0.5000 |  |"
    assert second.startswith("| fluent | 40 | 10.0 [10.0, 10.0] | 0.725 | -0.0250 [-0.0")
    assert second.endswith("] | -0.5000 | +0.0000 [+0.0000, +0.0000] |")


def test_the_front_of_a_run_is_drawn(films, tmp_path, capsys, monkeypatch):
    from rlprompt.testing import save_tiny

    config = RunConfig(
        task=str(films),
        lm=str(save_tiny(tmp_path / "llama", "llama")),
        agent="random",
        words={"bad": "bad", "good": "good"},
        fluency=0.1,
        budget=400,
        shots=4,
        length=2,
        test_limit=4,
        out=tmp_path / "run",
    )
    optimize(config)
    monkeypatch.setattr("sys.argv", ["front", str(config.out), "--into", str(tmp_path / "made")])
    front.main()
    assert (tmp_path / "made" / "front.png").stat().st_size > 10_000
    assert capsys.readouterr().out.count("\n") >= 1
