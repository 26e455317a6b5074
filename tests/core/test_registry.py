import pytest

from rlprompt.core.errors import ConfigError, suggest
from rlprompt.core.prompt import Prompt
from rlprompt.core.registry import Registry, import_path

TARGET = "rlprompt.core.prompt:Prompt"


@pytest.fixture
def registry():
    registry = Registry("thing")
    registry.register("prompt", TARGET, "what a user ships")
    registry.register("broken", "rlprompt.no_such_module:Thing", "cannot be imported")
    return registry


def test_names_lead_to_what_is_registered(registry):
    assert registry.get("prompt") is Prompt
    assert registry.get_any("prompt") is Prompt
    assert registry.get(TARGET) is Prompt
    assert [*registry] == ["broken", "prompt"]
    assert "prompt" in registry
    assert "promp" not in registry
    assert registry.summary("prompt") == "what a user ships"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("promt", r"^Unknown thing 'promt'\. Did you mean 'prompt'\? Known: broken, prompt\.$"),
        ("zzz", r"^Unknown thing 'zzz'\. Known: broken, prompt\.$"),
        (
            "broken",
            r"Cannot import 'rlprompt\.no_such_module' \(of 'rlprompt\.no_such_module:Thing'",
        ),
        ("no_such_module:x", "Cannot import 'no_such_module'"),
        (
            "rlprompt.core.prompt:Promt",
            r"^Module 'rlprompt\.core\.prompt' has no 'Promt'\. Did you mean 'Prompt'\?$",
        ),
    ],
)
def test_names_that_lead_nowhere_are_refused(registry, name, message):
    with pytest.raises(ConfigError, match=message):
        registry.get(name)


def test_a_path_needs_an_attribute():
    with pytest.raises(ConfigError, match=r"is no import path: write 'package.module:name'"):
        import_path("rlprompt.core.prompt")


def test_a_name_belongs_to_one_target(registry):
    registry.register("prompt", TARGET, "said again")
    assert registry.summary("prompt") == "said again"
    with pytest.raises(ConfigError, match=rf"'prompt' is registered already \({TARGET}\)"):
        registry.register("prompt", "elsewhere:Prompt", "")


def test_listing_imports_nothing(registry):
    assert registry.summary(next(iter(registry))).startswith("cannot")


def test_suggestions_are_near_or_none():
    assert suggest("float23", ["float32", "bfloat16"]) == " Did you mean 'float32'?"
    assert suggest("x", ["float32"]) == ""
    assert suggest("x", []) == ""
