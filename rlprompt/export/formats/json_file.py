"""Everything about the classifier in one JSON file."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rlprompt.core.files import write_json
from rlprompt.export.artifact import Artifact, read_facts
from rlprompt.export.asking import PlainLM
from rlprompt.export.inputs import render
from rlprompt.export.protocol import Fields, Reading
from rlprompt.export.targets import TRANSFORMERS, PythonLibrary

if TYPE_CHECKING:
    from rlprompt.lm.protocol import FrozenLM


@dataclass(frozen=True)
class JsonFile:
    """The facts, as :meth:`rlprompt.export.artifact.Artifact.facts` has them."""

    target: PythonLibrary = TRANSFORMERS
    ensembles: bool = True

    def accept(self, artifact: Artifact) -> None:
        """Accepts everything."""

    def write(self, artifact: Artifact, path: Path, lm: "Callable[[], FrozenLM]") -> None:
        """Writes the file."""
        write_json(path, artifact.facts())

    def read(self, path: Path, examples: Sequence[Fields]) -> Iterator[Reading]:
        """Reads the file and nothing else."""
        artifact = read_facts(json.loads(path.read_text(encoding="utf-8")))
        lm = PlainLM(artifact)
        for fields in examples:
            yield lm.read_all([render(each.input, fields) for each in artifact.members])
