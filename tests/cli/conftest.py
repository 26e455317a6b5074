"""The command line in-process."""

import sys

import pytest

from rlprompt import RunConfig, optimize
from rlprompt.cli import app, main


@pytest.fixture
def rlprompt(capsys, monkeypatch):
    """Returns a function that gives a command and returns exit code, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "200")
    for console in (app.out, app.err):
        monkeypatch.setattr(console, "width", 200)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["rlprompt", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        return (code, *capsys.readouterr())

    return command


@pytest.fixture
def refused(rlprompt):
    """Returns a function that gives a command which must fail, and returns the one message."""

    def command(*words):
        code, _, err = rlprompt(*words)
        assert code == 2, err
        assert "Traceback" not in err
        return " ".join(err.replace("│", " ").split())

    return command


@pytest.fixture(scope="session")
def finished_run(films, tiny_lm, tmp_path_factory):
    """Folder of a finished run."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    settings = {"budget": 400, "shots": 4, "length": 3, "test_limit": 20}
    optimize(RunConfig(task=str(films), lm=str(tiny_lm), **settings, out=out))
    return out
