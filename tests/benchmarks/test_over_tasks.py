"""The table of one method against each other, over tasks and splits."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "over_tasks.py"


@pytest.fixture(scope="module")
def module():
    spec = importlib.util.spec_from_file_location("over_tasks", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(gain):
    """Two tasks of three splits; 'ppo' is better by ``gain`` on every split of the first."""
    for task, level in (("films", -0.5), ("news", -1.0)):
        for split in range(3):
            for method, more in (("ppo", gain if task == "films" else 0.0), ("random", 0.0)):
                yield {
                    "task": task,
                    "split_seed": split,
                    "method": method,
                    "seed": 0,
                    "budget": 100,
                    "test_log_likelihood": level + 0.1 * split + more,
                    "test_accuracy": 0.8 + level / 10 + more,
                    "train_reward": -0.4,
                    "trace": [[10, -0.6], [20, -0.3 + more]],
                }
            yield {
                "task": task,
                "split_seed": split,
                "method": "empty",
                "seed": 0,
                "budget": 0,
                "test_log_likelihood": level - 0.2,
                "test_accuracy": 0.5,
                "train_reward": -0.7,
                "trace": [],
            }


def test_differences_are_paired_and_averaged_over_tasks(module):
    found = module.table(pd.DataFrame(rows(0.2)), "ppo").set_index("method")
    assert [*found.index] == ["ppo", "random", "empty"]
    assert found.loc["random", "test_log_likelihood: difference"] == pytest.approx(0.1)
    assert found.loc["random", "best_reward: difference"] == pytest.approx(0.1)
    # All splits of a task differ by the same, so that only the draw of tasks has an interval.
    assert found.loc["random", "test_log_likelihood: over splits"] == pytest.approx((0.1, 0.1))
    # Two tasks: a deviation of 0.1 is widened by the root of 2.
    low, high = found.loc["random", "test_log_likelihood: over tasks"]
    assert (low, high) == pytest.approx((0.1 - 0.1 * 2**0.5, 0.1 + 0.1 * 2**0.5))
    assert found.loc["random", "won"] == "3/6"
    assert found.loc["empty", "best_reward"] == pytest.approx(-0.7)
    assert found.loc["ppo", "best_reward"] == pytest.approx(-0.2)
    # 0.95 on films, 0.7 on news.
    assert found.loc["ppo", "test_accuracy"] == pytest.approx(0.825)


@pytest.mark.parametrize(("draw_tasks", "least"), [(False, 360), (True, 352)])
def test_intervals_cover_the_mean_with_as_few_splits_and_tasks(draw_tasks, least, module):
    generator = np.random.default_rng(0)
    covered = 0
    for n in range(400):
        effects = generator.normal(0.3, 1.0 if draw_tasks else 0.0, 4)
        tasks = [generator.normal(effect, 1.0, 5) for effect in effects]
        low, high = module.bootstrap(tasks, draw_tasks=draw_tasks, seed=n)
        covered += low <= 0.3 <= high
    assert least <= covered < 400


def write(folder, runs, **settings):
    folder.mkdir(exist_ok=True)
    result = {"config": {"run": {"lm": "smollm2"} | settings}, "runs": runs}
    (folder / "comparison.json").write_text(json.dumps(result))
    return folder


def test_experiments_are_joined_and_a_run_in_both_counts_once(module, tmp_path):
    one = write(tmp_path / "one", [*rows(0.2)])
    again = [row | {"seed": seed} for seed in (0, 1) for row in rows(0.2 + 0.2 * seed)]
    ppo = write(tmp_path / "two", [row for row in again if row["method"] == "ppo"])
    greedy = [row | {"method": "greedy"} for row in rows(0.0) if row["method"] == "random"]
    few = write(tmp_path / "few", [row for row in greedy if row["split_seed"] == 0])
    found = module.table(module.read([one, ppo, few]), "ppo").set_index("method")
    # Two seeds: 0.2 and 0.4 on films, so 0.3 there and 0 on news.
    assert found.loc["random", "test_log_likelihood: difference"] == pytest.approx(0.15)
    assert found.loc["random", "won"] == "3/6"
    assert found.loc["greedy", "test_log_likelihood: difference"] == pytest.approx(0.15)
    assert found.loc["greedy", "won"] == "1/2"
    other = write(tmp_path / "other", [*rows(0.2)], lm="gpt2")
    with pytest.raises(SystemExit, match="lm = 'gpt2'"):
        module.read([one, other])


def test_it_is_written_between_the_marks(module, tmp_path):
    write(tmp_path, [*rows(0.2)])
    page = tmp_path / "README.md"
    page.write_text(f"before\n{module.BEGIN}\nold\n{module.END}\nafter\n")
    command = [sys.executable, str(SCRIPT), str(tmp_path), "--into", str(page)]
    subprocess.run(command, check=True)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| random | -0.6500 | +0.1000 | [+0.1000, +0.1000] | [-0.0414, +0.2414] | 3/6 |" in text
    done = subprocess.run(
        [*command, "--method", "pro"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "no pro among empty, ppo, random" in done.stderr
    page.write_text("no marks")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "put them where the table goes" in done.stderr
