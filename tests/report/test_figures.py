import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from rlprompt.core.errors import RunError
from rlprompt.report.figures import anytime, score_bars, score_by_budget, write_figures
from rlprompt.report.labels import spread


def test_figures_are_written_and_the_same_again(trials_of, tmp_path):
    trials = trials_of(splits=(13, 21), budgets=(1_000, 9_000), n=20)
    paths = write_figures(tmp_path / "one", trials)
    assert [path.name for path in paths] == [
        f"{name}.{suffix}"
        for name in (
            *("anytime", "log-likelihood-1000", "log-likelihood-9000", "log-likelihood-by-budget"),
            *("accuracy-1000", "accuracy-9000", "accuracy-by-budget"),
        )
        for suffix in ("png", "svg")
    ]
    again = write_figures(tmp_path / "two", trials[::-1])
    for path, other in zip(paths, again, strict=True):
        assert path.read_bytes() == other.read_bytes(), path.name
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert "<dc:date>" not in paths[1].read_text(encoding="utf-8")


def test_one_split_and_no_traces_still_give_bars(trials_of, tmp_path):
    trials = [replace(t, trace=()) for t in trials_of(splits=(13,), n=20)]
    names = [path.name for path in write_figures(tmp_path, trials)]
    assert names[::2] == ["log-likelihood-30000.png", "accuracy-30000.png"]
    with pytest.raises(RunError, match="No trial has a trace"):
        anytime(trials)
    with pytest.raises(RunError, match="no trials with a budget of 7 "):
        score_bars(trials, "accuracy", 7)
    with pytest.raises(RunError, match="no trials"):
        write_figures(tmp_path, [])


def test_lines_are_means_of_the_best_so_far(trials_of):
    trials = trials_of(methods=("ppo",), splits=(13, 21), budgets=(1_000,))
    traces = {13: ((10, -1.0), (100, -0.5)), 21: ((20, -0.8), (400, -0.6))}
    trials = [
        replace(t, trace=traces[t.setting.split_seed]) if t.setting.budget else t for t in trials
    ]
    [ax] = anytime(trials).axes
    line = ax.get_lines()[0]
    assert line.get_xdata().tolist() == [20, 100, 400, 1_000]
    assert line.get_ydata() == pytest.approx([-0.9, -0.65, -0.55, -0.55])
    assert line.get_drawstyle() == "steps-post"


def test_bars_are_sorted_and_named(trials_of):
    figure = score_bars(trials_of({"ppo": 0.3, "empty": -0.4}), "log_likelihood", 30_000)
    [ax] = figure.axes
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert (names[0], names[-1]) == ("ppo", "empty")
    widths = [bar.get_width() for bar in ax.patches]
    assert widths == sorted(widths, reverse=True)
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["RL", "control", "fixed prompt"]


def test_every_line_is_named(trials_of):
    figure = score_by_budget(trials_of(tasks=("a", "b"), budgets=(100, 900)), "accuracy")
    assert len(figure.axes) == 2
    for ax in figure.axes:
        names = {text.get_text() for text in ax.texts} - {""}
        assert names == {"ppo", "genetic", "random", "empty", "manual"}


def test_a_method_need_not_have_every_budget(trials_of):
    trials = [
        trial
        for trial in trials_of(budgets=(100, 900), n=20)
        if (trial.setting.method, trial.setting.budget) != ("ppo", 100)
    ]
    [ax] = score_by_budget(trials, "accuracy").axes
    assert "ppo" in {text.get_text() for text in ax.texts}


def test_no_two_names_overlap_and_none_is_cut(trials_of):
    names = tuple(f"method-{i}" for i in range(11))
    trials = trials_of(methods=names, fixed=(), splits=(13, 21), tasks=("a", "b", "c"), n=20)
    figure = anytime(trials)
    figure.draw_without_rendering()
    for ax in figure.axes:
        boxes = [text.get_window_extent() for text in ax.texts if text.get_text()]
        assert len(boxes) == 11
        for i, box in enumerate(boxes):
            assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
            assert 0 <= box.y0 < box.y1 <= figure.bbox.y1
            assert not any(box.overlaps(other) for other in boxes[:i])


@pytest.mark.parametrize("n", [1, 2, 11, 14])
def test_heights_are_spread(n):
    for seed in range(20):
        wanted = np.sort(np.random.default_rng(seed).random(n) ** 3).tolist()
        heights = spread(wanted, 0.068)
        assert len(heights) == n
        assert np.all(np.diff(heights) >= 0.068 - 1e-9)
        assert heights[0] >= -1e-9
        assert heights[-1] <= 1 + 1e-9
    assert spread([], 0.1) == []
    assert spread([0.1, 0.9], 0.1) == [0.1, 0.9]


def test_pyplot_stays_out_and_the_rest_stays_light():
    code = (
        "import sys, rlprompt, rlprompt.report.verdict\n"
        "heavy = {'matplotlib', 'pandas', 'scipy'}\n"
        "print(sorted(heavy & {*sys.modules}))\n"
        "import rlprompt.report.figures, rlprompt.report.tables\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "False"]


def test_tuned_methods_have_bars_of_their_own_and_no_course(trials_of, as_tuned):
    trials = as_tuned(trials_of(methods=("ppo", "lora")), "lora")
    bars = score_bars(trials, "accuracy", 30_000)
    assert [text.get_text() for text in bars.legends[0].get_texts()] == [
        *("RL", "fixed prompt", "tuned"),
    ]
    names = {text.get_text() for ax in anytime(trials).axes for text in ax.texts}
    assert "ppo" in names
    assert "lora" not in names
