"""Watches a PPO run: reports progress, notices a collapsed policy, stops it for a restart."""

from collections import deque
from typing import Any

from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from rlprompt.agents.protocol import Problem
from rlprompt.core.events import OnEvent

#: What SB3 records of an update, which the events pass on beside the entropy.
TRAINING = (
    "approx_kl",
    "clip_fraction",
    "explained_variance",
    "policy_gradient_loss",
    "value_loss",
)
#: How the weight of the entropy bonus moves a rollout, and how far above its start it may go. A
#: search of 10,000 LM forwards has some 20 rollouts, so it has to rise at once: with 1.5 in place
#: of 3, under half of the prompts in the last third were new on three of eight splits
#: (benchmarks/trials). Two steps down make up for one up, as before.
RAISE, FALL, MOST = 3.0, 0.6, 100.0


class Diagnostics(BaseCallback):
    """Reports once a rollout; ends learning when too few of its prompts are new.

    Metrics, in SB3's logger under ``rlprompt/`` as well as in the events: ``new`` (share of the
    rollout's prompts that were never scored before), ``mean_reward`` (of the rollout), ``best``,
    ``forwards``, ``cache_hits``, ``restarts``. Entropy is in SB3's own ``train/entropy_loss`` and,
    in nats a token, in the events as ``entropy``; tokens that an elite episode keeps count as 0.
    The events hold what SB3 records of an update as well.
    """

    def __init__(
        self,
        problem: Problem,
        on_event: OnEvent,
        *,
        min_new: float,
        patience: int,
        keep_new: float,
        restarts: int,
    ) -> None:
        """Makes the callback.

        Args:
            problem: whose objective is watched.
            on_event: is told once a rollout.
            min_new: share of new prompts below which a rollout counts as collapsed.
            patience: collapsed rollouts in a row that end learning.
            keep_new: share of new prompts that the entropy bonus is adapted to keep up.
            restarts: how many restarts there were before.
        """
        super().__init__()
        self._problem = problem
        self._on_event = on_event
        self._min_new = min_new
        self._recent: deque[bool] = deque(maxlen=patience)
        self._keep_new = keep_new
        self._restarts = restarts
        self._rewards: list[float] = []
        #: Whether learning was ended because the policy proposes the same prompts again and again.
        self.collapsed = False

    def _on_rollout_start(self) -> None:
        self._proposed = self._problem.objective.proposed
        self._rewards = []
        self._finished = 0

    def _on_step(self) -> bool:
        infos: list[dict[str, Any]] = self.locals["infos"]
        for info, done in zip(infos, self.locals["dones"], strict=True):
            if done:
                self._finished += 1
                self._rewards.append(float(info["rlprompt/reward"]))
        return not self.collapsed

    def _init_callback(self) -> None:
        self._least = self._weight = float(self._ppo.ent_coef)

    @property
    def _ppo(self) -> PPO | MaskablePPO:
        assert isinstance(self.model, PPO | MaskablePPO)
        return self.model

    def _adapt_entropy(self, new: float) -> None:
        """Raises the entropy bonus while too few prompts are new, lets it fall back otherwise."""
        factor = RAISE if new < self._keep_new else FALL
        self._weight = min(max(self._weight * factor, self._least), self._least * MOST)
        self._ppo.ent_coef = self._weight

    def _on_rollout_end(self) -> None:
        objective = self._problem.objective
        new = (objective.proposed - self._proposed) / max(1, self._finished)
        self._recent.append(new < self._min_new)
        self.collapsed = len(self._recent) == self._recent.maxlen and all(self._recent)
        self._adapt_entropy(new)
        best = objective.archive.best
        metrics = {
            "new": new,
            "mean_reward": sum(self._rewards) / max(1, len(self._rewards)),
            "best": best.reward if best is not None else float("-inf"),
            "forwards": float(objective.ledger.forwards),
            "cache_hits": float(objective.ledger.cache_hits),
            "restarts": float(self._restarts),
            "entropy_weight": self._weight,
        }
        for name, value in metrics.items():
            self.logger.record(f"rlprompt/{name}", value)
        entropy = self.logger.name_to_value.get("train/entropy_loss")
        if entropy is not None:
            metrics["entropy"] = -float(entropy)
        for name in TRAINING:
            recorded = self.logger.name_to_value.get(f"train/{name}")
            if recorded is not None:
                metrics[name] = float(recorded)
        message = ""
        if self.collapsed:
            message = (
                f"the policy collapsed: fewer than {self._min_new:.0%} of its last prompts were "
                "new; it starts again, the archive stays"
            )
        self._on_event(self._problem.event(message, **metrics))
