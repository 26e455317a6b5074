"""A configuration of promptfoo, which is a Node program."""

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlprompt.core.files import write_json, write_text
from rlprompt.export.artifact import Artifact, read_facts
from rlprompt.export.asking import PlainLM
from rlprompt.export.inputs import to_jinja
from rlprompt.export.protocol import ExportError, Fields, Reading
from rlprompt.export.targets import Program
from rlprompt.export.yaml_file import to_yaml

if TYPE_CHECKING:
    from rlprompt.lm.protocol import FrozenLM

TARGET = Program("promptfoo", "npm install --global promptfoo")
#: Dev examples that the file has as tests.
N_TESTS = 8
#: Gives the rendered input back.
ECHO = "echo"


@dataclass(frozen=True)
class PromptfooFile:
    """Prompt and tests; LM, label words and calibration stand in the metadata.

    The provider is promptfoo's ``echo``, which shows the input. Whoever serves the LM puts theirs
    there: one that gives the label words' log-probabilities, since the calibration is taken off
    these.
    """

    target: Program = TARGET
    ensembles: bool = False

    def accept(self, artifact: Artifact) -> None:
        """Refuses templates with a mask: providers answer after a text."""
        if artifact.template.has_mask:
            raise ExportError(
                "The providers of promptfoo answer after a text, not at a {mask} in it: export it "
                "to python or json."
            )

    def write(self, artifact: Artifact, path: Path, lm: "Callable[[], FrozenLM]") -> None:
        """Writes the file."""
        (text,) = artifact.input
        value = {
            "description": f"{artifact.task}: a learned prompt. Needs {artifact.described()}",
            "prompts": [{"raw": to_jinja(text), "label": "learned prompt"}],
            "providers": [ECHO],
            "tests": [
                {
                    "vars": {name: example.fields[name] for name in artifact.fields},
                    "metadata": {"label": artifact.labels[example.label]},
                }
                for example in artifact.examples[:N_TESTS]
            ],
            "metadata": {"rlprompt": artifact.facts()},
        }
        write_text(path, to_yaml(value))

    def read(self, path: Path, examples: Sequence[Fields]) -> Iterator[Reading]:
        """Validates and evaluates the file by promptfoo, which renders the inputs."""
        with tempfile.TemporaryDirectory() as folder:
            # promptfoo knows a configuration by the end of its name.
            own = Path(folder, "promptfooconfig.yaml")
            own.write_bytes(path.read_bytes())
            tests, answer = Path(folder, "tests.json"), Path(folder, "answer.json")
            write_json(tests, [{"vars": dict(fields)} for fields in examples])
            _promptfoo("validate", "--config", str(own))
            quiet = ("--no-cache", "--no-write", "--no-table", "--no-progress-bar")
            asked = ("--config", str(own), "--tests", str(tests), "--providers", ECHO)
            _promptfoo("eval", *asked, "--output", str(answer), *quiet)
            found: Any = json.loads(answer.read_text(encoding="utf-8"))
        lm = PlainLM(read_facts(found["config"]["metadata"]["rlprompt"]))
        rows = sorted(found["results"]["results"], key=lambda row: row["testIdx"])
        for row in rows:
            yield lm.read([row["response"]["output"]])


def _promptfoo(*arguments: str) -> None:
    """Runs promptfoo.

    Raises:
        ExportError: with the last that it said.
    """
    command = [TARGET.path, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        told = (done.stdout + done.stderr).strip().splitlines()
        raise ExportError(f"promptfoo {arguments[0]}: {' '.join(told[-3:])}")
