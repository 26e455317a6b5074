"""Draws the prompts of one run that none is as good as that is as short and as fluent.

    rlprompt optimize --task movie-reviews --lm smollm2 --agent ppo --racing --fluency 0.03 \\
        --reward calibrated_probability --length 3 --budget 10000 --out runs/fluent
    python benchmarks/front.py runs/fluent --into benchmarks/fluency/figures

Two panels, train reward and train accuracy against perplexity a token; the colour is the length.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from rlprompt.core.result import Result
from rlprompt.html.archive import Row, read_archive, task_of
from rlprompt.html.pareto import pareto_of
from rlprompt.run import folder

PANELS = {"reward on train": "reward", "accuracy on train": "accuracy"}
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#aa3377", "#66ccee")


def draw(rows: list[Row], front: tuple[Row, ...], into: Path) -> None:
    """Draws both panels; the front with its texts."""
    figure, axes = plt.subplots(1, len(PANELS), figsize=(11, 4.5), layout="constrained")
    lengths = sorted({row.n_tokens or 0 for row in rows})
    for ax, (label, side) in zip(axes, PANELS.items(), strict=True):
        for length, colour in zip(lengths, COLOURS, strict=False):
            own = [row for row in rows if row.n_tokens == length]
            ax.scatter(
                [row.perplexity for row in own],
                [getattr(row, side) for row in own],
                s=6,
                alpha=0.3,
                color=colour,
                linewidths=0,
                label=f"{length} token{'s' * (length > 1)}",
            )
        for row in front:
            colour = COLOURS[lengths.index(row.n_tokens or 0) % len(COLOURS)]
            point = (row.perplexity, getattr(row, side))
            ax.scatter(*point, s=40, color=colour, edgecolors="black", zorder=3)
            if side == "reward":
                ax.annotate(
                    row.text, point, textcoords="offset points", xytext=(5, 4), fontsize=7, zorder=4
                )
        ax.set_xscale("log")
        ax.set_xlabel("perplexity a token, under the LM")
        ax.set_ylabel(label)
        # The worst would press all others together.
        low = np.quantile([getattr(row, side) for row in rows], 0.3)
        ax.set_ylim(bottom=float(low))
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].legend(markerscale=3, frameon=False)
    into.mkdir(parents=True, exist_ok=True)
    for ending in ("png", "svg"):
        figure.savefig(into / f"front.{ending}", dpi=120)


def main() -> None:
    """Reads the arguments and does it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run with --fluency")
    parser.add_argument("--into", type=Path, required=True, help="folder of the figure")
    given = parser.parse_args()
    result = Result.load(given.run / folder.RESULT)
    archive = read_archive(given.run, result, task_of(result, None))
    pareto = pareto_of(archive)
    if pareto is None or not pareto.fluent:
        parser.error(f"{given.run} has read no prompts: give the run --fluency")
    draw([row for row in archive.rows if row.fluency is not None], pareto.front, given.into)
    for row in pareto.front:
        print(
            f"| `{row.text!r}` | {row.n_tokens} | {row.perplexity:,.0f} | {row.reward:.3f} "
            f"| {row.accuracy:.3f} |"
        )


if __name__ == "__main__":
    main()
