"""From label words to labels."""

from collections.abc import Mapping, Sequence

import torch


def label_logprobs(
    word_logprobs: torch.Tensor,
    words: Mapping[str, Sequence[str]],
    calibration: Mapping[str, float],
) -> dict[str, float]:
    """Sums the words of each label, takes its bias off, and normalises; natural logarithms.

    Of several prompts, shape (n_prompts, n_words), the labels' log-probabilities are averaged.
    """
    groups = torch.split(word_logprobs.double(), [len(words[label]) for label in words], dim=-1)
    labels = torch.stack([group.logsumexp(-1) for group in groups], dim=-1).log_softmax(-1)
    labels = labels.reshape(-1, len(words)).mean(0)
    bias = torch.tensor([calibration[label] for label in words], dtype=torch.float64)
    return dict(zip(words, (labels - bias).log_softmax(0).tolist(), strict=True))
