"""Finished runs of tiny LMs of every family, and exports that are read back in this process."""

import pytest

from rlprompt import RunConfig, optimize
from rlprompt.export import export as module
from rlprompt.export.export import export
from rlprompt.testing import save_tiny

SETTINGS = {"agent": "random", "budget": 400, "shots": 4, "length": 3, "test_limit": 20}
TEMPLATES = {
    "llama": "{text}{prompt}",
    "gpt2": "{prompt} {text}",
    "bert": "{text} {prompt} {mask} .",
    "roberta": "{prompt:1} {text} {prompt:2} {mask}",
    "t5": "{text} {prompt}",
}


@pytest.fixture(scope="session")
def run_of(films, tmp_path_factory):
    """Returns a function that gives the folder of a finished run of an LM of an architecture."""
    made = {}

    def make(architecture, ensemble=1):
        key = (architecture, ensemble)
        if key not in made:
            lm = save_tiny(tmp_path_factory.mktemp("lm") / architecture, architecture)
            out = tmp_path_factory.mktemp("runs") / architecture
            template = TEMPLATES[architecture]
            settled = RunConfig(
                task=str(films),
                lm=str(lm),
                template=template,
                ensemble=ensemble,
                **SETTINGS,
                out=out,
            )
            optimize(settled)
            made[key] = out
        return made[key]

    return make


@pytest.fixture
def read_here(monkeypatch):
    """Returns ``export``, which reads back in this process: in a process of its own is slow."""

    def read_back(name, exporter, path, examples, **_):
        return exporter.target.version(), [*exporter.read(path, examples)]

    monkeypatch.setattr(module, "read_back", read_back)
    return export
