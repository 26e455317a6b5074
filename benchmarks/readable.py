"""How readable are the selected prompts, and what does that cost?

    python benchmarks/readable.py benchmarks/four-tasks:ppo+racing benchmarks/fluency:ppo+racing \\
        benchmarks/four-tasks:lm-samples+racing --data-root DATA --into benchmarks/fluency/README.md

Reads every selected prompt behind two train examples of its split with the frozen LM, as a search
with ``--fluency`` does, and writes perplexity, test accuracy and log-likelihood of each method, and
what it has more or less than the first one named, an ensemble than the first ensemble: paired
differences, one a (task, split), averaged over splits and then over tasks, with 95 % bootstrap
intervals over the splits of these tasks. The perplexity of an ensemble is the geometric mean of its
prompts'.
"""

import argparse
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from marks import show
from over_tasks import bootstrap

import rlprompt
from rlprompt.core.ledger import Ledger
from rlprompt.lm.protocol import FrozenLM
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.fluency import Fluency
from rlprompt.objective.split_scorer import Question, SplitScorer
from rlprompt.tasks.tokenization import prompt_of

BEGIN, END = "<!-- made by benchmarks/readable.py -->", "<!-- end of readable -->"
#: Every method asks for the same tasks.
load_task = cache(rlprompt.load_task)
SCORES = ("fluency", "test_accuracy", "test_log_likelihood")


def fluencies(
    result: dict[str, Any], method: str, lm: FrozenLM, data_root: Path | None
) -> pd.DataFrame:
    """Returns a row a (task, split): the fluency of what was selected, and its test scores."""
    config = result["config"]
    several = is_ensemble(config, method)
    if several and not all("ensemble" in r for r in result["runs"] if r["method"] == method):
        raise SystemExit(f"The comparison does not name all prompts of {method}: compare anew.")
    rows = []
    for path in config["tasks"]:
        for seed in config["split_seeds"]:
            task = load_task(path, seed, config["run"]["shots"], data_root=data_root)
            own = [
                run
                for run in result["runs"]
                if (run["task"], run["split_seed"], run["method"]) == (task.name, seed, method)
            ]
            for run in own:
                texts = run["ensemble"] if several else [run["prompt"]]
                prompts = [prompt_of(lm.tokenizer, task.template, text) for text in texts]
                question = Question(task.template, task.verbalizer, max(map(len, prompts)))
                reader = Fluency(SplitScorer(lm, question, task.train, EvaluationLog()))
                reader.read(prompts, Ledger())
                row = {key: run[key] for key in ("task", "split_seed", *SCORES[1:])}
                rows.append(row | {"fluency": float(np.mean([reader.of(p) for p in prompts]))})
    return pd.DataFrame(rows).groupby(["task", "split_seed"]).mean()


def is_ensemble(config: dict[str, Any], method: str) -> bool:
    """Whether a method of a comparison averages several prompts."""
    return int(config["methods"].get(method, {}).get("ensemble", 1)) > 1


def table(found: dict[str, tuple[bool, pd.DataFrame]]) -> str:
    """Returns the methods as Markdown, each against the first of its kind, ensembles or not."""
    first: dict[bool, pd.DataFrame] = {}
    lines = [
        "| method | perplexity a token | times less | test accuracy | more by | "
        "test log-likelihood | more by |",
        "| :-- |" + " --: |" * 6,
    ]
    for name, (several, own) in found.items():
        means = {score: float(own[score].groupby(level="task").mean().mean()) for score in SCORES}
        cells: list[Any] = [f"{np.exp(-means['fluency']):,.0f}", "", f"{means[SCORES[1]]:.3f}", ""]
        cells += [f"{means[SCORES[2]]:.4f}", ""]
        reference = first.setdefault(several, own)
        if own is not reference:
            for n, score in enumerate(SCORES):
                difference = (own[score] - reference[score]).dropna()
                tasks = [d.to_numpy() for _, d in difference.groupby(level="task")]
                ends = np.array(
                    [np.mean([d.mean() for d in tasks]), *bootstrap(tasks, draw_tasks=False)]
                )
                cells[2 * n + 1] = (
                    "{:.1f} [{:.1f}, {:.1f}]".format(*np.exp(ends))
                    if score == "fluency"
                    else "{:+.4f} [{:+.4f}, {:+.4f}]".format(*ends)
                )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Reads the arguments and does it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="+", help="EXPERIMENT:METHOD, the first is the reference")
    parser.add_argument("--lm", default="smollm2")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--into", type=Path, help="file with the marks")
    given = parser.parse_args()
    lm = rlprompt.load_lm(rlprompt.LMConfig(given.lm))
    found = {}
    for each in given.methods:
        experiment, method = each.split(":")
        name = f"{Path(experiment).name}: {method}"
        result = json.loads((Path(experiment) / "comparison.json").read_text(encoding="utf-8"))
        own = fluencies(result, method, lm, given.data_root)
        found[name] = is_ensemble(result["config"], method), own
    show(table(found), given.into, BEGIN, END)


if __name__ == "__main__":
    main()
