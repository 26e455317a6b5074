"""The table of several experiments."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def overview():
    spec = importlib.util.spec_from_file_location("overview", ROOT / "benchmarks" / "overview.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def experiments(tmp_path):
    """Two tasks of two splits; 'late' is in one of them only."""
    values = {
        "films": {"ppo": (-0.4, -0.5), "random": (-0.6, -0.4), "late": (-0.1, -0.1)},
        "news": {"ppo": (-1.0, -1.2), "random": (-1.1, -1.4)},
    }
    for task, methods in values.items():
        runs = [
            {"task": task, "split_seed": n, "method": method, "test_log_likelihood": value}
            for method, found in methods.items()
            for n, value in enumerate(found)
        ]
        (tmp_path / task).mkdir()
        result = {"config": {"budgets": [1000]}, "runs": runs}
        (tmp_path / task / "comparison.json").write_text(json.dumps(result), encoding="utf-8")
    return [tmp_path / task for task in values]


def test_ranks_are_means_over_all_splits(overview, experiments):
    found = overview.table(experiments)
    assert list(found.index) == ["ppo", "random"]
    assert list(found.columns) == ["mean rank", "films, 1,000", "news, 1,000"]
    assert found.loc["ppo"].tolist() == pytest.approx([1.25, -0.45, -1.1])
    assert found.loc["random"].tolist() == pytest.approx([1.75, -0.5, -1.25])
    assert "| ppo | **1.2** | **-0.450** | **-1.100** |" in overview.markdown(found)


def test_the_table_goes_between_its_marks(overview, experiments, tmp_path, monkeypatch):
    path = tmp_path / "README.md"
    path.write_text(f"before\n{overview.BEGIN}\nold\n{overview.END}\nafter\n", encoding="utf-8")
    arguments = ["overview.py", *map(str, experiments), "--into", str(path)]
    monkeypatch.setattr("sys.argv", arguments)
    overview.main()
    text = path.read_text("utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "| ppo |" in text
    path.write_text("no marks", encoding="utf-8")
    with pytest.raises(SystemExit, match="put them where the table goes"):
        overview.main()
    assert path.read_text("utf-8") == "no marks"
