"""One table of several experiments: every method on every task.

    python benchmarks/overview.py benchmarks/movie-reviews benchmarks/sst-2 --into README.md

Reads the comparison.json of each experiment and writes the table between the marks of a file, or
prints it. Methods that are not in all experiments are left out.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from marks import show

BEGIN, END = "<!-- made by benchmarks/overview.py -->", "<!-- end of overview -->"


def table(experiments: Sequence[Path]) -> pd.DataFrame:
    """Returns mean calibrated test log-likelihood by task, and mean rank, best rank first.

    A rank is a method's place among all on one split of one task, by test log-likelihood; the mean
    is over all splits of all tasks, each counting once.
    """
    rows = []
    for folder in experiments:
        result = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
        rows += [
            {**run, "task": f"{run['task']}, {max(result['config']['budgets']):,}"}
            for run in result["runs"]
        ]
    runs = pd.DataFrame(rows)
    cells = runs.pivot_table(
        index="method", columns=["task", "split_seed"], values="test_log_likelihood"
    ).dropna()
    found = cells.T.groupby(level="task", sort=False).mean().T
    found.insert(0, "mean rank", cells.rank(ascending=False).mean(axis=1))
    return found.sort_values("mean rank")


def markdown(found: pd.DataFrame) -> str:
    """Writes the table, numbers rounded, the best of each column in bold."""
    lines = [
        "| method | " + " | ".join(found.columns) + " |",
        "| :-- |" + " --: |" * len(found.columns),
    ]
    best = {c: found[c].min() if c == "mean rank" else found[c].max() for c in found.columns}
    for method, row in found.iterrows():
        texts = [f"{row[c]:.1f}" if c == "mean rank" else f"{row[c]:.3f}" for c in found.columns]
        shown = [
            f"**{text}**" if row[c] == best[c] else text
            for c, text in zip(found.columns, texts, strict=True)
        ]
        lines.append(f"| {method} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def main() -> None:
    """Reads the arguments and does it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiments", type=Path, nargs="+", help="folders of experiments")
    parser.add_argument("--into", type=Path, help="file with the marks")
    given = parser.parse_args()
    text = markdown(table(given.experiments))
    show(text, given.into, BEGIN, END)


if __name__ == "__main__":
    main()
