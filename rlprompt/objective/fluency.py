"""How fluent a prompt is: its log-probability under the frozen LM itself, where it stands.

Behind the input rather than alone: at the start of a text a small LM's first prediction says little
(SmolLM2-135M gives a hyphen 0.4), and what is read as fluent is what goes on with the input. The
same few train examples are asked for every prompt, so prompts are compared like with like.
"""

import math
from collections.abc import Sequence

from rlprompt.core.ledger import Ledger
from rlprompt.core.prompt import Prompt
from rlprompt.objective.split_scorer import SplitScorer

#: Train examples that a prompt is read behind, each for one LM forward. On movie-reviews the
#: fluency of a prompt behind one of them had a standard deviation of 0.5 nats a token over
#: examples, and of 3.7 over prompts.
EXAMPLES = 2
#: Perplexity a token that is fluent enough, about that of ' which makes it' behind a film review
#: under SmolLM2-135M. To ask for ever more costs accuracy (benchmarks/trials).
ENOUGH = 40.0


def rows_of(n_examples: int) -> list[int]:
    """Returns the indices of the examples that prompts are read behind, spread over the split.

    >>> rows_of(32), rows_of(1)
    ([0, 16], [0])
    """
    count = min(EXAMPLES, n_examples)
    return [n * n_examples // count for n in range(count)]


class Fluency:
    """Reads prompts and says what their fluency takes off a reward."""

    def __init__(
        self, scorer: SplitScorer, weight: float = 0.0, perplexity: float = ENOUGH
    ) -> None:
        """Chooses the examples.

        Args:
            scorer: the LM bound to the train split.
            weight: what a nat a token costs.
            perplexity: at which a prompt is fluent enough; 1 to want ever more.
        """
        self.weight = weight
        self._enough = -math.log(perplexity)
        self._scorer = scorer
        self._rows = rows_of(scorer.n_examples)

    @property
    def cost(self) -> int:
        """LM forwards to read one prompt; its prefixes are read with it."""
        return len(self._rows)

    def read(self, prompts: Sequence[Prompt], ledger: Ledger) -> None:
        """Reads prompts that may be asked for, see ``SplitScorer.read``."""
        self._scorer.read(self._rows, prompts, ledger)

    def of(self, prompt: Prompt) -> float:
        """Returns the mean log-probability of a token, nats; 0 for the empty prompt.

        ``exp`` of its negative is the prompt's perplexity.

        Raises:
            KeyError: the prompt was not read.
        """
        if not prompt:
            return 0.0
        return float(self._scorer.was_read(self._rows, prompt).mean()) / len(prompt)

    def bonus(self, prompt: Prompt) -> float:
        """Returns what is added to a reward, 0 or less: the weight times what is lacking."""
        return self.weight * min(0.0, self.of(prompt) - self._enough)
