"""For tests, ours and yours: tiny LMs with tokenizers, checking fakes, conformance suites.

Importing this package loads neither torch nor transformers; :func:`tiny_tokenizer`,
:func:`tiny_causal`, :func:`tiny_masked`, :func:`tiny_seq2seq` and :func:`save_tiny` load them when
called.

    >>> from rlprompt.core.prompt import Prompt
    >>> lm, task = PlantedLM(8, 3), planted_task()
    >>> scorer = lm.bind(task.template, task.verbalizer, list(task.train), max_prompt_tokens=3)
    >>> scorer.choice_logprobs([Prompt(), lm.optimum]).shape
    (2, 16, 2)
"""

from rlprompt.testing.conformance import (
    check_blind_to_labels,
    check_embeddings,
    check_scorer,
)
from rlprompt.testing.examples import PlantedTask, planted_task
from rlprompt.testing.fakes import PlantedLM, PlantedScorer
from rlprompt.testing.tiny import (
    CAUSAL_FAMILIES,
    PACKED_FAMILIES,
    UNPACKED_FAMILIES,
    save_tiny,
    tiny_causal,
    tiny_tokenizer,
)
from rlprompt.testing.tiny_masked import MASKED_FAMILIES, tiny_masked
from rlprompt.testing.tiny_seq2seq import SEQ2SEQ_FAMILIES, tiny_seq2seq
from rlprompt.testing.words import COMMON_WORDS, FILM_WORDS, WordTokenizer, made_up_words

__all__ = [
    "CAUSAL_FAMILIES",
    "COMMON_WORDS",
    "FILM_WORDS",
    "MASKED_FAMILIES",
    "PACKED_FAMILIES",
    "SEQ2SEQ_FAMILIES",
    "UNPACKED_FAMILIES",
    "PlantedLM",
    "PlantedScorer",
    "PlantedTask",
    "WordTokenizer",
    "check_blind_to_labels",
    "check_embeddings",
    "check_scorer",
    "made_up_words",
    "planted_task",
    "save_tiny",
    "tiny_causal",
    "tiny_masked",
    "tiny_seq2seq",
    "tiny_tokenizer",
]
