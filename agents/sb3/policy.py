"""An actor-critic whose logits are frozen embedding rows times a small network of the state."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import nn

from rlprompt.core.errors import ConfigError


class PrefixFeatures(BaseFeaturesExtractor):
    """The prompt as far as it is settled: an embedding a position, then the step one-hot.

    Observations have shape (batch, length + 1): action indices or -1, then the position to fill;
    with a prior, one number more an action (see ``elites``). Features have shape
    (batch, length * width + length), and the prior goes on behind them as it is.
    """

    def __init__(
        self,
        observation_space: gym.Space[Any],
        embeddings: NDArray[np.float32],
        actions: int,
        prior: bool,
    ) -> None:
        """Keeps a copy of the embedding rows as a buffer, outside parameters and saved state.

        Raises:
            ConfigError: the observations are of another kind.
        """
        if not isinstance(observation_space, gym.spaces.Box):
            raise ConfigError(
                "This policy reads the observations of EliteEpisodes: wrap a PromptVecEnv without "
                "prior=True in one, with prior=1.0 if the policy is to have the LM's prior."
            )
        behind = actions if prior else 0
        length = int(observation_space.shape[0]) - 1 - behind
        width = embeddings.shape[1]
        super().__init__(observation_space, features_dim=length * width + length + behind)
        self.length = length
        self.prior = behind
        # Row 0 stands for an empty position; a stop action has no row and never is in a prompt.
        table = np.concatenate([np.zeros((1, width), np.float32), embeddings.astype(np.float32)])
        self.register_buffer("table", torch.from_numpy(table), persistent=False)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Maps observations to features (batch, features_dim)."""
        table: torch.Tensor = self.get_buffer("table")
        filled = table[observations[:, : self.length].long() + 1].flatten(1)
        step = nn.functional.one_hot(observations[:, self.length].long(), self.length)
        return torch.cat([filled, step.float(), observations[:, self.length + 1 :]], dim=1)


class PrefixNetwork(nn.Module):
    """Two small networks of the features; the actor's keeps step one-hot and prior at its end."""

    def __init__(self, features: int, length: int, prior: int, hidden: int) -> None:
        """Makes both networks with one hidden layer of ``hidden`` units."""
        super().__init__()
        features -= prior
        self.features = features
        self.behind = length + prior
        self.latent_dim_pi = hidden + length + prior
        self.latent_dim_vf = hidden
        self.actor = nn.Sequential(nn.Linear(features, hidden), nn.Tanh())
        self.critic = nn.Sequential(nn.Linear(features, hidden), nn.Tanh())

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the actor's and the critic's latent vectors."""
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        """Returns shape (batch, hidden + length + prior)."""
        hidden = self.actor(features[:, : self.features])
        return torch.cat([hidden, features[:, -self.behind :]], dim=1)

    def forward_critic(self, features: torch.Tensor) -> torch.Tensor:
        """Returns shape (batch, hidden)."""
        latent: torch.Tensor = self.critic(features[:, : self.features])
        return latent


class EmbeddingHead(nn.Module):
    """Logits ``p + E q(state) + b(step)``: p prior, E frozen rows, q linear, b a bias an action.

    q and b start at zero, so the first prompts are those of the prior (uniform without one).
    Through E, what is learned of one token carries over to its neighbours; b is for what only that
    token does.
    """

    def __init__(
        self, latent: int, length: int, prior: int, embeddings: NDArray[np.float32], actions: int
    ) -> None:
        """Makes the head.

        Args:
            latent: width of the actor's latent vector, step one-hot and prior included.
            length: prompt length in tokens.
            prior: number of actions that have a prior: all or none.
            embeddings: shape (n_tokens, width).
            actions: number of actions; those beyond the tokens (stop) have a bias only.
        """
        super().__init__()
        self.length = length
        self.state = latent - prior
        self.query = nn.Linear(self.state, embeddings.shape[1])
        self.bias = nn.Parameter(torch.zeros(length, actions))
        nn.init.zeros_(self.query.weight)
        nn.init.zeros_(self.query.bias)
        rows = np.zeros((actions, embeddings.shape[1]), np.float32)
        rows[: len(embeddings)] = embeddings
        self.register_buffer("rows", torch.from_numpy(rows), persistent=False)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Maps latent vectors (batch, latent) to logits (batch, actions)."""
        rows: torch.Tensor = self.get_buffer("rows")
        state, prior = latent[:, : self.state], latent[:, self.state :]
        logits: torch.Tensor = self.query(state) @ rows.T + state[:, -self.length :] @ self.bias
        return logits + prior if prior.shape[1] else logits


def _install_network(policy: Any, hidden: int) -> None:
    extractor = policy.features_extractor
    network = PrefixNetwork(extractor.features_dim, extractor.length, extractor.prior, hidden)
    policy.mlp_extractor = network.to(policy.device)


def _install_head(policy: Any, embeddings: NDArray[np.float32], lr_schedule: Schedule) -> None:
    head = EmbeddingHead(
        policy.mlp_extractor.latent_dim_pi,
        policy.features_extractor.length,
        policy.features_extractor.prior,
        embeddings,
        int(policy.action_space.n),
    )
    policy.action_net = head.to(policy.device)
    policy.optimizer = policy.optimizer_class(
        policy.parameters(), lr=lr_schedule(1), **policy.optimizer_kwargs
    )


class _EmbeddingNetworks:
    """What both policies below share: how an SB3 actor-critic builds its networks.

    The LM itself is no part of a policy: a policy holds a copy of the embedding rows it needs.
    """

    def __init__(
        self,
        observation_space: gym.spaces.Space[Any],
        action_space: gym.spaces.Space[Any],
        lr_schedule: Schedule,
        *args: Any,
        embeddings: NDArray[np.float32],
        prior: bool = False,
        hidden: int = 64,
        **kwargs: Any,
    ) -> None:
        """Makes the policy.

        Args:
            observation_space: the environment's.
            action_space: the environment's.
            lr_schedule: of the optimizer.
            *args: passed on.
            embeddings: row of each token of the action vocabulary, shape (n_tokens, width).
            prior: whether observations end in a log-probability of every action.
            hidden: units of the one hidden layer of actor and critic.
            **kwargs: passed on.
        """
        assert isinstance(action_space, gym.spaces.Discrete)
        self._embeddings = embeddings
        self._prior = prior
        self._hidden = hidden
        built: Any = super().__init__
        built(
            observation_space,
            action_space,
            lr_schedule,
            *args,
            **kwargs
            | {
                "features_extractor_class": PrefixFeatures,
                "features_extractor_kwargs": {
                    "embeddings": embeddings,
                    "actions": int(action_space.n),
                    "prior": prior,
                },
                # Orthogonal initialisation would overwrite the head's zeros.
                "ortho_init": False,
            },
        )

    def _build_mlp_extractor(self) -> None:
        _install_network(self, self._hidden)

    def _build(self, lr_schedule: Schedule) -> None:
        # SB3 builds a plain head and the optimizer in one go; head and optimizer are made again.
        super()._build(lr_schedule)  # type: ignore[misc]
        _install_head(self, self._embeddings, lr_schedule)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data: dict[str, Any] = super()._get_constructor_parameters()  # type: ignore[misc]
        for fixed in ("features_extractor_class", "features_extractor_kwargs", "ortho_init"):
            data.pop(fixed, None)
        return data | {
            "embeddings": self._embeddings,
            "prior": self._prior,
            "hidden": self._hidden,
        }


class EmbeddingPolicy(_EmbeddingNetworks, ActorCriticPolicy):
    """Actor-critic for :class:`stable_baselines3.PPO` over a prompt environment."""


class MaskableEmbeddingPolicy(_EmbeddingNetworks, MaskableActorCriticPolicy):
    """The same for :class:`sb3_contrib.MaskablePPO`, which takes the environment's masks."""
