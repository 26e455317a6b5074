"""Would a prompt of its own for each input help? Asked of what trials have scored already.

    python benchmarks/trial.py "ppo, racing" --racing --logs runs/trials
    python benchmarks/input_specific.py --logs runs/trials

A policy sees an input (mean embedding of its tokens, 16 directions) and chooses one of the eight
prompts of the split that are best on train and dev together, to say more of the right label. It is
trained on train and dev with the exact gradient: the score of every prompt on every example is in
the log, so this is what a policy gradient would come to with a budget without end. How strongly it
is held back is chosen by cross-validation on the same examples. Judged on the sentences of
``trial.py`` that stand in no split; no LM forward is made.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from trial import TAKEN, TASK, pool

import rlprompt
from rlprompt.core.evaluation import FloatArray, IntArray, gold_logprobs
from rlprompt.core.prompt import Prompt
from rlprompt.lm.protocol import FrozenLM
from rlprompt.objective.evaluation_log import EvaluationLog, read_calls
from rlprompt.objective.split_scorer import SplitScorer, halves
from rlprompt.run.config import RunConfig
from rlprompt.run.final import evaluation_on
from rlprompt.run.parts import assemble

PROMPTS = 8
WIDTH = 16
PENALTIES = (0.01, 0.1, 1.0, 10.0)
FOLDS = 4


def learn(inputs: FloatArray, right: FloatArray, penalty: float) -> tuple[FloatArray, FloatArray]:
    """Trains the policy.

    Args:
        inputs: features, shape (n, width).
        right: P(right label) of each prompt, shape (n, n_prompts).
        penalty: on the squared weights; the bias of a prompt is free.

    Returns:
        Weights (width, n_prompts) and biases (n_prompts,).
    """
    x, gain = torch.tensor(inputs), torch.tensor(right)
    weights = torch.zeros(x.shape[1], gain.shape[1], dtype=torch.float64, requires_grad=True)
    biases = torch.zeros(gain.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([weights, biases], lr=0.05)
    for _ in range(300):
        policy = (x @ weights + biases).softmax(-1)
        loss = -(policy * gain).sum(-1).mean() + penalty * (weights**2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return weights.detach().numpy(), biases.detach().numpy()


def chosen(inputs: FloatArray, found: tuple[FloatArray, FloatArray]) -> IntArray:
    """Returns the likeliest prompt of each input."""
    return np.argmax(inputs @ found[0] + found[1], axis=1)


def judge(split_seed: int, logs: Path, lm: FrozenLM) -> dict[str, float]:
    """Returns mean log-likelihoods on unseen sentences, and how many prompts are in use."""
    config = RunConfig(task=TASK, split_seed=split_seed, shots=16, length=3, budget=10_000)
    path = logs / f"split-{split_seed}.jsonl"
    with EvaluationLog(path) as log:
        parts = assemble(config, rlprompt.load_task(TASK, split_seed, 16), lm, log)
        unseen = pool(16)
        judged = SplitScorer(lm, parts.question, unseen, log)
        seen = [parts.train, *parts.dev]
        prompts = list(
            dict.fromkeys(
                prompt
                for call in read_calls(path)
                if call.context == judged.context
                for prompt in call.prompts
                if all(scorer.has(prompt) for scorer in seen)
            )
        )

        def logprobs(prompt: Prompt, scorers: Sequence[SplitScorer]) -> FloatArray:
            evaluation = evaluation_on(scorers, [prompt], parts.train)
            return gold_logprobs(evaluation.calibrated, evaluation.gold)

        on_seen = {p: logprobs(p, seen) for p in prompts}
        best = sorted(prompts, key=lambda p: -np.exp(on_seen[p]).mean())[:PROMPTS]
        right = np.exp(np.stack([on_seen[p] for p in best], axis=1))
        new = np.stack([logprobs(p, [judged]) for p in best], axis=1)
    examples = [e for part in (parts.task.train, *halves(parts.task.dev)) for e in part]
    texts = [[e.fields["text"] for e in each] for each in (examples, unseen)]
    inputs = _features(lm, *texts)
    penalty = max(PENALTIES, key=lambda each: _validated(inputs[0], right, each))
    picks = chosen(inputs[1], learn(inputs[0], right, penalty))
    rows = np.arange(len(new))
    return {
        "split": split_seed,
        "candidates": len(prompts),
        "best single prompt": float(new[:, 0].mean()),
        "prompt for each input": float(new[rows, picks].mean()),
        "prompts in use": len(set(picks.tolist())),
        "penalty": penalty,
        "oracle": float(new.max(axis=1).mean()),
    }


def _features(
    lm: FrozenLM, seen: Sequence[str], unseen: Sequence[str]
) -> tuple[FloatArray, FloatArray]:
    means = np.stack([lm.embeddings(lm.tokenizer.encode(t)).mean(axis=0) for t in [*seen, *unseen]])
    means -= means.mean(axis=0)
    _, scales, directions = np.linalg.svd(means, full_matrices=False)
    inputs = means @ directions[:WIDTH].T / scales[:WIDTH] * len(means) ** 0.5
    return inputs[: len(seen)], inputs[len(seen) :]


def _validated(inputs: FloatArray, right: FloatArray, penalty: float) -> float:
    """Returns the mean P(right) of the chosen prompts, on folds left out in turn."""
    fold = np.arange(len(inputs)) % FOLDS
    values = []
    for n in range(FOLDS):
        found = learn(inputs[fold != n], right[fold != n], penalty)
        left_out = right[fold == n]
        values += left_out[np.arange(len(left_out)), chosen(inputs[fold == n], found)].tolist()
    return float(np.mean(values))


def main() -> None:
    """Reads the arguments and does it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--logs", type=Path, default=Path("runs/trials"))
    parser.add_argument("--splits", default=",".join(map(str, TAKEN[5:])))
    given = parser.parse_args()
    lm = rlprompt.load_lm(rlprompt.LMConfig("smollm2"))
    rows = []
    for seed in map(int, given.splits.split(",")):
        rows.append(judge(seed, given.logs, lm))
        print(json.dumps(rows[-1]), flush=True)
    gains = np.array([row["prompt for each input"] - row["best single prompt"] for row in rows])
    error = gains.std(ddof=1) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
    print(f"gain of a prompt for each input: {gains.mean():+.4f} ± {error:.4f} ({len(gains)})")


if __name__ == "__main__":
    main()
