"""What a batch costs that mixes tasks, against batches of one task each.

    python benchmarks/tuning/mixed.py [--lm smollm2] [--texts 128]

Four tasks on one loaded LM: two text prompts and two soft ones (embeddings of words, untrained,
which cost the same), of two templates and two sets of labels. The same texts are labelled with all
tasks mixed, and then task by task; both have the same rows.
"""

import argparse
import json
import time
from typing import Any

import numpy as np

import rlprompt
from rlprompt.lm.gradients import looked_up
from rlprompt.tasks.template import Template

SENTIMENT = {"negative": ["bad"], "positive": ["good"]}
TOPIC = {"film": ["film"], "book": ["book"], "music": ["music"]}


def tasks_of(lm: Any) -> dict[str, rlprompt.Learned]:
    """Returns two text prompts and two soft ones."""
    behind, before = Template("{text}{prompt}"), Template("{prompt}{text} It was about")
    ids = lm.tokenizer.encode(" in short this film is")
    soft = looked_up(lm.model, ids)
    return {
        "text": rlprompt.Learned(behind, tuple(SENTIMENT), SENTIMENT, text=" In short, it is"),
        "text before": rlprompt.Learned(before, tuple(TOPIC), TOPIC, text="Topic: "),
        "soft": rlprompt.Learned(behind, tuple(SENTIMENT), SENTIMENT, soft=soft),
        "soft before": rlprompt.Learned(before, tuple(TOPIC), TOPIC, soft=soft[:3].clone()),
    }


def main() -> None:
    """Measures and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lm", default="smollm2")
    parser.add_argument("--texts", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    lm = rlprompt.load_lm(rlprompt.LMConfig(given.lm))
    predictor = rlprompt.MultiTaskPredictor(lm, tasks_of(lm))
    names = list(predictor.tasks)
    task = rlprompt.load_task("movie-reviews", 0, -(-given.texts // 2))
    asked = [
        (names[n % len(names)], example.fields["text"])
        for n, example in enumerate(list(task.train)[: given.texts])
    ]
    alone = [[each for each in asked if each[0] == name] for name in names]
    predictor.predict(asked[:8])
    seconds: dict[str, list[float]] = {"mixed": [], "task by task": []}
    for _ in range(given.repeats):
        started = time.perf_counter()
        mixed = predictor.predict(asked)
        seconds["mixed"].append(time.perf_counter() - started)
        started = time.perf_counter()
        single = [prediction for texts in alone for prediction in predictor.predict(texts)]
        seconds["task by task"].append(time.perf_counter() - started)
    ordered = [p for name in names for (own, _), p in zip(asked, mixed, strict=True) if own == name]
    difference = max(
        float(np.abs(np.subtract([*a.probabilities.values()], [*b.probabilities.values()])).max())
        for a, b in zip(ordered, single, strict=True)
    )
    best = {name: min(each) for name, each in seconds.items()}
    print(
        json.dumps(
            {
                "lm": given.lm,
                "texts": len(asked),
                "mixed_over_task_by_task": best["mixed"] / best["task by task"],
                "max_difference": difference,
                "seconds": seconds,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
