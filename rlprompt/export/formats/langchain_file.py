"""A prompt template of LangChain, as ``langchain_core.load`` reads it."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlprompt.core.files import write_json
from rlprompt.export.artifact import Artifact, read_facts
from rlprompt.export.asking import PlainLM
from rlprompt.export.protocol import ExportError, Fields, Reading
from rlprompt.export.targets import PythonLibrary

if TYPE_CHECKING:
    from rlprompt.lm.protocol import FrozenLM

TARGET = PythonLibrary("langchain-core", "pip install langchain-core")


@dataclass(frozen=True)
class LangChainFile:
    """A ``PromptTemplate``; LM, label words and calibration stand in its metadata."""

    target: PythonLibrary = TARGET
    ensembles: bool = False

    def accept(self, artifact: Artifact) -> None:
        """Refuses templates with a mask: LangChain's models go on with a text."""
        if artifact.template.has_mask:
            raise ExportError(
                "LangChain's models answer after a text, not at a {mask} in it: export it to "
                "python or json."
            )

    def write(self, artifact: Artifact, path: Path, lm: "Callable[[], FrozenLM]") -> None:
        """Writes the file; the format is LangChain's own serialisation."""
        (text,) = artifact.input
        value = {
            "lc": 1,
            "type": "constructor",
            "id": ["langchain", "prompts", "prompt", "PromptTemplate"],
            "kwargs": {
                "input_variables": list(artifact.fields),
                "template": text,
                "template_format": "f-string",
                "metadata": {"rlprompt": artifact.facts()},
            },
        }
        write_json(path, value)

    def read(self, path: Path, examples: Sequence[Fields]) -> Iterator[Reading]:
        """Loads the template by LangChain and renders by it."""
        from langchain_core.load import load
        from langchain_core.prompts import PromptTemplate

        loaded: Any = load(
            json.loads(path.read_text(encoding="utf-8")), allowed_objects=[PromptTemplate]
        )
        lm = PlainLM(read_facts(loaded.metadata["rlprompt"]))
        for fields in examples:
            given = {name: fields[name] for name in loaded.input_variables}
            yield lm.read([loaded.invoke(given).to_string()])
