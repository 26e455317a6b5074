"""Proximal policy optimization over prompts, with stable-baselines3."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rlprompt.agents.protocol import Problem
from rlprompt.core.errors import ConfigError
from rlprompt.core.events import OnEvent

# Settings are checked, and a plan is shown, without the seconds that torch takes to load.
if TYPE_CHECKING:
    from sb3_contrib import MaskablePPO
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback


@dataclass(frozen=True)
class PPOAgent:
    """PPO (Schulman et al. 2017, arXiv:1707.06347) on ``rlprompt``'s batched environment.

    One rollout is ``n_envs`` prompts, built in lock-step and scored in one LM call. The policy's
    logits are the frozen LM's embedding rows times a small network of the state, so what is learned
    of one token carries over to similar ones. When a policy has collapsed (it proposes what was
    scored already) a new one starts; the archive of scored prompts stays.

    Attributes:
        n_envs: prompts a rollout.
        learning_rate: Adam's step size.
        n_epochs: passes over a rollout.
        clip_range: clipping of the probability ratio.
        target_kl: mean KL divergence, in nats, at which the passes over a rollout end early.
        entropy: weight of the entropy bonus in units of the uniform policy's entropy, ln V, so that
            one value suits every vocabulary; rewards are standardized.
        gae_lambda: of generalized advantage estimation; gamma is 1.
        hidden: units of the policy's hidden layer.
        embedding_width: directions of the embedding rows that the policy sees.
        stop_action: whether the agent may end a prompt early (variable length, masked).
        lm_prior: weight of the frozen LM's own next-token log-probabilities, behind a train example
            drawn for each episode, in the logits: at 1 the first prompts are samples of the LM
            itself. One LM forward an episode, charged. 0 for none; left out where the LM cannot
            (the prompt stands before the input) or the budget is below one rollout.
        elite_share: of episodes that start from one of the best prompts so far; the policy replaces
            some of its tokens. 0 is plain PPO.
        elites: how many of the best prompts count.
        most_free: such an episode leaves 1 to this many positions to the policy.
        keep_new: share of new prompts in a rollout below which the entropy bonus is raised.
        collapse_new: share of new prompts in a rollout below which it counts as collapsed.
        collapse_patience: collapsed rollouts in a row after which a new policy starts.
        log_folder: where SB3 writes TensorBoard logs; None for none.
        callbacks: SB3 callbacks of your own, beside ours.
    """

    n_envs: int = 16
    learning_rate: float = 5e-3
    n_epochs: int = 8
    clip_range: float = 0.2
    target_kl: float = 0.05
    entropy: float = 0.02
    gae_lambda: float = 1.0
    hidden: int = 64
    embedding_width: int = 64
    stop_action: bool = False
    lm_prior: float = 1.0
    elite_share: float = 0.7
    elites: int = 16
    most_free: int = 3
    keep_new: float = 0.75
    collapse_new: float = 0.25
    collapse_patience: int = 3
    log_folder: str | None = None
    callbacks: "Sequence[BaseCallback]" = ()

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant.

        Raises:
            ConfigError: with the setting and its range, or with the packages that are missing.
        """
        for package in ("torch", "stable_baselines3", "sb3_contrib"):
            if find_spec(package) is None:
                raise ConfigError(
                    f"The agent 'ppo' needs the package {package}: pip install 'rlprompt[rl]'."
                )
        for name in (
            "n_envs",
            "n_epochs",
            "hidden",
            "embedding_width",
            "collapse_patience",
            "elites",
            "most_free",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, not {getattr(self, name)}.")
        if not 0 <= self.lm_prior < math.inf:
            raise ConfigError(f"lm_prior must be 0 or more, not {self.lm_prior}.")
        for name in ("learning_rate", "clip_range", "target_kl"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be positive, not {getattr(self, name)}.")
        for name in ("elite_share", "entropy", "gae_lambda", "keep_new", "collapse_new"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie in [0, 1], not {getattr(self, name)}.")
        if not isinstance(self.log_folder, str | Path | None):
            raise ConfigError(f"log_folder must be a path, not {self.log_folder!r}.")

    def optimize(self, problem: Problem, *, seed: int, on_event: OnEvent) -> None:
        """Learns until the budget is spent, with a new policy after each collapse."""
        from stable_baselines3.common.callbacks import CallbackList

        from rlprompt.agents.embeddings import reduce_embeddings
        from rlprompt.agents.sb3.diagnostics import Diagnostics

        embeddings = reduce_embeddings(
            problem.lm.embeddings(problem.vocabulary.token_ids), self.embedding_width
        )
        seeds = np.random.SeedSequence(seed)
        restarts = 0
        while True:
            watcher = Diagnostics(
                problem,
                on_event,
                min_new=self.collapse_new,
                patience=self.collapse_patience,
                keep_new=self.keep_new,
                restarts=restarts,
            )
            model = self._learner(problem, embeddings, int(seeds.spawn(1)[0].generate_state(1)[0]))
            # Practically endless: the objective ends the search, or the watcher this policy.
            model.learn(2**62, callback=CallbackList([watcher, *self.callbacks]))
            restarts += 1

    def _learner(self, problem: Problem, embeddings: Any, seed: int) -> "PPO | MaskablePPO":
        from sb3_contrib import MaskablePPO
        from stable_baselines3 import PPO

        from rlprompt.agents.sb3.elites import EliteEpisodes
        from rlprompt.agents.sb3.policy import EmbeddingPolicy, MaskableEmbeddingPolicy
        from rlprompt.agents.sb3.vec_env import PromptVecEnv

        objective = problem.objective
        # An opinion costs a forward for each of the rollout's prompts, before these are paid.
        rollout = self.n_envs * (objective.cost + 1)
        known = objective.predicts_tokens and objective.budget.forwards >= rollout
        prior = self.lm_prior if known else 0.0
        prompts = PromptVecEnv(
            problem.objective,
            problem.vocabulary,
            n_envs=self.n_envs,
            length=problem.length,
            stop_action=self.stop_action,
        )
        env = EliteEpisodes(
            prompts,
            length=problem.length,
            prior=prior,
            share=self.elite_share,
            elites=self.elites,
            most_free=self.most_free,
            seed=seed,
        )
        steps = self.n_envs * problem.length
        common: dict[str, Any] = {
            "env": env,
            "n_steps": problem.length,
            "batch_size": steps,
            "n_epochs": self.n_epochs,
            # One sample has no standard deviation.
            "normalize_advantage": steps > 1,
            "learning_rate": self.learning_rate,
            "clip_range": self.clip_range,
            "target_kl": self.target_kl,
            "ent_coef": self.entropy / math.log(max(2, len(problem.vocabulary))),
            "gamma": 1.0,
            "gae_lambda": self.gae_lambda,
            "seed": seed,
            "device": "cpu",
            "tensorboard_log": None if self.log_folder is None else str(Path(self.log_folder)),
            "policy_kwargs": {
                "embeddings": embeddings,
                "prior": bool(prior),
                "hidden": self.hidden,
            },
        }
        if self.log_folder is not None and find_spec("tensorboard") is None:
            raise ConfigError("log_folder needs a package: pip install 'rlprompt[tensorboard]'.")
        if self.stop_action or self.elite_share:
            return MaskablePPO(MaskableEmbeddingPolicy, **common)
        return PPO(EmbeddingPolicy, **common)
