"""Runs get names, and only runs of one LM go together."""

import json
import shutil

import pytest

from rlprompt import RunConfig, optimize
from rlprompt.core.errors import ConfigError, RunError
from rlprompt.serve.runs import named_results


@pytest.fixture(scope="module")
def finished(films, tiny_lm, tmp_path_factory):
    out = tmp_path_factory.mktemp("named") / "run"
    settings = {"budget": 300, "shots": 4, "length": 2, "test_limit": 10, "controls": ()}
    optimize(RunConfig(task=str(films), lm=str(tiny_lm), **settings, out=out))
    return out


def test_names(finished, tmp_path):
    [(name, result)] = named_results([str(finished)]).items()
    assert name == result.task["name"]
    assert [*named_results([f"mine={finished}", str(finished)])] == ["mine", name]
    # A folder with '=' in its name is a folder.
    odd = tmp_path / "lr=3"
    shutil.copytree(finished, odd)
    assert [*named_results([str(odd), f"b={odd}"])] == [name, "b"]


def test_refused(finished, tmp_path):
    with pytest.raises(ConfigError, match=r"both named 'films'.*e\.g\. other-films="):
        named_results([str(finished), str(finished)])
    with pytest.raises(RunError, match="No run at"):
        named_results([str(tmp_path / "none")])
    with pytest.raises(ConfigError, match="Name one or more"):
        named_results([])


def test_runs_of_several_lms(finished, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(finished, other)
    path = other / "result.json"
    result = json.loads(path.read_text())
    result["lm"] |= {"name": "another", "fingerprint": "causal-other"}
    path.write_text(json.dumps(result))
    with pytest.raises(ConfigError, match="several LMs") as caught:
        named_results([str(finished), f"b={other}"])
    assert f"{other} needs another (causal-other)" in str(caught.value)
    assert f"{finished} needs " in str(caught.value)
