"""A model card: Markdown with the metadata that model hubs read."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlprompt.core.files import write_text
from rlprompt.export.artifact import Artifact, read_facts
from rlprompt.export.asking import PlainLM
from rlprompt.export.inputs import render, shown
from rlprompt.export.protocol import Fields, Reading
from rlprompt.export.targets import PythonLibrary
from rlprompt.export.yaml_file import to_yaml

if TYPE_CHECKING:
    from rlprompt.lm.protocol import FrozenLM

_FENCE = "```json rlprompt\n"
_TEXT = """
# A learned prompt: {task}

A text prompt for the frozen language model {lm}, found by [rlprompt]. The model's weights are as
they were. What labels a text is the model with this input, these label words and this calibration;
the text alone is not the classifier.

The learned prompt, in full, as a JSON string: {prompt}

| | |
|---|---|
| what the model reads | {input} |
| label words | {words} |
| calibration, nats, taken off each label's log-probability, before the softmax | {calibration} |

## Scores

Calibrated; the log-likelihood is the mean log-probability of the right label, in nats.

| split | accuracy | log-likelihood |
|---|---|---|
{scores}

The prompt was searched for on train and selected on dev; test decided nothing. Intervals are 95 %
bootstrap intervals over examples.

## For programs

{fence}{facts}
```

[rlprompt]: https://pypi.org/project/rlprompt
"""

TARGET = PythonLibrary("huggingface_hub", "pip install huggingface_hub")


@dataclass(frozen=True)
class ModelCard:
    """Front matter with the scores, a page for people, and the facts as JSON."""

    target: PythonLibrary = TARGET
    ensembles: bool = False

    def accept(self, artifact: Artifact) -> None:
        """Accepts everything."""

    def write(self, artifact: Artifact, path: Path, lm: "Callable[[], FrozenLM]") -> None:
        """Writes the file."""
        text = _TEXT.format(
            task=_cell(artifact.task),
            lm=_cell(artifact.lm.described),
            prompt=_code(artifact.prompt),
            input=_code(shown(artifact.input)),
            words="; ".join(
                f"{_cell(label)}: {', '.join(map(_code, words))}"
                for label, words in artifact.words.items()
            ),
            calibration=", ".join(
                f"{_cell(label)} {bias:+.4f}" for label, bias in artifact.calibration.items()
            ),
            scores="\n".join(_row(name, scores) for name, scores in artifact.scores.items()),
            fence=_FENCE,
            facts=json.dumps(artifact.facts(), indent=2, ensure_ascii=False),
        )
        write_text(path, f"---\n{to_yaml(_metadata(artifact))}---\n{text}")

    def read(self, path: Path, examples: Sequence[Fields]) -> Iterator[Reading]:
        """Loads the card as a hub does; the scores in it must be those of the facts."""
        from huggingface_hub import ModelCard as Card

        card: Any = Card.load(path)
        facts = str(card.text).split(_FENCE)[1].split("\n```\n")[0]
        artifact = read_facts(json.loads(facts))
        found = {
            (result.dataset_split, result.metric_type): result.metric_value
            for result in card.data.eval_results or []
        }
        for split, scores in artifact.scores.items():
            for metric in ("accuracy", "log_likelihood"):
                assert found[split, metric] == scores[metric], (split, metric)
        lm = PlainLM(artifact)
        for fields in examples:
            yield lm.read(render(artifact.input, fields))


def _metadata(artifact: Artifact) -> dict[str, Any]:
    dataset = {"name": artifact.task, "type": artifact.task}
    results: list[dict[str, Any]] = [
        {
            "task": {"type": "text-classification"},
            "dataset": {**dataset, "split": split},
            "metrics": [
                {"type": metric, "value": scores[metric]}
                for metric in ("accuracy", "log_likelihood")
            ],
        }
        for split, scores in artifact.scores.items()
    ]
    return {
        "language": artifact.language,
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "base_model": artifact.lm.name,
        "base_model_relation": "adapter",
        "tags": ["rlprompt", "prompt", "text-classification"],
        "model-index": [{"name": f"prompt for {artifact.task}", "results": results}],
    }


def _row(split: str, scores: Mapping[str, Any]) -> str:
    cells = []
    for metric in ("accuracy", "log_likelihood"):
        interval = scores[f"{metric}_interval"]
        low_high = f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
        cells.append(f"{scores[metric]:.3f}{low_high}")
    return f"| {split} | {' | '.join(cells)} |"


def _code(text: str) -> str:
    """Returns a text as code in a cell of a table, as a JSON string, so that spaces are seen."""
    quoted = json.dumps(text, ensure_ascii=False).replace("|", "\\|")
    fence = "``" if "`" in quoted else "`"
    return f"{fence}{quoted}{fence}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
