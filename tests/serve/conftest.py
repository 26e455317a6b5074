"""A fake that labels by the text itself, so that an answer shows which text it is of."""

import threading

import pytest

from rlprompt.run.predictor import Prediction
from rlprompt.serve.limits import Limits


def prediction_of(task, text):
    """What the fake says of a text."""
    share = (hash((task, str(text))) % 1000) / 1000
    return Prediction(f"{task}:{text}", {"bad": share, "good": 1 - share})


class FakePredict:
    """Labels in one thread only; fails for 'poison', waits for ``gate``."""

    def __init__(self):
        self.batches, self.threads = [], set()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def __call__(self, asked):
        self.threads.add(threading.get_ident())
        self.batches.append([*asked])
        self.entered.set()
        assert self.gate.wait(20)
        if any(text == "poison" for _, text in asked):
            raise ValueError("poison")
        return [prediction_of(*each) for each in asked]


@pytest.fixture
def predict():
    return FakePredict()


@pytest.fixture
def limits():
    return Limits(max_batch=8, max_wait_ms=20, max_texts=20, max_length=50, max_queue=40)
