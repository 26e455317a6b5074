import dataclasses

import numpy as np
import pytest

from rlprompt.core.ledger import Ledger
from rlprompt.core.prompt import Prompt
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.split_scorer import Question, SplitScorer, parts
from rlprompt.tasks.template import Template
from rlprompt.testing import PlantedLM, planted_task

N = 6


def _prompts(*ids):
    return [Prompt(each) for each in ids]


def test_contexts_differ_wherever_scores_may():
    lm, task = PlantedLM(8, 4), planted_task(N, 4, 2)
    given = Question(task.template, task.verbalizer, 4)
    contexts = {
        SplitScorer(lm, question, split, EvaluationLog()).context
        for lm, question, split in (
            (lm, given, task.train),
            (PlantedLM(8, 4, seed=1), given, task.train),
            (lm, dataclasses.replace(given, max_prompt_tokens=5), task.train),
            (lm, dataclasses.replace(given, template=Template("{text} {prompt}")), task.train),
            (lm, dataclasses.replace(given, template=Template("{text}{prompt}", "")), task.train),
            (lm, given, task.dev),
        )
    }
    assert len(contexts) == 6


def test_the_lm_is_left_alone_where_the_log_has_all():
    lm, task, log = PlantedLM(8, 4), planted_task(N, 4, 2), EvaluationLog()
    question, prompts = Question(task.template, task.verbalizer, 4), _prompts((1,), (2, 3))
    ledger = Ledger()
    expected = SplitScorer(lm, question, task.train, log).logprobs(prompts, ledger)
    assert (ledger.computed, ledger.replayed) == (2 * N, 0)

    class Unbound(PlantedLM):
        def bind(self, *_, **__):
            raise AssertionError("bound for nothing")

    again = Ledger()
    scorer = SplitScorer(Unbound(8, 4), question, task.train, log)
    np.testing.assert_array_equal(scorer.logprobs(prompts, again), expected)
    assert (again.computed, again.replayed) == (0, 2 * N)
    assert (again.tokens, again.seconds) == (ledger.tokens, ledger.seconds)
    with pytest.raises(KeyError, match="was never scored in context"):
        scorer.known(Prompt((7,)))


def test_parts_cover_a_split_in_order():
    split = planted_task(N, 2, 2).train
    cut = [*parts(split, 4)]
    assert [len(part) for part in cut] == [4, 2]
    assert sum((part.examples for part in cut), ()) == split.examples
    assert {part.name for part in cut} == {"train"}
