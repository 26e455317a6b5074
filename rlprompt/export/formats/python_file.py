"""A Python file that needs nothing of this library."""

import ast
import runpy
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlprompt.core.files import write_text
from rlprompt.export import plain
from rlprompt.export.artifact import Artifact
from rlprompt.export.asking import joined
from rlprompt.export.inputs import render
from rlprompt.export.protocol import ExportError, Fields, Reading
from rlprompt.export.targets import TRANSFORMERS, PythonLibrary

if TYPE_CHECKING:
    from rlprompt.lm.protocol import FrozenLM

_HEAD = '''#!/usr/bin/env python3
"""Labels texts: {task}. Needs torch, transformers{gguf}; say e.g. python {name} {arguments}

The text alone is not the classifier. It was learned for the LM, the label words and the calibration
below; with another LM or other words the calibration does not hold. Texts must fit the LM's
context.
LM: {lm}.
"""

import os
import sys
'''
_QUIET = """
if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")  # else loading draws bars
"""
_BODY = """
# Where the LM is: change it if the same LM lies elsewhere.
LOCATION, DTYPE, OPTIONS = {location!r}, {dtype!r}, {options!r}
# The template with {prompts} in it{around}; format strings.{averaged}
INPUTS = {inputs!r}
# Label words, and the bias of each label in nats.
WORDS = {words!r}
CALIBRATION = {calibration!r}
"""
_TAIL = '''

def predict(**fields: str) -> dict[str, float]:
    """Returns the calibrated log-probability of each label for one input."""
    model, tokenizer = classifier()
    words = [word for label in WORDS for word in WORDS[label]]
    found = [word_logprobs(model, tokenizer, ids, words) for ids in read(**fields)]
    return label_logprobs(torch.stack(found), WORDS, CALIBRATION)


def read(**fields: str) -> list[list[int]]:
    """Returns the ids that the LM reads for one input, with each prompt."""
    texts = [[text.format_map(fields) for text in each] for each in INPUTS]
    return [encode(classifier()[1], each) for each in texts]


@cache
def classifier() -> tuple[Any, Any]:
    """Returns model and tokenizer, loaded once."""
    return load(LOCATION, DTYPE, OPTIONS)


if __name__ == "__main__":
    fields = {fields!r}
    if len(sys.argv) != len(fields) + 1:
        sys.exit(f"Give {{len(fields)}} texts: {{', '.join(fields)}}.")
    found = predict(**dict(zip(fields, sys.argv[1:], strict=True)))
    print(max(found, key=found.__getitem__))
    for label, logprob in found.items():
        print(f"{{label}}\\t{{torch.tensor(logprob).exp():.4f}}")
'''


@dataclass(frozen=True)
class PythonFile:
    """Constants, then the code of :mod:`rlprompt.export.plain` for the LM's family."""

    target: PythonLibrary = TRANSFORMERS
    ensembles: bool = True

    def accept(self, artifact: Artifact) -> None:
        """Refuses what plain transformers has no short code for."""
        if artifact.lm.family == "seq2seq" and artifact.template.has_mask:
            raise ExportError(
                "An encoder-decoder LM with {mask} in the template is asked by sentinel tokens "
                "that differ by LM: export it to json."
            )

    def write(self, artifact: Artifact, path: Path, lm: "Callable[[], FrozenLM]") -> None:
        """Writes the file."""
        sources = [_source(module) for module in (artifact.lm.family, "labels")]
        standard, third = _imports(sources)
        functions = [code for source in sources for code in _functions(source)]
        head = _HEAD.format(
            task=_one_line(artifact.task),
            gguf=", accelerate, gguf" if "gguf_file" in artifact.lm.options else "",
            name=_one_line(path.name),
            arguments=" ".join(f'"{field}"' for field in artifact.fields),
            lm=_one_line(artifact.lm.described),
        )
        body = _BODY.format(
            location=artifact.lm.location,
            dtype=artifact.lm.dtype,
            options=dict(artifact.lm.options),
            around=", before and after the mask" if artifact.template.has_mask else "",
            prompts="each learned prompt" if artifact.others else "the learned prompt",
            averaged=" Predictions are averaged." if artifact.others else "",
            inputs=[list(each.input) for each in artifact.members],
            words={label: list(words) for label, words in artifact.words.items()},
            calibration=dict(artifact.calibration),
        )
        tail = _TAIL.replace("{fields!r}", repr(list(artifact.fields))).replace("{{", "{")
        tail = tail.replace("}}", "}")
        code = "\n\n\n".join(functions)
        text = "\n".join([head + "\n".join(standard), _QUIET, *third, body, "", code])
        write_text(path, text + "\n" + tail)

    def read(self, path: Path, examples: Sequence[Fields]) -> Iterator[Reading]:
        """Runs the file as a module."""
        script: Any = runpy.run_path(str(path), run_name="exported")
        for fields in examples:
            texts = [render(each, fields) for each in script["INPUTS"]]
            yield Reading(*joined(texts, script["read"](**fields)), script["predict"](**fields))


def _source(module: str) -> str:
    """Returns the code of a module of :mod:`rlprompt.export.plain`."""
    path = Path(str(plain.__file__)).with_name(f"{module}.py")
    return path.read_text(encoding="utf-8")


def _imports(sources: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the import lines of all sources together: the standard library's, and others'."""
    modules = set()
    names: dict[str, set[str]] = {"functools": {"cache"}}
    for node in (node for source in sources for node in ast.parse(source).body):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.setdefault(str(node.module), set()).update(alias.name for alias in node.names)
    found = [(name, f"import {name}") for name in sorted(modules)]
    found += [
        (name, f"from {name} import {', '.join(sorted(names[name]))}") for name in sorted(names)
    ]
    standard = [line for name, line in found if name.split(".")[0] in sys.stdlib_module_names]
    return standard, [line for _, line in found if line not in standard]


def _functions(source: str) -> Iterator[str]:
    """Yields the functions of a module as they are written."""
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            yield "\n".join(lines[first - 1 : node.end_lineno])


def _one_line(text: str) -> str:
    """Returns a text that cannot end a docstring or a line of it."""
    return " ".join(text.split()).replace("\\", "/").replace('"', "'")
