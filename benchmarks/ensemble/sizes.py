"""How many prompts should be averaged? Simulated splits over one table of scores.

    rlprompt compare --config benchmarks/movie-reviews/config.toml --budgets 10000 \
        --agents ppo,genetic,lm-samples,random --split-seeds 301,302,303 --out runs/other-splits
    python benchmarks/ensemble/sizes.py runs/other-splits

The best prompts on train of each split of a comparison on movie-reviews, and some others, are
scored on sentences that are in no split of it and in none of the splits of the tables here. Then,
many times: a train and a dev set are drawn from these sentences, the prompts are raced as in a run,
and the mean of the first k is scored on all other sentences. No test example is read.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

import rlprompt
from rlprompt.core.evaluation import Evaluation, FloatArray, IntArray, gold_logprobs, pool
from rlprompt.core.prompt import Prompt
from rlprompt.objective.evaluation_log import read_calls
from rlprompt.tasks.examples import Example
from rlprompt.tasks.movie_reviews import load_sentences

#: Split seeds of the tables in the project.
PUBLISHED = (13, 21, 42, 87, 100)
SIZES = (1, 2, 3, 4, 6, 8)
SHOTS = 16


def archive(folder: Path, count: int, generator: np.random.Generator) -> list[Prompt]:
    """Returns the best prompts of a split's log on its largest context, and half as many others."""
    task = rlprompt.load_task("movie-reviews", int(folder.name.rpartition("-")[2]), SHOTS)
    gold = np.asarray(task.train.gold)
    found: dict[str, dict[Prompt, float]] = {}
    for call in read_calls(folder / "evaluations.jsonl"):
        for prompt, scores in zip(call.prompts, call.scores, strict=True):
            if len(scores) == len(gold):
                known = Evaluation(np.asarray(scores, np.float64), gold).calibrated
                reward = float(gold_logprobs(known, gold).mean())
                found.setdefault(call.context, {})[prompt] = reward
    rewards = max(found.values(), key=len)
    ranked = sorted(rewards, key=lambda prompt: -rewards[prompt])
    others = generator.permutation(len(ranked) - count)[: count // 2] + count
    return [*ranked[:count], *(ranked[n] for n in others.tolist())]


def sentences(seeds: list[int], count: int, generator: np.random.Generator) -> list[Example]:
    """Draws as many sentences of each label that are in no split of these seeds."""
    used = set()
    for seed in seeds:
        task = rlprompt.load_task("movie-reviews", seed, SHOTS)
        test = task.test.open("to leave its texts out of a study")
        used |= {
            example.fields["text"] for split in (task.train, task.dev, test) for example in split
        }
    free = [example for example in load_sentences() if example.fields["text"] not in used]
    order = [free[n] for n in generator.permutation(len(free))]
    return [e for label in (0, 1) for e in [e for e in order if e.label == label][:count]]


def likelihood(scores: FloatArray, gold: IntArray, train: IntArray, on: IntArray) -> float:
    """Mean log-probability of the right label on some sentences, calibrated on others."""
    bias = Evaluation(scores[train], gold[train]).bias
    known = Evaluation(scores[on], gold[on], bias).calibrated
    return float(gold_logprobs(known, gold[on]).mean())


def draw(scores: FloatArray, gold: IntArray, generator: np.random.Generator) -> dict[int, float]:
    """Returns what ensembles of several sizes come to on one simulated split."""
    places = [generator.permutation(np.flatnonzero(gold == label)) for label in (0, 1)]
    train = np.concatenate([each[:SHOTS] for each in places])
    both = np.concatenate([each[: 2 * SHOTS] for each in places])
    test = np.concatenate([each[2 * SHOTS :] for each in places])
    seen = generator.permutation(len(scores))[: len(scores) // 2]
    on_train = sorted(seen, key=lambda p: -likelihood(scores[p], gold, train, train))
    ranked = sorted(on_train[:32], key=lambda p: -likelihood(scores[p], gold, train, both))
    return {
        size: likelihood(pool([scores[p] for p in ranked[:size]]), gold, train, test)
        for size in SIZES
    }


def main() -> None:
    """Reads the arguments and does it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("comparison", type=Path)
    parser.add_argument("--prompts", type=int, default=40, help="the best of each split")
    parser.add_argument("--sentences", type=int, default=200, help="of each label")
    parser.add_argument("--draws", type=int, default=300)
    given = parser.parse_args()
    generator = np.random.default_rng(0)
    folders = sorted((given.comparison / "movie-reviews").glob("split-*"))
    prompts = list(
        dict.fromkeys(p for each in folders for p in archive(each, given.prompts, generator))
    )
    seeds = [int(each.name.rpartition("-")[2]) for each in folders]
    examples = sentences([*seeds, *PUBLISHED], given.sentences, generator)
    task, lm = rlprompt.load_task("movie-reviews", 0, SHOTS), rlprompt.load_lm(rlprompt.LMConfig())
    longest = max(map(len, prompts))
    scorer = lm.bind(task.template, task.verbalizer, examples, max_prompt_tokens=longest)
    scores = np.concatenate(
        [scorer.choice_logprobs(prompts[n : n + 16]) for n in range(0, len(prompts), 16)]
    )
    gold = np.asarray([example.label for example in examples])
    rows = pd.DataFrame([draw(scores, gold, generator) for _ in range(given.draws)])
    gain = rows.sub(rows[1], axis=0)
    error = gain.std() / len(gain) ** 0.5
    print(json.dumps({"prompts": len(prompts), "sentences": len(examples), "draws": len(rows)}))
    print(
        pd.DataFrame({"log-likelihood": rows.mean(), "gain": gain.mean(), "error": error}).round(4)
    )


if __name__ == "__main__":
    main()
