"""Small finished runs of tiny LMs, and one explanation that several tests look at."""

import shutil

import pytest

from rlprompt import RunConfig, optimize
from rlprompt.explain.explain import explain
from rlprompt.explain.settings import Settings

#: Enough for everything that is asked about three tokens here.
SETTINGS = Settings(budget=2000, orders=3, swaps=2, words=2, cases=2)


@pytest.fixture(scope="session")
def run_settings(films, tiny_lm):
    """Keyword arguments of a RunConfig that takes a second."""
    return {
        "task": str(films),
        "lm": str(tiny_lm),
        "agent": "genetic",
        "seed": 3,
        "budget": 800,
        "shots": 4,
        "length": 3,
        "test_limit": 30,
        "manual_prompts": (" It was", " overall a"),
        "vocabulary_size": 100,
    }


@pytest.fixture(scope="session")
def finished(run_settings, tmp_path_factory):
    """Configuration and result of a finished run; nobody writes into its folder."""
    config = RunConfig(**run_settings, out=tmp_path_factory.mktemp("runs") / "finished")
    result = optimize(config)
    assert len(set(result.prompt.ids)) == 3, "another seed: three tokens have more to explain"
    return config, result


@pytest.fixture
def run(finished, tmp_path):
    """Folder of a copy of the finished run."""
    return shutil.copytree(finished[0].out, tmp_path / "run")


@pytest.fixture(scope="session")
def explained(finished, tmp_path_factory):
    """Explanation of a copy of the finished run, and the folder."""
    folder = shutil.copytree(finished[0].out, tmp_path_factory.mktemp("explained") / "run")
    return explain(folder, SETTINGS), folder
