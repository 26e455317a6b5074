"""Best of N: prompts sampled from the frozen LM itself."""

import math
from dataclasses import dataclass

import numpy as np

from rlprompt.agents.moves import Actions, Search
from rlprompt.agents.protocol import Problem
from rlprompt.core.errors import ConfigError
from rlprompt.core.events import OnEvent

#: By how much the temperature rises after a batch of which most was known.
WARMING = 1.25
#: Batches in a row without one new prompt, after which sampling is given up. From a temperature of
#: 0.01, at which an LM says the same again and again, they lead up to 0.9.
STALE_BATCHES = 20


@dataclass(frozen=True)
class LMSamples:
    r"""Samples prompts token by token from the LM that they are for, and keeps the best.

    Each prompt is sampled behind a train example :math:`x` drawn at random,

    .. math:: z_t \sim \operatorname{softmax}(\log p(\cdot \mid x, z_{<t}) / \tau)

    over the action vocabulary, with the temperature :math:`\tau`. It costs one LM forward more than
    its score does. APE (Zhou et al., ICLR 2023, arXiv:2211.01910) lets an LM that has seen examples
    propose instructions, and keeps the best; no policy is learned. A learned policy that is no
    better than this at equal LM forwards has learned nothing.

    Where most of a batch was sampled before, the temperature rises; where nothing new comes any
    more, or too little budget is left for a sample, the search goes on with neighbours of the best.

    Attributes:
        batch_size: prompts scored in one LM call.
        temperature: 1 for the LM's own distribution, less for its likeliest prompts.
    """

    batch_size: int = 16
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Refuses an empty batch and temperatures that are none."""
        if self.batch_size < 1:
            raise ConfigError(f"batch_size must be 1 or more, not {self.batch_size}.")
        if not 0 < self.temperature < math.inf:
            raise ConfigError(f"temperature must be positive, not {self.temperature}.")

    def optimize(self, problem: Problem, *, seed: int, on_event: OnEvent) -> None:
        """Samples until the budget is spent.

        Raises:
            ConfigError: the LM cannot go on with the input in this template.
        """
        objective = problem.objective
        if not objective.predicts_tokens:
            raise ConfigError(
                "The agent 'lm-samples' lets the LM go on with the input: put {prompt} behind the "
                "input, as in '{text}{prompt}', with a causal LM that scores packed prompts, or "
                "use the agent 'random'."
            )
        search = Search(problem, seed=seed, on_event=on_event, batch_size=self.batch_size)
        temperature = self.temperature
        stale = 0
        while stale < STALE_BATCHES:
            affordable = objective.remaining // (objective.cost + 1)
            if not affordable:
                break
            count = min(self.batch_size, affordable)
            batch = sample(search, count, temperature)
            new = [actions for actions in dict.fromkeys(batch) if search.is_new(actions)]
            if new:
                search.score(new, {"temperature": temperature, "new": len(new) / count})
            stale = 0 if new else stale + 1
            if 2 * len(new) < count:
                temperature *= WARMING
        search.climb()


def sample(search: Search, count: int, temperature: float) -> list[Actions]:
    """Samples prompts of full length from the LM, each behind a train example drawn at random.

    Args:
        search: the search; its generator draws.
        count: how many prompts.
        temperature: see :class:`LMSamples`.

    Raises:
        BudgetExhausted: the budget does not cover one LM forward a prompt.
    """
    problem = search.problem
    rows = search.generator.integers(0, problem.objective.n_examples, count).tolist()
    prompts: list[list[int]] = [[] for _ in range(count)]
    for _ in range(search.length):
        logprobs = problem.objective.next_token_logprobs(
            rows, [problem.prompt(actions) for actions in prompts], problem.vocabulary.token_ids
        )
        # The largest of logits with Gumbel noise is a draw from their softmax.
        noise = search.generator.gumbel(size=logprobs.shape)
        drawn = np.argmax(logprobs / temperature + noise, axis=1)
        for actions, action in zip(prompts, drawn.tolist(), strict=True):
            actions.append(action)
    return [tuple(actions) for actions in prompts]
