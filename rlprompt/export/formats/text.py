"""The bare text of the prompt."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rlprompt.core.files import write_text
from rlprompt.export.artifact import Artifact
from rlprompt.export.asking import PlainLM
from rlprompt.export.inputs import filled, render
from rlprompt.export.place import facts_beside
from rlprompt.export.protocol import Fields, Reading
from rlprompt.export.targets import TRANSFORMERS, PythonLibrary

if TYPE_CHECKING:
    from rlprompt.lm.protocol import FrozenLM


@dataclass(frozen=True)
class TextFile:
    """Exactly the prompt, no line end added. All else is in the file beside it."""

    target: PythonLibrary = TRANSFORMERS
    ensembles: bool = False

    def accept(self, artifact: Artifact) -> None:
        """Accepts everything."""

    def write(self, artifact: Artifact, path: Path, lm: "Callable[[], FrozenLM]") -> None:
        """Writes the file."""
        write_text(path, artifact.prompt)

    def read(self, path: Path, examples: Sequence[Fields]) -> Iterator[Reading]:
        """Puts the text into the template that the file beside it names."""
        artifact = facts_beside(path)
        lm = PlainLM(artifact)
        # Read as bytes: reading text would make line ends of carriage returns.
        source = filled(artifact.template, path.read_bytes().decode("utf-8"))
        for fields in examples:
            yield lm.read(render(source, fields))
