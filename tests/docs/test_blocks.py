"""Every fenced block of README.md, CONTRIBUTING.md and docs/ is run, with small stand-ins.

What large things are replaced by says ``conftest.py``. The blocks of a page run in their order, in
a folder and with a namespace of its own:

* ``python``: executed.
* ``pycon``: executed, and what it prints compared.
* ``toml``: read by the class that reads such a file.
* ``json``: parsed.
* A block of any of these whose first line is ``# name.ext`` is the file of that name, which is
  written where later blocks find it.
* Without a language, or ``bash``: commands, one a line, ``\\`` goes on with it. ``rlprompt`` runs
  in this process with every flag as it stands and must end with code 0. ``compare`` is given
  ``--dry-run`` in addition, since comparisons take long: flags, tasks, methods and LM are read, a
  few forwards are measured, nothing is searched. ``export`` is given ``--no-check``. ``serve`` does
  not end by itself: its flags and arguments are parsed. ``make TARGET``: there is such a target.
  ``pip install``: the package is this one and has these extras. ``python FILE``: the file is there
  and compiles.
* ``text``, ``console``, or no language and no command on the first line: what something printed,
  not run.
* A block under ``<!-- not run: REASON -->`` is skipped, and pytest shows the reason.
"""

import doctest
import json
import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from markdown_it import MarkdownIt
from packaging.requirements import Requirement
from typer.testing import CliRunner

from rlprompt.cli.main import app
from rlprompt.compare.config import CompareConfig
from rlprompt.run.config import RunConfig
from rlprompt.tasks.config import TaskConfig

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
PROGRAMS = ("rlprompt", "make", "pip", "python", "curl", "git", "cd", "source")
#: Flags that a command is given in addition.
QUICK = {"compare": ["--dry-run"], "export": ["--no-check"]}
#: Commands that do not end by themselves.
ENDLESS = ("serve",)


@dataclass(frozen=True)
class Block:
    """A fenced block, and why it is not run, if so."""

    page: Path
    line: int
    language: str
    text: str
    excuse: str

    def __str__(self):
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"

    @property
    def lines(self):
        """The lines, those that end in a backslash joined with the next."""
        return self.text.replace("\\\n", " ").splitlines()

    @property
    def is_output(self):
        """Whether it shows what something printed."""
        words = self.text.split()
        commands = words and (words[0] in PROGRAMS or words[0] == "$")
        return self.language == "text" or (self.language in ("", "console") and not commands)

    @property
    def file(self):
        """Name of the file that it is, or None."""
        found = re.match(r"# ([\w/-]+\.(?:py|toml|jsonl?|csv))\b", self.text)
        return found and found[1]


def blocks_of(page):
    """All blocks of a page but directives of the site."""
    tokens = MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8"))
    found = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type not in ("fence", "code_block") or token.info.startswith("{"):
            continue
        comment = before.content if before and before.type == "html_block" else ""
        excuse = re.search(r"<!-- not run: (.+?) -->\s*$", comment, re.DOTALL)
        found.append(
            Block(page, token.map[0] + 1, token.info, token.content, excuse[1] if excuse else "")
        )
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_blocks_of_a_page_run(page, workspace, provide):
    names = {"__name__": "__main__"}
    blocks = [b for b in BLOCKS if b.page == page and not b.excuse and not b.is_output]
    text = "".join(block.text for block in blocks)
    made = re.findall(r"""(?:--out |save\(Path\(|out=)"?(runs/[\w-]+)""", text)
    for name in {*re.findall(r"runs/[\w-]+", text)} - {*made}:
        provide(name)
    for block in blocks:
        run(block, names)


@pytest.mark.parametrize("block", [each for each in BLOCKS if each.excuse], ids=str)
def test_a_block_that_is_not_run_says_why(block):
    assert len(block.excuse.split()) > 2
    pytest.skip(f"{block} is not run: {block.excuse}")


def run(block, names):
    """Runs a block."""
    if block.file:
        Path(block.file).parent.mkdir(parents=True, exist_ok=True)
        Path(block.file).write_text(block.text, encoding="utf-8")
    if block.language == "python":
        exec(compile("\n" * block.line + block.text, str(block), "exec"), names)
    elif block.language == "pycon":
        lines = doctest.DocTestParser().get_doctest(block.text, names, str(block), None, block.line)
        report: list[str] = []
        doctest.DocTestRunner(verbose=False).run(lines, out=report.append, clear_globs=False)
        assert not report, "".join(report)
        names.update(lines.globs)
    elif block.language == "toml":
        read_toml(block)
    elif block.language == "json":
        json.loads(block.text)
    elif block.language in ("", "bash", "console"):
        for line in block.lines:
            if words := shlex.split(line.removeprefix("$ "), comments=True):
                command(block, words)
    else:
        pytest.fail(f"{block}: no rule for blocks of {block.language!r}; output is 'text'.")


def read_toml(block):
    """Reads a block as the file that its keys say it is."""
    values = tomllib.loads(block.text)
    if {"data", "folder"} & set(values):
        TaskConfig.parse({"name": "own", **values}, base=Path(), source=str(block))
    elif {"tasks", "agents", "tuners", "methods"} & set(values):
        CompareConfig.parse({"out": "runs/any", **values})
    else:
        RunConfig.parse(values, str(block))


def command(block, words):
    """Runs a command line, or checks it as far as the docstring of this file says."""
    program, *rest = words
    if program == "rlprompt" and rest[0] in ENDLESS:
        group = typer.main.get_command(app)
        group.commands[rest[0]].make_context(rest[0], rest[1:])
    elif program == "rlprompt":
        added = [flag for flag in QUICK.get(rest[0], []) if flag not in rest]
        done = CliRunner().invoke(app, [*rest, *added], catch_exceptions=False)
        assert done.exit_code == 0, f"{block}: {shlex.join(words)}\n{done.output}"
    elif program == "make":
        targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(rest) <= set(targets), f"{block}: {words}"
    elif program == "pip":
        check_install(block, rest)
    elif program == "python":
        file = Path(rest[0]) if Path(rest[0]).exists() else ROOT / rest[0]
        compile(file.read_text(encoding="utf-8"), file, "exec")
    else:
        pytest.fail(f"{block}: no rule for {program!r}; mark the block as not run, with a reason.")


def check_install(block, words):
    """Checks that what is installed is this package with extras that it has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert words[0] == "install", f"{block}: pip {words}"
    for each in words[1:]:
        if each == "--editable":
            continue
        # In a clone: this folder, with extras.
        wanted = Requirement(project["name"] + each[1:] if each.startswith(".[") else each)
        assert wanted.name == project["name"], f"{block}: {each}"
        missing = wanted.extras - set(project["optional-dependencies"])
        assert not missing, f"{block}: no extras {missing}"
