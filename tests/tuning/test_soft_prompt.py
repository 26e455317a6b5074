"""A soft prompt learns, costs what is counted, and goes on where it was killed."""

import hashlib

import numpy as np
import pytest
import torch

from rlprompt.core.errors import ConfigError, RunError
from rlprompt.core.evaluation import calibrate, gold_logprobs
from rlprompt.core.events import ignore
from rlprompt.core.result import Result
from rlprompt.lm.causal import CausalLM
from rlprompt.run.multi_task import Learned, MultiTaskPredictor
from rlprompt.testing import tiny_causal
from rlprompt.tuning import checkpoint
from rlprompt.tuning.protocol import make_tuner, settle
from rlprompt.tuning.rows import INITS
from rlprompt.tuning.soft_prompt import SoftPrompt

QUICK = {"length": 3, "learning_rates": (0.03, 0.1), "steps": 7, "evaluate_every": 3}


def tune(problem, work=None, on_event=ignore, seed=0, **settings):
    tuner = SoftPrompt(**{**QUICK, **settings})
    return tuner.tune(problem, seed=seed, on_event=on_event, work=work)


def bits(tuned):
    return tuned.rows.soft().detach().numpy().tobytes()


class KilledError(Exception):
    pass


def killer(after):
    """A listener that ends the process at the n-th look at dev."""
    seen = []

    def listen(event):
        seen.append(event)
        if len(seen) == after:
            raise KilledError

    return listen


# A learned prompt may be the best there is on dev.
@pytest.mark.parametrize("init", [init for init in INITS if init != "prompt"])
def test_train_is_learned_and_the_lm_stays_as_it_is(init, problem, lm):
    state = lm.model.state_dict().items()
    before = {name: hashlib.sha256(each.numpy().tobytes()).digest() for name, each in state}
    given = problem()
    tuned = tune(given, init=init, steps=40, learning_rates=(0.1,), patience=40)
    rows = tuned.rows.soft().detach()
    assert tuned.n_parameters == rows.numel() == 3 * lm.embeddings([0]).shape[1]
    assert (rows != tuned.start).any(dim=1).all(), "every row is trained"
    train = given.task.train
    likelihood = gold_logprobs(tuned.choice_logprobs(tuple(train)), np.asarray(train.gold)).mean()
    with torch.no_grad():
        tuned.rows.soft().copy_(tuned.start)
    start = gold_logprobs(tuned.choice_logprobs(tuple(train)), np.asarray(train.gold)).mean()
    assert likelihood > start + 0.05
    after = lm.model.state_dict().items()
    assert before == {n: hashlib.sha256(each.numpy().tobytes()).digest() for n, each in after}


def test_what_dev_likes_best_is_kept(problem):
    tuned = tune(problem())
    dev = problem().task.dev
    found = gold_logprobs(tuned.choice_logprobs(tuple(dev)), np.asarray(dev.gold)).mean()
    best = max(row["dev_log_likelihood"] for row in tuned.history)
    assert found == pytest.approx(best, abs=1e-6)
    assert [(row["rate"], row["step"]) for row in tuned.history] == [
        (0.0, 0),
        *((rate, step) for rate in (0.03, 0.1) for step in (3, 6, 7)),
    ]


def test_train_is_told_from_the_updates_themselves(problem):
    """With a batch of all of train, an update's forward scores train as the last one left it."""
    given = problem()
    train, gold = tuple(given.task.train), np.asarray(given.task.train.gold)
    settings = {"learning_rates": (0.1,), "batch_size": len(train), "evaluate_every": 1}
    history = tune(given, steps=3, **settings).history
    assert history[0]["train_accuracy"] is None
    start = tune(problem(), steps=1, **settings | {"learning_rates": (1e-12,)})
    found = start.choice_logprobs(train)
    assert history[1]["train_log_likelihood"] == pytest.approx(
        gold_logprobs(found, gold).mean(), abs=1e-5
    )
    assert history[1]["train_accuracy"] == (found.argmax(1) == gold).mean()
    values = [row["train_log_likelihood"] for row in history[1:]]
    assert values == sorted(values)


def test_it_takes_all_that_it_says_where_nothing_ends_it_early(problem):
    given = problem()
    tune(given, patience=9)
    assert given.ledger.forwards == SoftPrompt(**QUICK).most_passes(given.task)


def test_a_backward_counts_as_two_forwards(problem):
    given = problem()
    tuned = tune(given)
    # Two manual prompts on dev; then 7 looks at dev and 14 updates of 8 examples.
    assert given.ledger.forwards == 2 * 10 + 7 * 10 + 14 * 8 * 3
    assert tuned.history[-1]["passes"] == 7 * 10 + 14 * 8 * 3


@pytest.mark.parametrize("budget", [40, 100, 250])
def test_the_budget_is_never_exceeded(budget, problem):
    given = problem(budget)
    tuned = tune(given)
    assert budget - 8 * 3 - 10 < given.ledger.forwards <= budget
    assert tuned.history


def test_same_seed_same_bits(problem):
    assert bits(tune(problem())) == bits(tune(problem()))
    assert bits(tune(problem(), seed=1)) != bits(tune(problem()))


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
@pytest.mark.parametrize("after", range(1, 8))
def test_killed_and_resumed_gives_the_same_bits(optimizer, after, problem, tmp_path):
    whole, whole_problem = None, problem()
    whole = tune(whole_problem, optimizer=optimizer)
    with pytest.raises(KilledError):
        tune(problem(), tmp_path, killer(after), optimizer=optimizer)
    resumed_problem = problem()
    resumed = tune(resumed_problem, tmp_path, optimizer=optimizer)
    assert bits(resumed) == bits(whole)
    assert resumed.history == whole.history
    assert resumed_problem.ledger.forwards == whole_problem.ledger.forwards


def test_every_step_can_be_the_last_before_a_kill(problem, tmp_path, monkeypatch):
    whole = tune(problem())
    save, saved = checkpoint.save, []

    def save_and_die(path, *what):
        save(path, *what)
        saved.append(path)
        raise KilledError

    monkeypatch.setattr(checkpoint, "save", save_and_die)
    for _ in range(14):
        with pytest.raises(KilledError):
            tune(problem(), tmp_path)
    monkeypatch.undo()
    assert len(saved) == 14
    given = problem()
    assert bits(tune(given, tmp_path)) == bits(whole)
    assert given.ledger.forwards == 2 * 10 + 7 * 10 + 14 * 8 * 3


def test_accumulation_changes_no_more_than_rounding(problem):
    one, four = (tune(problem(), accumulate=n).rows.soft() for n in (1, 4))
    torch.testing.assert_close(one, four, atol=1e-4, rtol=1e-3)


def test_a_checkpoint_of_other_settings_is_refused(problem, tmp_path):
    tune(problem(), tmp_path)
    with pytest.raises(RunError, match="other settings, data or LM: choose another folder"):
        tune(problem(), tmp_path, learning_rates=(0.2,))


def test_a_damaged_checkpoint_is_named(problem, tmp_path):
    tune(problem(), tmp_path)
    path = tmp_path / "training.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunError, match="is damaged"):
        tune(problem(), tmp_path)


def test_the_start_is_what_was_asked_for(problem, lm, run):
    def start(**settings):
        return tune(problem(), steps=1, learning_rates=(0.1,), **settings).start.numpy()

    ids = lm.tokenizer.encode(" the film was")
    np.testing.assert_allclose(start(text=" the film was", length=0), lm.embeddings(ids), atol=1e-6)
    assert len(ids) < 7
    repeated = [ids[(n - 7) % len(ids)] for n in range(7)]
    assert tuple(repeated[-len(ids) :]) == ids
    found = start(text=" the film was", length=7)
    np.testing.assert_allclose(found, lm.embeddings(repeated), atol=1e-6)
    found = start(text=" the film was", length=2)
    np.testing.assert_allclose(found, lm.embeddings(ids[-2:]), atol=1e-6)
    assert len(start(init="vocab", length=0)) == 5
    learned = list(Result.load(run / "result.json").prompt.ids)
    found = start(init="prompt", run=str(run), length=0)
    np.testing.assert_allclose(found, lm.embeddings(learned), atol=1e-6)
    with pytest.raises(RunError, match=r"No result at .* the run is not finished, or elsewhere"):
        start(init="prompt", run="nowhere")
    words = [lm.tokenizer.encode(f" {word}")[0] for word in ("bad", "good")]
    np.testing.assert_allclose(start(init="labels")[:2], lm.embeddings(words), atol=1e-6)
    assert np.abs(start(init="random")).max() <= 0.5
    assert not np.array_equal(start(init="vocab"), start(init="labels"))


def test_calibration_is_used_only_where_dev_is_likelier_with_it(task):
    class Fixed:
        def __init__(self, train, dev):
            self.known = {len(train): train, len(dev): dev}

        def choice_logprobs(self, examples):
            return self.known[len(examples)]

    gold = np.asarray(task.dev.gold)
    fair = np.log(np.where(np.eye(2)[gold] > 0, 0.7, 0.3))
    leaning = np.tile(np.log([0.9, 0.1]), (len(task.train), 1))
    assert not settle(Fixed(leaning, fair), task.train, task.dev).any()
    both = fair + np.asarray([1.5, -1.5])
    both -= np.logaddexp.reduce(both, axis=1, keepdims=True)
    assert settle(Fixed(leaning, both), task.train, task.dev)[0] > 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length": -1}, "length must be 0 or more rows, not -1"),
        ({"init": "txt"}, "Unknown init 'txt'.*Did you mean 'text'"),
        ({"text": "  "}, "nothing but white space: write a few words"),
        ({"text": "good", "init": "vocab"}, "init = 'vocab' takes no text"),
        ({"init": "prompt"}, "init = 'prompt' and run = '' do not go together"),
        ({"run": "runs/demo"}, "the other ones take no run"),
        ({"learning_rates": ()}, "learning_rates is empty"),
        ({"learning_rates": (0.0,)}, "must be a number above 0, not 0.0"),
        ({"steps": 0}, "steps must be a whole number of 1 or more, not 0"),
        ({"accumulate": 9}, "accumulate = 9 is more than batch_size = 8"),
        ({"optimizer": "adam"}, "Unknown optimizer 'adam'.*Did you mean 'adamw'"),
        ({"warm_up": -1}, "warm_up must be 0 or more updates"),
        ({"lenght": 3}, "has no setting 'lenght'.*Did you mean 'length'"),
    ],
)
def test_nonsense_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        make_tuner("soft-prompt", settings)


def test_a_length_that_does_not_fit_the_context(problem):
    with pytest.raises(ConfigError, match="do not fit the LM's context"):
        tune(problem(), init="random", length=5000)


def test_a_budget_that_does_not_cover_the_choice_of_a_text(problem):
    with pytest.raises(ConfigError, match="allow 20 for that and more"):
        tune(problem(15))


def test_a_saved_soft_prompt_labels_as_when_it_was_trained(problem, lm, tmp_path):
    given = problem()
    tuned = tune(given, steps=4)
    tuned.save(tmp_path)
    test = tuple(given.task.dev)
    bias = {"negative": 0.2, "positive": -0.2}
    learned = Learned.load_soft(tmp_path, lm, calibration=bias)
    found = MultiTaskPredictor(lm, {"films": learned}).predict(
        [("films", example.fields["text"]) for example in test]
    )
    expected = np.exp(calibrate(tuned.choice_logprobs(test), np.asarray([0.2, -0.2])))
    values = [list(prediction.probabilities.values()) for prediction in found]
    np.testing.assert_allclose(values, expected, atol=1e-5)


def test_a_soft_prompt_of_another_lm_is_refused(problem, lm, tmp_path):
    other = CausalLM(*tiny_causal("gpt2"))
    tune(problem(), steps=1).save(tmp_path)
    with pytest.raises(RunError, match=r"trained for another LM .* or give force=True"):
        Learned.load_soft(tmp_path, other)
    assert Learned.load_soft(tmp_path, other, force=True).soft is not None
    path = tmp_path / "soft_prompt.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match=r"is damaged .*: copy it anew"):
        Learned.load_soft(tmp_path, lm)
    with pytest.raises(RunError, match="There is no soft prompt at"):
        Learned.load_soft(tmp_path / "nowhere", lm)
