"""Takes a comparison into the project, or writes an experiment's README anew.

    python benchmarks/publish.py benchmarks/movie-reviews --run runs/movie-reviews
    python benchmarks/publish.py benchmarks/movie-reviews

The first copies the numbers (comparison.json, without test items) and the figures of a comparison
into the folder of the experiment; both then write the part of its README between the marks from
these numbers alone.
"""

import argparse
import json
import shutil
from pathlib import Path

import pandas as pd

from rlprompt.report.tables import markdown

BEGIN, END = "<!-- made by benchmarks/publish.py -->", "<!-- end -->"
FIGURES = ("anytime.png", "anytime.svg")
#: Characters of a prompt that are kept.
LONGEST = 120


def take(run: Path, experiment: Path) -> None:
    """Copies numbers and figures of a comparison; of in-context prompts the beginning.

    Those are made of train examples, and data of others do not belong here.

    Raises:
        SystemExit: the comparison is not finished.
    """
    source = run / "comparison.json"
    if not source.exists():
        raise SystemExit(f"There is no {source}: rlprompt compare writes it at its end.")
    result = json.loads(source.read_text(encoding="utf-8"))
    for row in (*result["runs"], *result["summary"]):
        if len(row["prompt"]) > LONGEST:
            row["prompt"] = row["prompt"][:LONGEST] + "…"
    text = json.dumps(result, indent=2, ensure_ascii=False)
    (experiment / "comparison.json").write_text(text + "\n", encoding="utf-8")
    figures = experiment / "figures"
    figures.mkdir(exist_ok=True)
    for path in sorted((run / "figures").iterdir()):
        if path.name in FIGURES or path.name.startswith("log-likelihood"):
            shutil.copy(path, figures / path.name)


def written(experiment: Path) -> str:
    """Returns the README's part that comes from the numbers."""
    result = json.loads((experiment / "comparison.json").read_text(encoding="utf-8"))
    config, process = result["config"], result["process"]
    table = pd.DataFrame(result["summary"])
    figures = sorted((experiment / "figures").glob("*.png"))
    test = result["tasks"][0]["test"]
    lines = [
        BEGIN,
        "",
        f"{result['lm']['name']}, {config['run']['length']} tokens a prompt, "
        f"{len(config['split_seeds'])} split seeds, {len(config['seeds'])} agent seed(s), "
        f"{test['scored']:,} of {test['size']:,} test items; calibrated, with 95 % intervals over "
        "items and splits.",
        "",
        markdown(table, reward=config["reach"]),
        *(f"![{path.stem}](figures/{path.name})" for path in figures),
        "",
        *(f"- {sentence}" for sentence in result["verdict"]),
        "",
        f"{process['busy_seconds'] / 3600:.1f} hours of all processes together, "
        f"{100 * process['lm_share']:.0f} % of them inside the LM. torch "
        f"{result['versions']['torch']}, transformers {result['versions']['transformers']}, "
        f"{result['versions']['system']}.",
        "",
        END,
    ]
    return "\n".join(lines)


def main() -> None:
    """Reads the arguments and does it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", type=Path, help="folder of the experiment")
    parser.add_argument("--run", type=Path, help="folder of a finished comparison")
    given = parser.parse_args()
    if given.run is not None:
        take(given.run, given.experiment)
    readme = given.experiment / "README.md"
    before = readme.read_text(encoding="utf-8") if readme.exists() else f"{BEGIN}\n{END}\n"
    head, _, rest = before.partition(BEGIN)
    _, _, tail = rest.partition(END)
    readme.write_text(head + written(given.experiment) + tail, encoding="utf-8")


if __name__ == "__main__":
    main()
