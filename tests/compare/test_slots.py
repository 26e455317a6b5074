"""A comparison whose prompts stand in two slots of the template."""

import pytest

from rlprompt.compare import folder
from rlprompt.compare.compare import compare
from rlprompt.compare.config import CompareConfig
from rlprompt.lm.loading import LMConfig, load_lm
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_of
from rlprompt.testing import save_tiny

SOURCE = "{prompt:1} {text} {prompt:2} {mask}."


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("masked"), "bert")


def test_learned_and_fixed_prompts(lm, settings, plain, tmp_path):
    run = {"lm": str(lm), "template": SOURCE, "manual_prompts": ("||it was a",)}
    config = CompareConfig(**settings | {"run": settings["run"] | run}, out=tmp_path / "out")
    frozen = load_lm(LMConfig(str(lm)))
    result = compare(config, lm=frozen)
    assert not result["failures"]
    prompts = {row["method"]: row["prompt"] for row in result["runs"]}
    assert set(prompts) == {"random", "genetic", "empty", "manual", "in-context"}
    for method in ("random", "genetic"):
        first, second = prompts[method].split("||")
        assert (len(first.split()), len(second.split())) == (1, 2)
    assert prompts["empty"] == ""
    assert prompts["manual"] == "||it was a"
    # More tokens in the second slot than it asks for, none in the first.
    assert prompt_of(frozen.tokenizer, Template(SOURCE), prompts["manual"]).sizes == (0,)
    assert "||" not in prompts["in-context"]
    assert prompts["in-context"].count(" it was a") == 4


def test_a_selected_prompt_is_scored_on_test_in_its_slots(lm, settings, plain, doubles, tmp_path):
    run = {"lm": str(lm), "template": "{prompt:2} {text} {prompt:1} {mask}."}
    config = CompareConfig(
        **settings | {"agents": ("doubles:Merges",), "run": settings["run"] | run},
        fixed=("empty",),
        out=tmp_path / "out",
    )
    compare(config, lm=load_lm(LMConfig(str(lm))))
    (setting,) = config.settings(*config.groups[0])
    path = folder.run_file(config.out, setting)
    assert folder.read(path)["prompt"]["text"] == " they||film"
    test = folder.read(folder.group_folder(config.out, *config.groups[0]) / folder.TEST)
    assert test["selected"][path.name]["text"] == " they||film"
