"""What the frozen LM itself would say next: where an agent can begin in place of chance."""

from collections.abc import Sequence

import numpy as np

from rlprompt.core.evaluation import FloatArray
from rlprompt.core.prompt import Prompt
from rlprompt.objective.fluency import rows_of
from rlprompt.objective.objective import Objective


def log_prior(
    objective: Objective,
    rows: Sequence[int],
    prompts: Sequence[Prompt],
    token_ids: Sequence[int],
    n_actions: int,
) -> FloatArray:
    """Asks the LM how it would go on with prompts, each behind one train example.

    Args:
        objective: charges what it costs, see ``Objective.next_token_logprobs``.
        rows: index of the example of each prompt.
        prompts: the unfinished prompts.
        token_ids: token of each of the first actions.
        n_actions: of these and those without a token: to stop. The LM has no opinion on them; they
            count as likely as a token on average.

    Returns:
        Log-probability of every action, shape (len(prompts), n_actions).

    Raises:
        SearchOver: the budget does not cover it.
        ConfigError: the LM cannot do so in this template.
    """
    prior = np.full((len(prompts), n_actions), -np.log(len(token_ids)))
    prior[:, : len(token_ids)] = objective.next_token_logprobs(rows, prompts, token_ids)
    return prior


def mean_prior(
    objective: Objective, prompts: Sequence[Prompt], token_ids: Sequence[int], n_actions: int
) -> FloatArray:
    """Does the same behind a few train examples that are always the same, and averages.

    The mean is of probabilities. What one prompt costs, a forward for each of the examples, is
    charged once, and another that lengthens it by one token goes on with its forwards, once.
    """
    rows = rows_of(objective.n_examples)
    asked = [row for row in rows for _ in prompts]
    each = log_prior(objective, asked, [*prompts] * len(rows), token_ids, n_actions)
    total = np.logaddexp.reduce(each.reshape(len(rows), len(prompts), n_actions))
    mean: FloatArray = total - np.log(len(rows))
    return mean
