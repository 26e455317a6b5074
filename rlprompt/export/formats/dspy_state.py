"""The state of a DSPy program: one ``dspy.Predict`` with the template as its instructions."""

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

TARGET = PythonLibrary("dspy", "pip install dspy")
_ADAPTER = (
    "DSPy's own adapters put field markers around the instructions. Load it under an adapter whose "
    "format() returns one message, {'role': 'user', 'content': "
    "json.loads(signature.instructions).format(**inputs)}, so that the LM reads what the prompt "
    "was learned on; the LM's answer is one of the label words."
)


@dataclass(frozen=True)
class DspyState:
    """What ``dspy.Predict(signature).load(path)`` reads.

    Instructions are all text that a state has; LM, label words, calibration and how to render
    stand in its metadata.
    """

    target: PythonLibrary = TARGET
    ensembles: bool = False

    def accept(self, artifact: Artifact) -> None:
        """Refuses templates with a mask: DSPy's LMs answer after a text."""
        if artifact.template.has_mask:
            raise ExportError(
                "DSPy's LMs answer after a text, not at a {mask} in it: export it to python or "
                "json."
            )

    def write(self, artifact: Artifact, path: Path, lm: "Callable[[], FrozenLM]") -> None:
        """Writes the file.

        Raises:
            ExportError: DSPy would not know the file for JSON.
        """
        if path.suffix != ".json":
            raise ExportError(f"DSPy reads a state by its ending: write --out {path}.json.")
        (text,) = artifact.input
        answer = "label" if "label" not in artifact.fields else "answer"
        fields = [*artifact.fields, answer]
        value: dict[str, Any] = {
            "traces": [],
            "train": [],
            "demos": [],
            "signature": {
                # As a JSON string: DSPy takes white space off the ends of instructions.
                "instructions": json.dumps(text, ensure_ascii=False),
                "fields": [
                    {"prefix": f"{name.replace('_', ' ').title()}:", "description": f"${{{name}}}"}
                    for name in fields
                ],
            },
            "lm": None,
            "metadata": {
                "dependency_versions": {},
                "signature": f"{', '.join(artifact.fields)} -> {answer}",
                "adapter": _ADAPTER,
                "rlprompt": artifact.facts(),
            },
        }
        write_json(path, value)

    def read(self, path: Path, examples: Sequence[Fields]) -> Iterator[Reading]:
        """Loads the state into a program and runs it."""
        import dspy

        class Bare(dspy.Adapter):  # type: ignore[misc, unused-ignore]
            """Renders the instructions and nothing else."""

            def format(self, signature: Any, demos: Any, inputs: Any) -> list[dict[str, str]]:
                text = json.loads(signature.instructions).format(**inputs)
                return [{"role": "user", "content": text}]

            def parse(self, signature: Any, completion: str) -> dict[str, str]:
                return dict.fromkeys(signature.output_fields, completion)

        class Asked(dspy.BaseLM):  # type: ignore[misc, unused-ignore]
            """Answers with the likeliest label."""

            def __call__(self, *args: Any, messages: Any, **kwargs: Any) -> list[str]:
                readings.append(lm.read([message["content"] for message in messages]))
                logprobs = readings[-1].logprobs
                return [max(logprobs, key=logprobs.__getitem__)]

        readings: list[Reading] = []
        metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
        program: Any = dspy.Predict(metadata["signature"])
        program.load(str(path))
        lm = PlainLM(read_facts(program.metadata["rlprompt"]))
        (answer,) = program.signature.output_fields
        with dspy.context(lm=Asked(model="plain"), adapter=Bare()):
            for fields in examples:
                given = {name: fields[name] for name in program.signature.input_fields}
                label = program(**given)[answer]
                logprobs = readings[-1].logprobs
                assert label == max(logprobs, key=logprobs.__getitem__), label
                yield readings[-1]
