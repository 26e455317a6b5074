"""RLPrompt's published setting is one file that can be run as it is."""

from pathlib import Path

import pytest

from rlprompt.agents.protocol import make_agent
from rlprompt.agents.soft_q import PRESETS
from rlprompt.run.config import RunConfig
from rlprompt.run.parts import task_of

FILE = Path(__file__).parents[2] / "benchmarks" / "rlprompt-2022" / "config.toml"


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(FILE.parents[2])
    folder = tmp_path / "sst-2" / "13"
    folder.mkdir(parents=True)
    for split in ("train", "dev", "test"):
        rows = [f"{split} sentence {n}\t{n % 2}" for n in range(32)]
        text = "\n".join(["sentence\tlabel", *rows]) + "\n"
        (folder / f"{split}.tsv").write_text(text, encoding="utf-8")
    return RunConfig.parse({**RunConfig.read(FILE), "data_root": tmp_path}, str(FILE))


def test_the_settings_are_the_published_ones(config):
    agent = make_agent(config.agent, dict(config.agent_settings))
    assert agent.settings == PRESETS["published"]
    task = task_of(config)
    assert config.budget == 12_000 * agent.settings.batch_size * len(task.train)
    assert task.verbalizer.words == (("terrible",), ("great",))
    assert task.template.has_mask
    assert (config.reward, config.length) == ("piecewise_gap", 5)
