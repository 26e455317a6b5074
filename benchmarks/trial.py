"""Tries a method on split seeds of movie-reviews that no benchmark uses; scores no test split.

    python benchmarks/trial.py "ppo, no prior" --agent ppo --set lm_prior=0 --splits 301,302
    python benchmarks/trial.py --table --into benchmarks/trials/README.md

What a search selects is judged on 500 sentences of the pool that stand in no split, test included,
of the splits that benchmarks and trials use: so that hyper-parameters, rewards and rules of
selection are chosen without a look at any test. A row a split goes to trials/results.jsonl;
scores are kept in the folder --logs, and a search whose prompts were scored before is free.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from marks import show

import rlprompt
from rlprompt.agents.protocol import make_agent
from rlprompt.core.events import Event
from rlprompt.core.ledger import Ledger
from rlprompt.core.result import SplitScores
from rlprompt.lm.protocol import FrozenLM
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.fluency import ENOUGH, Fluency
from rlprompt.objective.split_scorer import SplitScorer
from rlprompt.run.config import RunConfig
from rlprompt.run.final import evaluation_on
from rlprompt.run.parts import assemble
from rlprompt.run.search import search
from rlprompt.tasks.examples import Split
from rlprompt.tasks.movie_reviews import load_sentences

RESULTS = Path(__file__).parent / "trials" / "results.jsonl"
BEGIN, END = "<!-- made by benchmarks/trial.py -->", "<!-- end -->"
#: Of the benchmarks, and for trials.
TAKEN = (13, 21, 42, 87, 100, *range(301, 309))
POOL = 500
TOP = 8
TASK = "movie-reviews"


def pool(shots: int) -> Split:
    """Draws sentences that stand in no split, as many of each label."""
    used: set[str] = set()
    for seed in TAKEN:
        task = rlprompt.load_task(TASK, seed, shots)
        test = task.test.open("to leave its texts out of a trial")
        used |= {e.fields["text"] for part in (task.train, task.dev, test) for e in part}
    free = [e for e in load_sentences() if e.fields["text"] not in used]
    generator = np.random.default_rng(0)
    chosen = []
    for label in (0, 1):
        own = [e for e in free if e.label == label]
        chosen += [own[i] for i in generator.permutation(len(own))[: POOL // 2]]
    return Split("pool", tuple(chosen))


def trial(config: RunConfig, lm: FrozenLM, unseen: Split, log: EvaluationLog) -> dict[str, Any]:
    """Searches, selects, and judges the eight best of the selection on unseen sentences."""
    task = rlprompt.load_task(TASK, config.split_seed, config.shots)
    parts = assemble(config, task, lm, log)
    told: list[tuple[int, float]] = []

    def listen(event: Event) -> None:
        if "new" in event.metrics:
            told.append((event.forwards, event.metrics["new"]))

    agent = make_agent(config.agent, dict(config.agent_settings))
    outcome = search(parts, config.agent, agent, listen)
    best = outcome.best(TOP)
    judge = SplitScorer(lm, parts.question, unseen, log)
    judge.logprobs(best, Ledger())
    fluency = Fluency(parts.train)
    fluency.read(best, Ledger())

    def judged(count: int) -> SplitScores:
        return SplitScores.of(evaluation_on([judge], best[:count], parts.train))

    late = [new for forwards, new in told if forwards > 2 / 3 * outcome.search.forwards]
    each = [SplitScores.of(evaluation_on([judge], [p], parts.train)) for p in best]
    return {
        "selected": each[0].log_likelihood,
        "selected_accuracy": each[0].accuracy,
        "of_4": judged(4).log_likelihood,
        "of_8": judged(TOP).log_likelihood,
        "mean_of_8": float(np.mean([scores.log_likelihood for scores in each])),
        "best_train_reward": outcome.trace[-1].reward,
        "fluency": fluency.of(best[0]),
        "new_in_last_third": float(np.mean(late)) if late else None,
        "text": lm.tokenizer.decode(best[0].ids),
    }


def table() -> str:
    """Returns the trials as Markdown; gains over the reference on the splits that both have."""
    rows = _rows()
    by: dict[str, dict[int, dict[str, Any]]] = {}
    for row in rows:
        by.setdefault(row["trial"], {})[row["split"]] = row
    lines = [
        "| trial | splits | selected | its accuracy | mean of 8 | average of 4 "
        "| best train reward | perplexity | new in the last third | against | mean of 8: gain "
        "| average of 4: gain |",
        "| :-- | --: | --: | --: | --: | --: | --: | --: | --: | :-- | --: | --: |",
    ]
    for name, own in by.items():
        against = next(iter(own.values())).get("against")
        cells = [
            f"{_mean(own, key):.4f}"
            for key in ("selected", "selected_accuracy", "mean_of_8", "of_4", "best_train_reward")
        ]
        read = [r["fluency"] for r in own.values() if "fluency" in r]
        cells.append(f"{np.exp(-np.mean(read)):.0f}" if read else "")
        new = [r["new_in_last_third"] for r in own.values() if r["new_in_last_third"] is not None]
        cells += [f"{min(new):.2f} to {max(new):.2f}" if new else "", against or ""]
        cells += [_gain(own, by.get(against, {}), key) for key in ("mean_of_8", "of_4")]
        lines.append(f"| {name} | {len(own)} | " + " | ".join(cells) + " |")
    forwards = sum(row["budget"] for row in rows)
    lines += ["", f"{len(rows)} searches, {forwards:,} LM forwards."]
    return "\n".join(lines)


def _rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


def _gain(own: dict[int, dict[str, Any]], other: dict[int, dict[str, Any]], key: str) -> str:
    gains = [row[key] - other[split][key] for split, row in own.items() if split in other]
    if not gains:
        return ""
    error = f" ± {np.std(gains, ddof=1) / len(gains) ** 0.5:.4f}" if len(gains) > 1 else ""
    return f"{np.mean(gains):+.4f}{error} ({len(gains)})"


def _mean(rows: dict[int, dict[str, Any]], key: str) -> float:
    return float(np.mean([row[key] for row in rows.values()]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the arguments and does it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trial", nargs="?", help="its name in the table")
    parser.add_argument("--agent", default="ppo")
    parser.add_argument("--set", action="append", default=[], help="agent setting NAME=VALUE")
    parser.add_argument("--reward", default="calibrated_probability")
    parser.add_argument("--racing", action="store_true")
    parser.add_argument("--fluency", type=float, default=0.0)
    parser.add_argument("--perplexity", type=float, default=ENOUGH)
    parser.add_argument("--budget", type=int, default=10_000)
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--length", type=int, default=3)
    parser.add_argument("--splits", default="301,302,303,304")
    parser.add_argument("--against", help="trial that it is compared with")
    parser.add_argument("--logs", type=Path, default=Path("runs/trials"))
    parser.add_argument("--table", action="store_true", help="write the table, try nothing")
    parser.add_argument("--into", type=Path, help="file with the marks")
    given = parser.parse_args(arguments)
    if given.table:
        show(table(), given.into, BEGIN, END)
        return
    if not given.trial:
        parser.error("give the trial a name")
    known = {row["trial"] for row in _rows()}
    if given.against and given.against not in known:
        parser.error(f"no trial {given.against!r} among {', '.join(sorted(known))}")
    settings = {k: json.loads(v) for k, v in (pair.split("=", 1) for pair in given.set)}
    lm, unseen = rlprompt.load_lm(rlprompt.LMConfig("smollm2")), pool(given.shots)
    for seed in map(int, given.splits.split(",")):
        if seed not in TAKEN[5:]:
            parser.error(f"split {seed} is not one for trials: {TAKEN[5:]}")
        config = RunConfig(
            task=TASK,
            agent=given.agent,
            agent_settings=settings,
            reward=given.reward,
            racing=given.racing,
            fluency=given.fluency,
            perplexity=given.perplexity,
            budget=given.budget,
            shots=given.shots,
            length=given.length,
            split_seed=seed,
        )
        with EvaluationLog(given.logs / f"split-{seed}.jsonl") as log:
            row = {"trial": given.trial, "split": seed, "budget": given.budget}
            row |= trial(config, lm, unseen, log)
        row |= {"against": given.against} if given.against else {}
        print(json.dumps(row), flush=True)
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
