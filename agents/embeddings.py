"""The frozen LM's embedding rows as an agent sees them; NumPy only."""

import numpy as np
from numpy.typing import NDArray


def reduce_embeddings(embeddings: NDArray[np.float64], width: int) -> NDArray[np.float32]:
    """Returns the rows in their main directions, whitened, each about of length 1.

    Whitening (all kept directions with equal variance) lets a step of the optimizer move the policy
    along rare directions of meaning as far as along frequent ones.

    Args:
        embeddings: shape (n_tokens, model width).
        width: directions kept, at most what the rows span.

    Returns:
        Shape (n_tokens, min(width, rank)), float32.
    """
    centred = embeddings - embeddings.mean(axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    rank = min(width, int((singular > singular[0] * 1e-6).sum()))
    directions = left[:, :rank]
    # The sign of a singular vector is arbitrary; fixed, so that runs repeat across libraries.
    signs = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(rank)])
    rows = directions * signs
    return np.asarray(rows / np.sqrt((rows**2).sum(axis=1).mean()), dtype=np.float32)
