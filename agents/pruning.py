"""Which tokens are worth combining: those that do most on their own.

After ClaPS (Zhou et al., Findings of EMNLP 2023, arXiv:2310.12774): few tokens of a vocabulary move
an LM's predictions at all, so a search among these few needs a fraction of the budget.
"""

from importlib.util import find_spec

import numpy as np

from rlprompt.agents.moves import Search
from rlprompt.core.errors import ConfigError
from rlprompt.core.evaluation import FloatArray

#: Iterations of Lloyd's algorithm; clusters of embedding rows hardly move after some ten.
MAX_ITERATIONS = 50


def check_share(share: float) -> None:
    """Refuses shares of a budget that buy nothing or more than there is.

    Raises:
        ConfigError: the share does not lie in (0, 1].
    """
    if not 0 < share <= 1:
        raise ConfigError(f"share must be above 0 and at most 1, not {share}.")


def check_clustering(agent: str) -> None:
    """Refuses to go on where clusters cannot be had: a search must not find out in its course.

    Raises:
        ConfigError: scikit-learn is missing.
    """
    if find_spec("sklearn") is None:
        raise ConfigError(
            f"The agent {agent!r} needs the package scikit-learn: pip install 'rlprompt[search]'."
        )


def affordable_tokens(search: Search, share: float) -> int:
    """Returns how many single tokens a share of what is left of the budget pays for, at least 1."""
    return max(1, min(search.size, int(share * search.affordable)))


def single_token_effects(search: Search, tokens: list[int]) -> list[tuple[int, float]]:
    r"""Scores tokens alone, in the order given.

    The effect of a token in ClaPS is the gain over the empty prompt,
    :math:`\Delta R(v) = R(v) - R(\emptyset)`. The second term is the same for all tokens, so the
    reward itself, one prompt cheaper, ranks them alike.

    Args:
        search: scores.
        tokens: actions.

    Returns:
        Actions with their rewards, best first, equal ones in the order given.

    Raises:
        SearchOver: from the objective.
    """
    scored = search.score_all((token,) for token in tokens)
    found = [(token, score.reward) for (token,), score in scored]
    return sorted(found, key=lambda pair: -pair[1])


def prune(search: Search, share: float) -> list[int]:
    """Scores the vocabulary token by token, or one token for each cluster of similar ones.

    Where the share does not pay for the whole vocabulary, its embedding rows are clustered with
    K-means, into as many clusters as are paid for, and the token nearest each centroid stands for
    its cluster; the others are out.

    Args:
        search: scores; its generator draws the first centroids and breaks ties.
        share: of what is left of the budget, in (0, 1].

    Returns:
        The scored tokens as actions, best first.

    Raises:
        SearchOver: from the objective.
    """
    count = affordable_tokens(search, share)
    tokens = list(range(search.size))
    if count < search.size:
        rows = search.problem.lm.embeddings(search.problem.vocabulary.token_ids)
        tokens = representatives(rows, count, seed=int(search.generator.integers(2**31)))
    # A random order, since it breaks ties, of which a reward such as accuracy has many.
    order = search.generator.permutation(tokens).tolist()
    return [token for token, _ in single_token_effects(search, order)]


def representatives(rows: FloatArray, count: int, *, seed: int) -> list[int]:
    """Clusters rows with K-means and returns the member nearest to each centroid.

    Args:
        rows: embedding rows, shape (n, width).
        count: number of clusters, from 1 to n.
        seed: of the first centroids.

    Returns:
        Indices of rows, ascending; fewer than ``count`` only where rows are equal.
    """
    from sklearn.cluster import KMeans  # takes a second to import

    distinct, first = np.unique(rows, axis=0, return_index=True)
    if len(distinct) <= count:
        return sorted(first.tolist())
    means = KMeans(count, n_init=1, max_iter=MAX_ITERATIONS, random_state=seed).fit(distinct)
    distances = np.linalg.norm(distinct - means.cluster_centers_[means.labels_], axis=1)
    by_cluster = np.lexsort((distances, means.labels_))
    _, nearest = np.unique(means.labels_[by_cluster], return_index=True)
    return sorted(first[by_cluster[nearest]].tolist())
