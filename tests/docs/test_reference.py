"""The reference holds what is public, and the site asks no other host."""

import re
from pathlib import Path

import pytest

import rlprompt
from rlprompt.agents.protocol import AGENTS
from rlprompt.rewards import REWARDS
from rlprompt.tuning.protocol import TUNERS

ROOT = Path(__file__).parents[2]
TEXT = "\n".join(
    path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "reference").glob("*.rst")
)
MODULES = re.findall(r"^\.\. automodule:: (\S+)$", TEXT, re.MULTILINE)


def test_no_module_is_documented_twice():
    assert len(MODULES) == len(set(MODULES))


def test_every_public_name_is_on_the_first_page_and_its_module_is_documented():
    api = (ROOT / "docs" / "reference" / "api.rst").read_text(encoding="utf-8")
    for name in set(rlprompt.__all__) - {"__version__"}:
        kind = getattr(rlprompt, name)
        assert f"`~{kind.__module__}.{name}`" in api
        assert kind.__module__ in MODULES


def test_every_package_but_the_command_line_has_a_page():
    packages = {path.parent.name for path in (ROOT / "rlprompt").glob("*/__init__.py")}
    assert packages - {"cli"} <= {name.split(".")[1] for name in MODULES if "." in name}


@pytest.mark.parametrize("registry", [AGENTS, TUNERS, REWARDS], ids=lambda each: each.kind)
def test_whatever_can_be_named_is_documented(registry):
    for name in registry:
        assert registry.get(name).__module__ in MODULES, name


def test_no_page_of_the_site_loads_anything_from_another_host():
    pages = [*(ROOT / "site").rglob("*.html"), *(ROOT / "site").rglob("*.css")]
    if not pages:
        pytest.skip("the site is not built: make docs")
    for page in pages:
        # The name of a format looks like an address.
        text = re.sub(r"""xmlns(:\w+)?=(['"]).*?\2""", "", page.read_text(encoding="utf-8"))
        loaded = re.findall(r"<(?:script|img|iframe|link|source)\b[^>]*", text)
        loaded += re.findall(r"url\([^)]*\)|@import[^;]*", text)
        away = [each for each in loaded if re.search(r"""["'(=]\s*(?:https?:)?//""", each)]
        assert not away, f"{page}: {away}"
