r"""The arithmetic of soft Q-learning over prompts: network, sampling, losses, target network.

Symbols: B prompts, L positions, A actions. :math:`V(s) = \log\sum_a \exp Q(s, a)` is the soft
value of a state, the policy is :math:`\pi(a|s) = \exp(Q(s, a) - V(s))`. Rewards come at the end.

With a prior :math:`p(a|s)`, what is rewarded is not the policy's entropy but its nearness to the
prior (G-learning, Fox et al. 2016, arXiv:1512.08562): :math:`V(s) = \log\sum_a p(a|s) \exp Q(s, a)`
and :math:`\pi(a|s) = p(a|s) \exp(Q(s, a) - V(s))`. Q is then 0 where the prior is good enough.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

#: Maps unfinished prompts, shape (B, t), to log-probabilities of the next action, (B, A).
Prior: TypeAlias = Callable[[torch.Tensor], torch.Tensor]


def soft_values(q_values: torch.Tensor, log_prior: torch.Tensor | None) -> torch.Tensor:
    """Returns V, shape (B, L), of Q-values and a prior's log-probabilities, (B, L, A) each."""
    return (q_values if log_prior is None else q_values + log_prior).logsumexp(-1)


def advantages(
    q_values: torch.Tensor, actions: torch.Tensor, log_prior: torch.Tensor | None = None
) -> torch.Tensor:
    r"""Returns :math:`A(s_t, a_t) = Q(s_t, a_t) - V(s_t)`, the log-probability of what was done.

    Args:
        q_values: shape (B, L, A).
        actions: what was done, shape (B, L).
        log_prior: shape (B, L, A); then the log-probability less that under the prior. None for
            none.

    Returns:
        Shape (B, L).
    """
    chosen = q_values.gather(-1, actions[..., None])[..., 0]
    return chosen - soft_values(q_values, log_prior)


def single_step_loss(
    advantages: torch.Tensor, values: torch.Tensor, later: torch.Tensor, rewards: torch.Tensor
) -> torch.Tensor:
    r"""Path consistency over one step (Guo et al. 2021, arXiv:2106.07704).

    .. math:: \frac{1}{2} \bigl( -V(s_t) + \bar V(s_{t+1}) + r_t - A(s_t, a_t) \bigr)^2

    Args:
        advantages: of the network, shape (B, L).
        values: :math:`V(s_t)`, shape (B, L); published: the target network's.
        later: the target network's values, shape (B, L); column 0 is not used.
        rewards: at the end of the prompt, shape (B,).

    Returns:
        Summed over positions, the mean over prompts: no dimensions.
    """
    gain = torch.cat([later[:, 1:], rewards[:, None]], dim=1)
    return ((gain - values - advantages) ** 2).sum(1).mean() / 2


def multi_step_loss(
    advantages: torch.Tensor, values: torch.Tensor, rewards: torch.Tensor
) -> torch.Tensor:
    r"""Path consistency from every step to the end (Guo et al. 2021, arXiv:2106.07704).

    .. math:: \frac{1}{2} \Bigl( -V(s_t) + \sum_{l \ge t} r_l - \sum_{l \ge t} A(s_l, a_l) \Bigr)^2

    Args:
        advantages: of the network, shape (B, L).
        values: :math:`V(s_t)`, shape (B, L); published: the target network's.
        rewards: at the end of the prompt, shape (B,).

    Returns:
        Summed over positions, the mean over prompts: no dimensions.
    """
    to_the_end = advantages.flip(1).cumsum(1).flip(1)
    return ((rewards[:, None] - values - to_the_end) ** 2).sum(1).mean() / 2


def soft_q_loss(
    q_values: torch.Tensor,
    target_q_values: torch.Tensor,
    actions: torch.Tensor,
    rewards: torch.Tensor,
    *,
    learn_values: bool = False,
    log_prior: torch.Tensor | None = None,
) -> torch.Tensor:
    r"""Returns the mean of the single-step and the multi-step loss.

    As published, every value is the target network's and the gradient flows through advantages
    alone. Advantages do not change when all Q of a state do, so the level of Q is not learned. On
    the policy's own samples that is harmless, a level is a baseline there; on replayed ones it is a
    bias. With ``learn_values`` the value of the state where a path starts is the network's own, so
    the residual of one step becomes :math:`\bar V(s_{t+1}) + r_t - Q(s_t, a_t)`. The fixed point is
    the same. RLPrompt's code leaves out the factor 1/2, which Adam does not see but clipping does.

    Args:
        q_values: of the network, shape (B, L, A).
        target_q_values: of the target network, shape (B, L, A).
        actions: what was done, shape (B, L).
        rewards: at the end of the prompt, shape (B,).
        learn_values: whether values at the start of a path are the network's own.
        log_prior: of every action at every position, shape (B, L, A); None for none.
    """
    later = soft_values(target_q_values, log_prior).detach()
    values = soft_values(q_values, log_prior) if learn_values else later
    chosen = advantages(q_values, actions, log_prior)
    single = single_step_loss(chosen, values, later, rewards)
    return (single + multi_step_loss(chosen, values, rewards)) / 2


def standardize(rewards: torch.Tensor, scale: float) -> torch.Tensor:
    """Returns rewards with mean 0 and standard deviation ``scale``, shape as given (RLPrompt)."""
    return scale * (rewards - rewards.mean()) / (rewards.std(correction=0) + 1e-4)


def polyak(target: nn.Module, source: nn.Module, rate: float) -> None:
    r"""Moves a target: :math:`\bar\theta \leftarrow (1 - \rho) \bar\theta + \rho \theta`."""
    with torch.no_grad():
        for old, new in zip(target.parameters(), source.parameters(), strict=True):
            old.lerp_(new, rate)


def sample_top_k(logits: torch.Tensor, k: int, generator: torch.Generator) -> torch.Tensor:
    """Draws from the softmax over the ``k`` highest logits of each row.

    Args:
        logits: shape (n, A).
        k: how many may be drawn, at most A.
        generator: the only source of randomness.

    Returns:
        Actions, shape (n,).
    """
    values, indices = logits.topk(min(k, logits.shape[1]), dim=1)
    drawn = torch.multinomial(values.softmax(1), 1, generator=generator)
    return indices.gather(1, drawn)[:, 0]


class QNetwork(nn.Module):
    """``Q(s_t, .) = E f(s_t) + b_t + c_t``: E frozen rows, f a small network, b and c by position.

    The state is the rows of the prompt so far, by position, and the position one-hot. f has one
    hidden layer and ends at zero; c begins where the uniform policy is consistent with reward 0; at
    0 with a prior, where the prior itself is.
    The only parts of the LM are copies of rows, in a buffer outside parameters and saved state.
    """

    def __init__(
        self,
        rows: NDArray[np.float32],
        length: int,
        hidden: int,
        generator: torch.Generator,
        *,
        prior: bool = False,
    ) -> None:
        """Makes the network; global random states are neither read nor changed.

        Args:
            rows: row of each action, shape (A, width).
            length: L.
            hidden: units of the hidden layer.
            generator: of the first weights.
            prior: whether Q is what is added to a prior.
        """
        super().__init__()
        size, width = rows.shape
        inputs = length * width + length
        self.length = length
        self.register_buffer("rows", torch.tensor(rows), persistent=False)
        # What a state at position t shows: everything before t.
        self.register_buffer("seen", torch.ones(length, length).tril(-1), persistent=False)
        drawn = torch.randn(inputs, hidden, generator=generator)
        self.inner = nn.Parameter(drawn / math.sqrt(inputs))
        self.inner_bias = nn.Parameter(torch.zeros(hidden))
        self.outer = nn.Parameter(torch.zeros(hidden, width))
        self.step = nn.Parameter(torch.zeros(length, width))
        # Almost 0: the seed, not the order of the vocabulary, says which of equals are the top k.
        self.bias = nn.Parameter(1e-4 * torch.randn(length, size, generator=generator))
        steps_left = torch.arange(length - 1, -1, -1, dtype=torch.float32)
        self.level = nn.Parameter(steps_left * (0.0 if prior else math.log(size)))

    def forward(self, actions: torch.Tensor) -> torch.Tensor:
        """Maps prompts, shape (B, L), to the Q-values of all their prefixes, (B, L, A)."""
        rows, seen = self.get_buffer("rows"), self.get_buffer("seen")
        filled = rows[actions][:, None] * seen[..., None]
        step = torch.eye(self.length).expand(len(actions), -1, -1)
        state = torch.cat([filled.flatten(2), step], dim=2)
        query = torch.tanh(state @ self.inner + self.inner_bias) @ self.outer + self.step
        return query @ rows.T + self.bias + self.level[:, None]

    @torch.no_grad()
    def sample(
        self, count: int, top_k: int, generator: torch.Generator, prior: Prior | None = None
    ) -> torch.Tensor:
        """Draws prompts token by token, shape (count, L).

        Args:
            count: how many.
            top_k: tokens of highest Q, prior included, that may be drawn.
            generator: the only source of randomness.
            prior: asked once a position; None for none.
        """
        actions = torch.zeros(count, self.length, dtype=torch.long)
        for t in range(self.length):
            # Only position t is needed, and later ones do not matter to it.
            logits = self(actions)[:, t]
            if prior is not None:
                logits = logits + prior(actions[:, :t])
            actions[:, t] = sample_top_k(logits, top_k, generator)
        return actions
