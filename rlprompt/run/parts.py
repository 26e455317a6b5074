"""Puts the parts of a run together; knows every part and decides nothing else."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsFloat

from rlprompt.core.errors import ConfigError
from rlprompt.core.evaluation import Evaluation
from rlprompt.core.ledger import Budget
from rlprompt.core.prompt import Prompt
from rlprompt.core.result import Result
from rlprompt.lm.protocol import FrozenLM
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.selection import RacePlan, plan_race
from rlprompt.objective.split_scorer import Question, SplitScorer, halves
from rlprompt.rewards import REWARDS, Reward
from rlprompt.run.config import RunConfig
from rlprompt.tasks.registry import load_task
from rlprompt.tasks.task import Task
from rlprompt.tasks.tokenization import prompt_of
from rlprompt.tasks.vocabulary import ActionVocabulary, build_vocabulary


def task_of(config: RunConfig) -> Task:
    """Loads the task that a configuration names."""
    return load_task(
        config.task,
        config.split_seed,
        config.shots,
        data_root=config.data_root,
        words=config.words,
        template=config.template,
        columns=config.columns,
        manual_prompts=config.manual_prompts,
    )


def task_of_result(result: Result, data_root: Path | None) -> Task:
    """Makes the task of a finished run anew; whether it is still the same is the caller's to see.

    Args:
        result: of the run.
        data_root: what ``{data_root}`` stands for in a task's ``.toml`` file.

    Raises:
        RLPromptError: its data are not there.
    """
    config = result.config
    return load_task(
        config["task"],
        config["split_seed"],
        config["shots"],
        data_root=data_root,
        words=config["words"],
        template=config["template"],
        columns=config["columns"],
        manual_prompts=config["manual_prompts"],
    )


@dataclass(frozen=True)
class Plan:
    """What a run will spend; nothing is scored to know it.

    Attributes:
        budget: LM forwards of one agent, search and selection.
        race: rounds of the selection.
        n_train: train examples.
        n_dev: dev examples.
        n_test: test examples that will be scored.
        searches: how many agents search, controls included.
        manual: how many manual prompts are scored on dev.
    """

    budget: Budget
    race: RacePlan
    n_train: int
    n_dev: int
    n_test: int
    searches: int
    manual: int

    @property
    def search(self) -> Budget:
        """LM forwards of one agent's search."""
        return Budget(self.budget.forwards - self.race.cost)

    @property
    def prompts(self) -> int:
        """Distinct prompts that one agent can score on train, without reading them."""
        return self.search.forwards // self.n_train

    @property
    def final(self) -> int:
        """LM forwards beside the budgets, at most: baselines on train, dev and test."""
        candidates = self.searches + 2
        return (self.manual + 1) * (self.n_train + self.n_dev) + candidates * self.n_test

    @property
    def total(self) -> int:
        """LM forwards in all, at most."""
        return self.searches * self.budget.forwards + self.final


@dataclass(frozen=True, eq=False)
class Parts:
    """Everything a run works with.

    Attributes:
        config: what was asked.
        task: examples, template, verbalizer.
        lm: the frozen LM.
        vocabulary: what prompts may be made of.
        reward: what is searched for.
        question: template, verbalizer and room for the prompt.
        log: every score.
        plan: what will be spent.
        train: scorer of the train split.
        dev: scorers of the two halves of dev.
        manual: the task's manual prompts.
    """

    config: RunConfig
    task: Task
    lm: FrozenLM
    vocabulary: ActionVocabulary
    reward: Reward
    question: Question
    log: EvaluationLog
    plan: Plan
    train: SplitScorer
    dev: list[SplitScorer]
    manual: tuple[Prompt, ...]


def plan_of(config: RunConfig, task: Task) -> Plan:
    """Plans a run.

    Raises:
        ConfigError: the budget does not cover one prompt, or the length does not suit the template.
    """
    task.template.check_length(config.length)
    budget = Budget(config.budget)
    n_test = min(len(task.test), config.test_limit or len(task.test))
    return Plan(
        budget=budget,
        race=plan_race(budget, len(task.train), tuple(map(len, halves(task.dev)))),
        n_train=len(task.train),
        n_dev=len(task.dev),
        n_test=n_test,
        searches=1 + len(config.controls),
        manual=len(task.manual_prompts),
    )


def assemble(config: RunConfig, task: Task, lm: FrozenLM, log: EvaluationLog) -> Parts:
    """Binds task, LM and log.

    Raises:
        ConfigError: vocabulary, reward or budget are refused.
        TemplateError: template or label words do not suit the LM.
    """
    plan = plan_of(config, task)
    vocabulary = build_vocabulary(
        lm.tokenizer,
        task.verbalizer,
        task.template,
        size=config.vocabulary_size,
        language=task.language,
        whole_words=config.whole_words,
        pieces=config.pieces,
        exclude=config.exclude,
    )
    manual = tuple(prompt_of(lm.tokenizer, task.template, text) for text in task.manual_prompts)
    longest = max([config.length, *map(len, manual)])
    question = Question(task.template, task.verbalizer, longest)
    return Parts(
        config=config,
        task=task,
        lm=lm,
        vocabulary=vocabulary,
        reward=finite(config.reward, REWARDS.get(config.reward)),
        question=question,
        log=log,
        plan=plan,
        train=SplitScorer(lm, question, task.train, log),
        dev=[SplitScorer(lm, question, half, log) for half in halves(task.dev)],
        manual=manual,
    )


def finite(name: str, reward: Reward) -> Reward:
    """Returns the reward, which now refuses to be anything but a finite number."""

    def checked(evaluation: Evaluation) -> float:
        value = reward(evaluation)
        if not isinstance(value, SupportsFloat) or not math.isfinite(value):
            raise ConfigError(
                f"The reward {name!r} is {value!r} for a prompt on {len(evaluation.gold)} "
                "examples: it must be a finite number."
            )
        return float(value)

    return checked
