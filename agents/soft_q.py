"""Soft Q-learning over prompts: RLPrompt's agent, with its settings or some for small budgets."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from rlprompt.agents.moves import Actions, Search
from rlprompt.agents.protocol import Problem
from rlprompt.core.errors import ConfigError, suggest
from rlprompt.core.events import OnEvent

# Settings are checked, and a plan is shown, without the seconds that torch takes to load.
if TYPE_CHECKING:
    import torch

    from rlprompt.agents.soft_q_losses import QNetwork

#: Least log-probability that a prior counts with, nats.
LEAST = -30.0


class Remembered(NamedTuple):
    """A prompt in the memory.

    Attributes:
        actions: the prompt.
        reward: of it.
        prior: log-probabilities it was drawn with, shape (L, A); None without a prior.
    """

    actions: Actions
    reward: float
    prior: "torch.Tensor | None"


@dataclass(frozen=True)
class SoftQSettings:
    """All settings of :class:`SoftQ`, made; its attributes say what they mean."""

    batch_size: int
    learning_rate: float
    gradient_steps: int
    memory: int
    sampled: int
    target_rate: float
    reward_scale: float
    top_k: int
    hidden: int
    embedding_width: int
    draws: int
    learn_values: bool
    clip_norm: float
    patience: int
    lm_prior: float
    prior_draws: int


PRESETS = {
    "small-budget": SoftQSettings(
        batch_size=16,
        learning_rate=1e-2,
        gradient_steps=8,
        memory=100_000,
        sampled=64,
        target_rate=0.1,
        reward_scale=10.0,
        top_k=256,
        hidden=64,
        embedding_width=64,
        draws=8,
        learn_values=True,
        clip_norm=5.0,
        patience=3,
        lm_prior=1.0,
        prior_draws=2,
    ),
    "published": SoftQSettings(
        batch_size=16,
        learning_rate=5e-5,
        gradient_steps=1,
        memory=16,
        sampled=16,
        target_rate=1e-3,
        reward_scale=5.0,
        top_k=256,
        hidden=2048,
        embedding_width=768,
        draws=1,
        learn_values=False,
        clip_norm=5.0,
        patience=10,
        lm_prior=0.0,
        prior_draws=1,
    ),
}


@dataclass(frozen=True)
class SoftQ:
    """Soft Q-learning (Guo et al. 2021, arXiv:2106.07704) as in RLPrompt (Deng et al., EMNLP 2022).

    A network gives every next token a Q-value. Prompts are drawn from the softmax over the highest
    ones and scored; rewards are standardized; the network learns the mean of the single-step and
    the multi-step path-consistency loss against a target network that follows it slowly. The
    equations are in ``soft_q_losses``.

    A setting that is left out is the preset's. The preset ``published`` has the values of
    arXiv:2205.12548 and of github.com/mingkaid/rl-prompt for few-shot classification, made for
    12,000 batches; ``small-budget`` those that were tuned on planted problems at 360 prompts. It
    replays everything scored so far, which soft Q-learning may, being off-policy; it proposes only
    prompts that are new; and it learns the level of Q, which the published losses do not (see
    ``soft_q_loss``) and which replay needs.

    What differs from RLPrompt in both presets:

    - The state is the frozen LM's embedding rows of the prompt so far, by position, reduced to
      their main directions; distilGPT-2's hidden state in RLPrompt, which would cost LM forwards.
      So the one hidden layer has as many inputs as rows at all positions have entries, not 768;
      it is a tanh, not a ReLU. Its output times the frozen rows is Q, as there.
    - Q has a bias for each token and position, and one for each position which begins at the
      uniform policy's value; in RLPrompt logits begin at 0.
    - The reward is the problem's, not the piecewise gap with its two weights.
    - A policy that has collapsed is replaced; its memory stays. When two in a row found nothing
      new, the neighbours of the best prompts are scored instead.
    - The best prompt is the best one seen, not the one of highest Q in the end.

    With ``lm_prior``, which ``small-budget`` has, the policy begins as the frozen LM itself: the
    LM's next-token probabilities, behind a train example drawn for each prompt, are the prior that
    Q is learned on top of, and nearness to them takes the place of entropy.

    Attributes:
        preset: where the settings that are None come from: ``small-budget`` or ``published``.
        batch_size: prompts scored in one LM call.
        learning_rate: Adam's step size.
        gradient_steps: after each batch.
        memory: how many of the latest prompts are trained on; 16 is the batch alone. Their rewards
            are standardized together.
        sampled: prompts of a gradient step, drawn from the memory.
        target_rate: of the Polyak average, a gradient step.
        reward_scale: standard deviation of the standardized rewards: the inverse temperature.
        top_k: tokens that may be drawn, those of highest Q.
        hidden: units of the hidden layer.
        embedding_width: directions of the embedding rows that the network sees.
        draws: with more than 1, so many times a batch are drawn, and the first new prompts of them
            scored; with 1 all that are drawn are scored, new or not.
        learn_values: whether the level of Q is learned.
        clip_norm: of the gradient.
        patience: batches in a row, with less than a quarter new, after which the policy counts as
            collapsed.
        lm_prior: weight of the LM's log-probabilities; 0 for none. One LM forward a prompt that is
            drawn, charged; left out where the LM cannot (the prompt stands before the input) or the
            budget is below one batch.
        prior_draws: in place of ``draws`` with a prior, since a draw then costs a forward.
    """

    preset: str = "small-budget"
    batch_size: int | None = None
    learning_rate: float | None = None
    gradient_steps: int | None = None
    memory: int | None = None
    sampled: int | None = None
    target_rate: float | None = None
    reward_scale: float | None = None
    top_k: int | None = None
    hidden: int | None = None
    embedding_width: int | None = None
    draws: int | None = None
    learn_values: bool | None = None
    clip_norm: float | None = None
    patience: int | None = None
    lm_prior: float | None = None
    prior_draws: int | None = None

    @classmethod
    def published(cls, **settings: Any) -> "SoftQ":
        """Returns the agent with RLPrompt's settings, but for those given."""
        return cls(preset="published", **settings)

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant.

        Raises:
            ConfigError: with the setting and its range, or with the packages that are missing.
        """
        if find_spec("torch") is None:
            raise ConfigError("The agent 'soft-q' needs torch: pip install 'rlprompt[hf]'.")
        if self.preset not in PRESETS:
            raise ConfigError(
                f"There is no preset {self.preset!r}.{suggest(str(self.preset), PRESETS)} "
                f"Write one of: {', '.join(PRESETS)}."
            )
        for field in fields(SoftQSettings):
            value = getattr(self, field.name)
            if value is not None:
                _check(field.name, value, getattr(PRESETS[self.preset], field.name))

    @property
    def settings(self) -> SoftQSettings:
        """The settings given, those of the preset for the others."""
        preset = PRESETS[self.preset]
        names = [field.name for field in fields(SoftQSettings)]
        given = {name: getattr(self, name) for name in names}
        return SoftQSettings(
            **{n: getattr(preset, n) if value is None else value for n, value in given.items()}
        )

    def optimize(self, problem: Problem, *, seed: int, on_event: OnEvent) -> None:
        """Learns until the budget is spent, with a new network after each collapse."""
        from rlprompt.agents.embeddings import reduce_embeddings

        settings = self.settings
        search = Search(problem, seed=seed, on_event=on_event, batch_size=settings.batch_size)
        rows = problem.lm.embeddings(problem.vocabulary.token_ids)
        learner = _Learner(settings, search, reduce_embeddings(rows, settings.embedding_width))
        fruitless = 0
        while fruitless < 2:
            fruitless = 0 if learner.live() else fruitless + 1
        search.climb()


def _check(name: str, value: object, like: object) -> None:
    """Refuses a value of another type than the preset's, or out of range."""
    if isinstance(like, bool):
        if not isinstance(value, bool):
            raise ConfigError(f"{name} of the agent 'soft-q' must be true or false, not {value!r}.")
    elif isinstance(like, int):
        if type(value) is not int or value < 1:
            raise ConfigError(f"{name} must be a whole number of 1 or more, not {value!r}.")
    elif name == "lm_prior":
        if type(value) not in (int, float) or not 0 <= float(str(value)) < math.inf:
            raise ConfigError(f"lm_prior must be 0 or more, not {value!r}.")
    elif type(value) not in (int, float) or not 0 < float(str(value)) < math.inf:
        raise ConfigError(f"{name} must be a positive number, not {value!r}.")
    elif name == "target_rate" and float(str(value)) > 1:
        raise ConfigError(f"target_rate must lie in (0, 1], not {value!r}.")


class _Learner:
    """One search: the memory, which outlives networks, and one network after the other."""

    def __init__(self, settings: SoftQSettings, search: Search, rows: Any) -> None:
        self._settings = settings
        self._search = search
        self._rows = rows
        self._memory: list[Remembered] = []
        self._networks = 0
        objective = search.problem.objective
        # An opinion costs a forward for each draw, before prompts are paid.
        batch = settings.batch_size * (objective.cost + settings.prior_draws)
        can = objective.predicts_tokens and objective.budget.forwards >= batch
        self._weight = settings.lm_prior if can else 0.0
        self._draws = settings.prior_draws if self._weight else settings.draws

    def live(self) -> bool:
        """Trains a network until its policy collapses; returns whether it found anything new.

        Raises:
            SearchOver: from the objective.
        """
        import torch

        settings, search = self._settings, self._search
        generator = torch.Generator().manual_seed(int(search.generator.integers(2**31)))
        network, training = self._new_network(generator)
        self._networks += 1
        metrics: dict[str, float] = {}
        found = stale = 0
        while stale < settings.patience:
            batch, priors = self._propose(network, generator)
            new = sum(search.is_new(actions) for actions in dict.fromkeys(batch))
            metrics |= {"new": new / settings.batch_size, "networks": float(self._networks)}
            scored = search.score(batch, metrics)
            self._memory += [
                Remembered(actions, each.reward, prior)
                for actions, each, prior in zip(batch, scored, priors, strict=True)
            ]
            del self._memory[: -settings.memory]
            metrics["loss"] = next(training)
            found += new
            stale = 0 if 4 * new >= settings.batch_size else stale + 1
        return found > 0

    def _propose(
        self, network: "QNetwork", generator: "torch.Generator"
    ) -> "tuple[list[Actions], list[torch.Tensor | None]]":
        """Draws prompts; returns those to score, each with its prior."""
        import torch

        settings, problem = self._settings, self._search.problem
        count = settings.batch_size * self._draws
        asked: list[torch.Tensor] = []
        prior = None
        if self._weight:
            n_examples = problem.objective.n_examples
            rows = self._search.generator.integers(0, n_examples, count).tolist()

            def prior(unfinished: "torch.Tensor") -> "torch.Tensor":
                found = problem.objective.next_token_logprobs(
                    rows,
                    [problem.prompt(actions) for actions in unfinished.tolist()],
                    problem.vocabulary.token_ids,
                )
                opinion = torch.tensor(found, dtype=torch.float32) * self._weight
                asked.append(opinion.clamp(min=LEAST))
                return asked[-1]

        actions = network.sample(count, settings.top_k, generator, prior)
        drawn: list[Actions] = [tuple(each) for each in actions.tolist()]
        priors = torch.stack(asked, 1) if asked else None
        chosen = self._choose(drawn)
        # Copies: views would keep the priors of all that was drawn.
        kept = [None if priors is None else priors[n].clone() for n in chosen]
        return [drawn[n] for n in chosen], kept

    def _choose(self, drawn: list[Actions]) -> list[int]:
        """Returns which prompts to score; where none is new, known ones, which cost nothing."""
        if self._draws == 1:
            return [*range(len(drawn))]
        first = {actions: n for n, actions in reversed([*enumerate(drawn)])}
        fresh = [n for actions, n in first.items() if self._search.is_new(actions)]
        return (sorted(fresh) or [*range(len(drawn))])[: self._settings.batch_size]

    def _new_network(self, generator: "torch.Generator") -> "tuple[QNetwork, Iterator[float]]":
        """Returns a network and what trains it: each ``next`` is a round, and gives its loss."""
        from rlprompt.agents.soft_q_losses import QNetwork

        network = QNetwork(
            self._rows,
            self._search.length,
            self._settings.hidden,
            generator,
            prior=self._weight > 0,
        )
        return network, self._train(network, generator)

    def _train(self, network: "QNetwork", generator: "torch.Generator") -> Iterator[float]:
        import torch

        from rlprompt.agents.soft_q_losses import polyak, soft_q_loss, standardize

        settings = self._settings
        target = copy.deepcopy(network)
        optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
        while True:
            prompts = torch.tensor([each.actions for each in self._memory])
            raw = torch.tensor([each.reward for each in self._memory], dtype=torch.float64)
            rewards = standardize(raw, settings.reward_scale).float()
            for _ in range(settings.gradient_steps):
                polyak(target, network, settings.target_rate)
                some = torch.randperm(len(prompts), generator=generator)[: settings.sampled]
                with torch.no_grad():
                    later = target(prompts[some])
                loss = soft_q_loss(
                    network(prompts[some]),
                    later,
                    prompts[some],
                    rewards[some],
                    learn_values=settings.learn_values,
                    log_prior=self._priors(some.tolist()),
                )
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
                optimizer.step()
            yield loss.item()

    def _priors(self, some: list[int]) -> "torch.Tensor | None":
        """Returns the priors of prompts in the memory, shape (len(some), L, A); None without."""
        import torch

        found = [self._memory[n].prior for n in some]
        known = [prior for prior in found if prior is not None]
        return torch.stack(known) if known else None
