"""What an agent is.

An agent is a frozen dataclass of its settings with one method. The run calls it like this::

    objective = Objective(scorer, tokenizer, reward, budget, max_prompt_tokens=length)
    problem = Problem(objective, vocabulary, length, lm)
    with suppress(SearchOver):
        agent.optimize(problem, seed=seed, on_event=listener)
    best = objective.archive.best

so an agent may be an endless loop: the objective ends it. It never sees dev or test examples, and
all randomness comes from ``seed``.
"""

from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol, cast

from rlprompt.core.events import Event, OnEvent
from rlprompt.core.prompt import Prompt
from rlprompt.core.registry import Registry, make_configured
from rlprompt.lm.protocol import FrozenLM
from rlprompt.objective.objective import Objective
from rlprompt.tasks.vocabulary import ActionVocabulary


@dataclass(frozen=True)
class Problem:
    """What an agent works on.

    Attributes:
        objective: scores prompts on train, under the budget; holds the archive.
        vocabulary: the tokens a prompt may be made of.
        length: length of a prompt in tokens.
        lm: the frozen LM, for agents that want embedding rows.
    """

    objective: Objective
    vocabulary: ActionVocabulary
    length: int
    lm: FrozenLM

    def prompt(self, actions: "list[int]") -> Prompt:
        """Returns the prompt of a list of indices into the vocabulary."""
        return Prompt(tuple(self.vocabulary.token_ids[a] for a in actions))

    def event(self, message: str = "", **metrics: float) -> Event:
        """Returns a report of where the search stands."""
        objective = self.objective
        best = objective.archive.best
        return Event(
            phase="search",
            forwards=objective.ledger.forwards,
            total=objective.budget.forwards,
            best_reward=None if best is None else best.reward,
            best_text="" if best is None else objective.text(best.prompt),
            message=message,
            metrics=metrics,
        )


class Agent(Protocol):
    """Proposes prompts until the objective says that the search is over."""

    def optimize(self, problem: Problem, *, seed: int, on_event: OnEvent) -> None:
        """Spends the budget.

        Args:
            problem: objective, vocabulary, prompt length and LM.
            seed: of all the agent's randomness; same seed, same proposals.
            on_event: is told of progress, about once a batch.

        Raises:
            SearchOver: from the objective; an agent need not catch it.
        """


AGENTS: Registry[type[Agent]] = Registry("agent")
#: Settings that say how many prompts an agent proposes at once.
_BATCHES = ("batch_size", "n_envs")
for _name, _target, _summary in (
    ("ppo", "sb3.ppo:PPOAgent", "stable-baselines3's PPO, logits from the LM's embedding rows"),
    ("random", "random_search:RandomSearch", "uniform prompts: the control every number needs"),
    ("single-token", "single_token:SingleToken", "every token alone, then the best ones together"),
    ("lm-samples", "lm_samples:LMSamples", "best of N prompts sampled from the frozen LM itself"),
    ("greedy", "greedy:Greedy", "token by token, from a vocabulary pruned by single-token effect"),
    ("beam", "beam:Beam", "greedy that keeps several prefixes (ClaPS's pruned vocabulary)"),
    ("hill-climb", "hill_climb:HillClimb", "one-token substitutions, with restarts"),
    ("genetic", "genetic:Genetic", "mutation and crossover on an elite"),
    ("bayesian", "bayesian:Bayesian", "genetic proposals screened by a Gaussian process"),
    ("categorical", "categorical:Categorical", "BDPL: a policy gradient without a network"),
    ("soft-q", "soft_q:SoftQ", "RLPrompt's soft Q-learning"),
):
    AGENTS.register(_name, f"rlprompt.agents.{_target}", _summary)


def make_agent(name: str, settings: dict[str, Any]) -> Agent:
    """Makes an agent from its registered name or import path and its settings.

    Raises:
        ConfigError: the name or a setting is unknown, with the nearest one, or a value is refused.
    """
    made = make_configured(AGENTS, name, settings, method="optimize", same_kind=_same_kind)
    return cast(Agent, made)


def generation(agent: Agent) -> int:
    """Returns how many prompts an agent proposes at once, by its setting; 1 if it has none."""
    names: list[str] = [f.name for f in fields(agent)] if is_dataclass(agent) else []
    return max([1, *(getattr(agent, name) or 1 for name in _BATCHES if name in names)])


def _same_kind(value: object, default: object) -> bool:
    """Whether a setting is of its default's type; defaults that are no plain value allow all."""
    if isinstance(default, tuple):
        return isinstance(value, list | tuple)
    if isinstance(default, float):
        return type(value) in (int, float)
    return not isinstance(default, bool | int | str) or type(value) is type(default)
