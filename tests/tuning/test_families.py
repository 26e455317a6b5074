"""Tuners on masked LMs and encoder-decoders."""

import dataclasses
import functools
import hashlib

import numpy as np
import pytest

from rlprompt.core.errors import ConfigError
from rlprompt.core.evaluation import gold_logprobs
from rlprompt.core.events import ignore
from rlprompt.core.ledger import Budget
from rlprompt.lm.masked import MaskedLM
from rlprompt.lm.seq2seq import Seq2SeqLM
from rlprompt.tasks.examples import Example, Split
from rlprompt.tasks.template import Template
from rlprompt.testing import tiny_masked, tiny_seq2seq
from rlprompt.tuning.protocol import TUNERS, Problem, make_tuner

QUICK = {"learning_rates": (0.03,), "steps": 20, "patience": 10}
SETTINGS = {
    "bbt": {"dimensions": 8, "spread": 5.0, "population": 6, "generations": 40},
    "soft-prompt": {**QUICK, "learning_rates": (0.3,)},
    "prefix": {**QUICK, "learning_rates": (0.1,)},
    "fine-tune": {**QUICK, "learning_rates": (3e-3,)},
    "lora": {**QUICK, "rank": 2},
}


@functools.cache
def lm_of(kind):
    return MaskedLM(*tiny_masked("bert")) if kind == "masked" else Seq2SeqLM(*tiny_seq2seq("t5"))


@pytest.mark.parametrize("kind", ["masked", "seq2seq"])
@pytest.mark.parametrize("name", sorted(TUNERS))
def test_train_is_learned_and_the_lm_stays_as_it_is(name, kind, task):
    lm, tuner = lm_of(kind), make_tuner(name, SETTINGS.get(name, QUICK))
    near = [Example({"text": f"{e.fields['text']} !"}, e.label) for e in task.train]
    masked = dataclasses.replace(
        task,
        dev=Split("dev", tuple(near)),
        template=Template("{text} {prompt} {mask} ."),
        manual_prompts=("overall", "in short it was"),
    )
    given = Problem(lm, masked, Budget(50_000))
    if kind not in tuner.traits.families:
        with pytest.raises(ConfigError, match=f"does not support {kind} LMs"):
            tuner.tune(given, seed=0, on_event=ignore, work=None)
        return
    state = lm.model.state_dict().items()
    before = {n: hashlib.sha256(each.numpy().tobytes()).digest() for n, each in state}
    tuned = tuner.tune(given, seed=0, on_event=ignore, work=None)
    train = tuple(task.train)
    start = tuned.history[0]["dev_log_likelihood"]
    logprobs = tuned.choice_logprobs(train)
    assert gold_logprobs(logprobs, np.asarray(task.train.gold)).mean() > start + 0.05
    after = lm.model.state_dict().items()
    assert before == {n: hashlib.sha256(each.numpy().tobytes()).digest() for n, each in after}
