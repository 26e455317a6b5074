"""What racing would have saved in runs that are finished: their scores again, no LM.

    python benchmarks/racing/simulate.py RUN_FOLDER... [--pool] [--orders 4] [--after 50 100 200]

RUN_FOLDER is what `rlprompt optimize --agent random --out RUN_FOLDER` leaves, without --racing (or
with the agent lm-samples). Its prompts of full length come again in random orders, in batches of
16, through the real objective, with several settings of racing. --pool joins the train sets of all
the folders into a large one, for the prompts that all of them scored (as with the same seed and
several --split-seed).

shares     of the heats; "doubling" is the default: an eighth first, or less where train is large
best@n     mean reward of the best prompt after the forwards that n prompts cost in full
forwards   paid for all the prompts, of what they cost in full
kept       how often the best of all the prompts came through
until      forwards until it was scored in full, of those that it takes without racing, where kept
dropped    share of the 8 best prompts that were dropped
"""

import argparse
import base64
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlprompt.core.evaluation import FloatArray
from rlprompt.core.ledger import Budget
from rlprompt.core.prompt import Prompt
from rlprompt.lm.protocol import Identity, Meter
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.objective import Objective
from rlprompt.objective.racing import Racing
from rlprompt.objective.split_scorer import Question, SplitScorer
from rlprompt.rewards import REWARDS
from rlprompt.run.config import RunConfig
from rlprompt.run.folder import CONFIG, EVALUATIONS
from rlprompt.run.parts import task_of
from rlprompt.tasks.examples import Example, Split
from rlprompt.tasks.task import Task

BATCH = 16
BUDGETS = (50, 100, 200)
TOP = 8
HALF, THREE, FOUR = (0.5, 0.5), (0.25, 0.25, 0.5), (0.125, 0.125, 0.25, 0.5)
SETTINGS = (
    None,
    Racing(),
    *(Racing(shares, 8, 1.5) for shares in (HALF, THREE, FOUR)),
    *(Racing(FOUR, 8, margin) for margin in (0.5, 1.0, 2.0)),
    *(Racing(FOUR, rival, 1.5) for rival in (1, 4, 16)),
)


@dataclass(frozen=True)
class Recorded:
    """Stands in for the LM of a run and its tokenizer; a text is the ids, written out."""

    config: RunConfig
    task: Task
    train: Split
    scores: dict[Prompt, FloatArray]
    meter: Meter
    identity = Identity("recorded", "causal", "", "float32", "", "")
    vocab_size = 0
    special_ids = frozenset[int]()

    @property
    def tokenizer(self) -> "Recorded":
        return self

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(map(int, text.split()))

    def encode_all(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        return [*map(self.encode, texts)]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(f" {each}" for each in ids)

    def embeddings(self, ids: Sequence[int]) -> FloatArray:
        raise NotImplementedError

    def bind(
        self, template: object, verbalizer: object, examples: Sequence[Example], **_: object
    ) -> "RecordedScorer":
        return RecordedScorer(self.scores, [self.train.examples.index(each) for each in examples])

    def prompts(self) -> list[Prompt]:
        """The prompts of full length whose prefixes are all known."""
        full = [p for p in self.scores if len(p) == self.config.length]
        return [p for p in full if all(prefix in self.scores for prefix in p.prefixes())]


@dataclass(frozen=True)
class RecordedScorer:
    scores: dict[Prompt, FloatArray]
    rows: list[int]
    truncated = 0
    prefixes_are_free = True

    @property
    def n_examples(self) -> int:
        return len(self.rows)

    def choice_logprobs(self, prompts: Sequence[Prompt]) -> FloatArray:
        return np.stack([self.scores[p][self.rows] for p in prompts])

    def prefix_logprobs(self, prompts: Sequence[Prompt]) -> list[FloatArray]:
        return [self.choice_logprobs(p.prefixes()) for p in prompts]


def read(folder: Path) -> Recorded:
    """Reads a run: its train split, and of all contexts of that size the one of most prompts."""
    config = RunConfig.parse(json.loads((folder / CONFIG).read_text()))
    task = task_of(config)
    contexts: dict[str, dict[Prompt, FloatArray]] = defaultdict(dict)
    for line in (folder / EVALUATIONS).read_text().splitlines():
        entry = json.loads(line)
        if len(entry["shape"]) == 3 and entry["shape"][1] == len(task.train):
            values = np.frombuffer(base64.b64decode(entry["data"]), "<f4").reshape(entry["shape"])
            prompts = [Prompt(tuple(ids)) for ids in entry["prompts"]]
            contexts[entry["context"]] |= dict(zip(prompts, values.astype(float), strict=True))
    return Recorded(config, task, task.train, max(contexts.values(), key=len), Meter())


def pool(runs: list[Recorded]) -> Recorded:
    first = runs[0]
    common = [p for p in first.scores if all(p in run.scores for run in runs)]
    examples = tuple(example for run in runs for example in run.train.examples)
    scores = {p: np.concatenate([run.scores[p] for run in runs]) for p in common}
    return Recorded(first.config, first.task, Split("train", examples), scores, Meter())


def search(run: Recorded, prompts: list[Prompt], racing: Racing | None) -> Objective:
    question = Question(run.task.template, run.task.verbalizer, run.config.length)
    objective = Objective(
        SplitScorer(run, question, run.train, EvaluationLog()),
        run.tokenizer,
        REWARDS.get(run.config.reward),
        Budget(len(prompts) * len(run.train)),
        max_prompt_tokens=run.config.length,
        racing=racing,
    )
    for start in range(0, len(prompts), BATCH):
        objective.evaluate(prompts[start : start + BATCH])
    return objective


def measure(
    plain: Objective, raced: Objective, prompts: list[Prompt], budgets: Sequence[int]
) -> Iterator[float]:
    for n in budgets:
        afforded = [e for e in raced.archive.trace if e.found_at <= n * plain.n_examples]
        yield afforded[-1].reward if afforded else np.nan
    yield raced.ledger.forwards / plain.ledger.forwards
    best = plain.archive.best
    assert best is not None
    found = [e.found_at for e in raced.archive.trace if e.prompt == best.prompt]
    yield float(bool(found))
    yield found[0] / best.found_at if found else np.nan
    top = [e.prompt for e in plain.archive.ranked() if len(e.prompt) == len(prompts[0])][:TOP]
    yield np.mean([p not in raced.archive for p in top])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("--pool", action="store_true", help="join the train sets into one")
    parser.add_argument("--orders", type=int, default=4, help="random orders of the prompts")
    parser.add_argument(
        "--after", nargs="+", type=int, default=BUDGETS, metavar="N", help="n of best@n"
    )
    asked = parser.parse_args()
    runs = [read(folder) for folder in asked.folders]
    rows: dict[Racing | None, list[list[float]]] = {setting: [] for setting in SETTINGS}
    for run in [pool(runs)] if asked.pool else runs:
        for seed in range(asked.orders):
            prompts = run.prompts()
            np.random.default_rng(seed).shuffle(prompts)  # type: ignore[arg-type]
            plain = search(run, prompts, None)
            for setting in SETTINGS:
                raced = search(run, prompts, setting) if setting else plain
                rows[setting].append([*measure(plain, raced, prompts, asked.after)])
    print("| shares | rival | margin |", *(f"best@{n} |" for n in asked.after), end=" ")
    print("forwards | kept | until | dropped |\n|" + "---|" * (7 + len(asked.after)))
    for setting, values in rows.items():
        shares = "all at once"
        if setting:
            shares = " ".join(f"{s:g}" for s in setting.shares) if setting.shares else "doubling"
        how = [shares, *([str(setting.rival), f"{setting.margin:g}"] if setting else ["", ""])]
        print("|", *(f"{each} |" for each in how), end=" ")
        means = np.nanmean(values, axis=0)
        print(*(f"{value:.{4 if n < len(asked.after) else 2}f} |" for n, value in enumerate(means)))


if __name__ == "__main__":
    main()
