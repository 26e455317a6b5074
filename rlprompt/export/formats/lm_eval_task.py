"""A task of lm-evaluation-harness."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlprompt.core.files import write_json, write_text
from rlprompt.export.artifact import Artifact, read_facts
from rlprompt.export.asking import PlainLM
from rlprompt.export.inputs import to_jinja
from rlprompt.export.protocol import ExportError, Fields, Reading
from rlprompt.export.targets import PythonLibrary
from rlprompt.export.yaml_file import to_yaml

if TYPE_CHECKING:
    from rlprompt.lm.protocol import FrozenLM

TARGET = PythonLibrary("lm_eval", "pip install 'lm-eval[hf]'")
FACTS, DATA, GOLD = "classifier.json", "examples.jsonl", "gold_label"
#: YAML tags of the harness, which read functions from the file beside.
_FUNCTIONS = """custom_dataset: !function utils.load
process_results: !function utils.process_results
"""
_UTILS = '''"""Data and calibrated scores of a learned prompt, for lm-evaluation-harness."""

import json
from math import exp, log
from pathlib import Path

HERE = Path(__file__).parent
FACTS = json.loads((HERE / "{facts}").read_text(encoding="utf-8"))


def load(**_):
    """Returns the examples: put others into {data} to score these."""
    from datasets import Dataset

    lines = (HERE / "{data}").read_text(encoding="utf-8").split("\\n")
    return {{"test": Dataset.from_list([json.loads(line) for line in lines if line])}}


def process_results(doc, results):
    """Scores one example: sums the words of each label, takes off its bias, and normalises."""
    logprobs, scores = [result[0] for result in results], []
    for label, words in FACTS["words"].items():
        own, logprobs = logprobs[: len(words)], logprobs[len(words) :]
        scores.append(_log_sum_exp(own) - FACTS["calibration"][label])
    best = max(range(len(scores)), key=scores.__getitem__)
    gold = doc["{gold}"]
    return {{"acc": float(best == gold), "log_likelihood": scores[gold] - _log_sum_exp(scores)}}


def _log_sum_exp(values):
    top = max(values)
    return top + log(sum(exp(value - top) for value in values))
'''


@dataclass(frozen=True)
class LmEvalTask:
    """A folder: the task, its functions, the facts, and the dev examples of the run.

    Accuracy and log-likelihood are calibrated, by a function of the task. On the run's own LM they
    are the scores on dev in ``result.json``.
    """

    target: PythonLibrary = TARGET
    ensembles: bool = False

    def accept(self, artifact: Artifact) -> None:
        """Refuses what the harness does not ask, and a task without examples."""
        if artifact.lm.family != "causal":
            raise ExportError(
                f"The harness asks a {artifact.lm.family} LM in another way than it was learned "
                "for: export it to python or json."
            )
        if not artifact.examples:
            raise ExportError(
                "A task of the harness needs examples, but those of the run cannot be made anew: "
                "put the data back, or give --data-root."
            )

    def write(self, artifact: Artifact, path: Path, lm: "Callable[[], FrozenLM]") -> None:
        """Writes the folder."""
        (text,) = artifact.input
        name = _name(artifact)
        task = {
            "task": name,
            "output_type": "multiple_choice",
            "test_split": "test",
            "doc_to_text": to_jinja(text),
            "doc_to_choice": artifact.flat_words,
            # Each word brings what comes before it.
            "target_delimiter": "",
            "doc_to_target": GOLD,
            "metric_list": [
                {"metric": metric, "aggregation": "mean", "higher_is_better": True}
                for metric in ("acc", "log_likelihood")
            ],
            "metadata": {"version": 1.0, "description": artifact.described()},
        }
        rows = [
            {**{f: example.fields[f] for f in artifact.fields}, GOLD: example.label}
            for example in artifact.examples
        ]
        write_json(path / FACTS, artifact.facts())
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        write_text(path / DATA, "\n".join(lines) + "\n")
        write_text(path / "utils.py", _UTILS.format(facts=FACTS, data=DATA, gold=GOLD))
        write_text(path / f"{name}.yaml", to_yaml(task) + _FUNCTIONS)

    def read(self, path: Path, examples: Sequence[Fields]) -> Iterator[Reading]:
        """Runs the harness on the first examples, with its own class for the LM."""
        import lm_eval
        import torch
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager

        artifact = read_facts(json.loads((path / FACTS).read_text(encoding="utf-8")))
        lm = PlainLM(artifact)
        model, tokenizer = lm.loaded
        asked: Any = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1)
        name = _name(artifact)
        found: Any = lm_eval.simple_evaluate(
            model=asked,
            tasks=[name],
            task_manager=TaskManager(include_path=str(path), include_defaults=False),
            limit=len(examples),
            bootstrap_iters=0,
        )
        samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
        labels = artifact.labels
        for sample in samples:
            scores = torch.tensor([float(each[0][0]) for each in sample["resps"]])
            text = sample["arguments"][0][0]
            reading = lm.reading(text, asked.tok_encode(text), scores)
            gold = reading.logprobs[labels[sample["doc"][GOLD]]]
            # What the task's own function makes of them is calibrated as well.
            assert abs(sample["log_likelihood"] - gold) < 1e-5, (sample["log_likelihood"], gold)
            yield reading


def _name(artifact: Artifact) -> str:
    return "rlprompt_" + (re.sub(r"[^a-z0-9]+", "_", artifact.task.lower()).strip("_") or "task")
