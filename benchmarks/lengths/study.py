"""Length and start of a soft prompt: runs the comparison beside this file and draws its figure.

    python benchmarks/lengths/study.py --out runs/lengths

A study that was stopped goes on with the same command.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from rlprompt.report.figures import FONT, save
from rlprompt.report.labels import LINES

HERE = Path(__file__).parent


def points(comparison: dict) -> pd.DataFrame:
    """Returns a row for each method named 'INIT LENGTH'."""
    rows = pd.DataFrame(comparison["summary"])
    rows = rows[~rows["fixed"]]
    names = rows["method"].str.rsplit(" ", n=1)
    return rows.assign(init=names.str[0], length=names.str[1].astype(int)).sort_values("length")


def drawn(comparison: dict) -> Figure:
    """Draws accuracy and log-likelihood against length, a line for each start."""
    rows = points(comparison)
    fixed = {r["method"]: r for r in comparison["summary"] if r["fixed"]}
    lengths = sorted(rows["length"].unique())
    with rc_context(FONT):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        panels = figure.subplots(1, 2)
        titles = {"accuracy": "test accuracy", "log_likelihood": "test log-likelihood (nats)"}
        for axes, (metric, title) in zip(panels, titles.items(), strict=True):
            for n, (init, found) in enumerate(rows.groupby("init", sort=False)):
                axes.errorbar(
                    [lengths.index(length) + 0.06 * (n - 1.5) for length in found["length"]],
                    found[metric],
                    yerr=[
                        found[metric] - found[f"{metric}_low"],
                        found[f"{metric}_high"] - found[metric],
                    ],
                    label=init,
                    capsize=2,
                    **LINES[n % len(LINES)],
                )
            axes.axhline(fixed["manual"][metric], color="0.4", lw=0.8, ls=":", label="manual text")
            axes.set_xticks(range(len(lengths)), [str(length) for length in lengths])
            axes.set_xlabel("rows of the soft prompt")
            axes.set_ylabel(title)
        panels[1].legend(fontsize=8, title="start", loc="upper right")
    return figure


def main() -> None:
    """Reads the arguments and does it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/lengths"))
    parser.add_argument("--figures", type=Path, default=HERE / "figures")
    out, figures = vars(parser.parse_args()).values()
    command = ["compare", "--config", HERE / "config.toml", "--out", out]
    subprocess.run([sys.executable, "-m", "rlprompt", *map(str, command)], check=True)
    comparison = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    figures.mkdir(exist_ok=True)
    for path in save(drawn(comparison), figures / "lengths"):
        print(path)


if __name__ == "__main__":
    main()
