"""Between text and numbers: a soft prompt that begins as a learned text, and its nearest text.

    python benchmarks/tuning/bridge.py runs/tuning

Reads a comparison that has 'ppo' and 'soft-prompt'. For each split: the learned text; the soft
prompt that is trained from it; the soft prompt of the comparison, trained from a manual text; and
for both the text of the vocabulary tokens that their rows are nearest to. All are scored on the
same test examples, calibrated on train as in the comparison. What was done is kept, so that the
script may be stopped.
"""

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

import rlprompt
from rlprompt.compare import folder
from rlprompt.compare.config import CompareConfig
from rlprompt.core.evaluation import (
    Evaluation,
    FloatArray,
    correct,
    fit_calibration,
    gold_logprobs,
)
from rlprompt.core.events import ignore
from rlprompt.core.ledger import Budget
from rlprompt.core.statistics import bootstrap_mean
from rlprompt.core.trials import Setting
from rlprompt.run.parts import task_of
from rlprompt.tasks.task import Task
from rlprompt.tasks.tokenization import prompt_of
from rlprompt.tuning.bridge import Projection, nearest_text
from rlprompt.tuning.loading import load_tuned
from rlprompt.tuning.protocol import Problem, TrainableLM, Tuned, make_tuner, settle
from rlprompt.tuning.rows import TunedSoftPrompt
from rlprompt.tuning.trainable import TextPrompt, bind, scores

BEGIN, END = "<!-- made by benchmarks/tuning/bridge.py -->", "<!-- end of bridge -->"
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Point:
    """One prompt on one split, scored on test."""

    split_seed: int
    prompt: str
    text: str
    accuracy: float
    log_likelihood: float
    cosine: float | None = None


def point(name: str, tuned: Tuned, bias: FloatArray, test: tuple, seed: int, text: str) -> Point:
    """Scores on test what was learned."""
    gold = np.array([example.label for example in test])
    found = Evaluation(tuned.choice_logprobs(test), gold, bias).calibrated
    likelihood = float(gold_logprobs(found, gold).mean())
    return Point(seed, name, text, float(correct(found, gold).mean()), likelihood)


@dataclass(frozen=True)
class Text:
    """A text prompt, asked in the way of what is tuned."""

    problem: Problem
    prompt: TextPrompt

    def choice_logprobs(self, examples: tuple) -> FloatArray:
        return scores(self.prompt, bind(self.problem, self.prompt, examples))


def of_text(name: str, problem: Problem, text: str, test: tuple, seed: int) -> Point:
    task = problem.task
    prompt = prompt_of(problem.lm.tokenizer, task.template, text)
    asked = Text(problem, TextPrompt(task.template, prompt))
    bias = fit_calibration(asked.choice_logprobs(tuple(task.train)))
    return point(name, asked, bias, test, seed, text)


def nearest(lm: TrainableLM, task: Task, tuned: TunedSoftPrompt) -> Projection:
    return nearest_text(lm, task.template, tuned.rows.soft().detach().cpu().numpy())


def split(config: CompareConfig, lm: TrainableLM, task_name: str, seed: int) -> list[Point]:
    """Does one split."""
    budget = max(config.budgets)
    setting = Setting(task_name, seed, "ppo", config.seeds[0], budget)
    soft = replace(setting, method="soft-prompt")
    run = config.run_config(setting)
    task = task_of(run)
    test = task.test.open("the bridge between text and numbers").examples[: run.test_limit]
    problem = Problem(lm, task, Budget(budget))
    text = folder.read(folder.run_file(config.out, setting))["prompt"]["text"]
    tuner = make_tuner("soft-prompt", {"text": text, "length": 0})
    begun = tuner.tune(problem, seed=setting.seed, on_event=ignore, work=None)
    kept = load_tuned(folder.run_file(config.out, soft).with_suffix(""), lm, task)
    points = [of_text("learned text", problem, text, test, seed)]
    for name, tuned in (("from the learned text", begun), ("from a manual text", kept)):
        shape = f"({len(tuned.rows.soft())} rows)"
        bias = settle(tuned, task.train, task.dev)
        points.append(point(f"soft prompt {name}", tuned, bias, test, seed, shape))
        near = nearest(lm, task, tuned)
        found = of_text(f"its nearest text, {name}", problem, near.text, test, seed)
        points.append(replace(found, cosine=float(np.mean(near.cosines))))
    return points


def markdown(points: pd.DataFrame) -> str:
    """Writes means over splits with intervals, and the texts."""
    lines = [
        "| prompt | accuracy | log-likelihood | cosine | texts |",
        "| :-- | --: | --: | --: | :-- |",
    ]
    for name, rows in points.groupby("prompt", sort=False):
        cells = []
        for metric in ("accuracy", "log_likelihood"):
            found = bootstrap_mean(rows[metric].to_numpy())
            cells.append(f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]")
        cosine = rows["cosine"].mean()
        cells.append("" if np.isnan(cosine) else f"{cosine:.2f}")
        texts = [] if rows["text"].str.endswith("rows)").all() else rows["text"]
        cells.append(", ".join(f"`{text!r}`".replace("|", "\\|") for text in texts))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Reads the arguments and does it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("comparison", type=Path)
    parser.add_argument("--config", type=Path, default=HERE / "config.toml")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--into", type=Path, help="a Markdown file with the marks")
    given = parser.parse_args()
    values = rlprompt.RunConfig.read(given.config) | {"out": given.comparison}
    config = CompareConfig.parse(
        values | ({"data_root": given.data_root} if given.data_root else {})
    )
    kept = given.comparison / "bridge.json"
    done = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else []
    lm = rlprompt.load_lm(rlprompt.LMConfig(config.run["lm"], trainable=True))
    for task_name, seed in config.groups:
        if not any(each["split_seed"] == seed for each in done):
            done += map(asdict, split(config, lm, task_name, seed))
            kept.write_text(json.dumps(done, indent=1), encoding="utf-8")
            print(f"split {seed} done", flush=True)
    table = markdown(pd.DataFrame(done))
    if given.into is None:
        print(table)
        return
    before, _, rest = given.into.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    given.into.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
