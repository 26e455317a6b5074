"""What every registered tuner must do, whatever it trains."""

import dataclasses
import hashlib

import numpy as np
import pytest

from rlprompt.core.errors import ConfigError, RunError
from rlprompt.core.evaluation import gold_logprobs
from rlprompt.core.events import ignore
from rlprompt.core.ledger import Budget
from rlprompt.lm.causal import CausalLM
from rlprompt.tasks.examples import Example, Split
from rlprompt.testing import tiny_causal
from rlprompt.tuning import checkpoint
from rlprompt.tuning.protocol import TUNERS, Problem, make_tuner

GRADIENT = {"learning_rates": (0.01, 0.03), "steps": 6, "evaluate_every": 2}
#: Few and large steps, so that a tiny LM learns something at once.
QUICK = {
    "soft-prompt": {**GRADIENT, "length": 3},
    "p-tuning": {**GRADIENT, "length": 3},
    # Few draws seldom beat a text: it begins from sampled words.
    "bbt": {
        **{"length": 3, "init": "vocab", "dimensions": 8, "population": 4},
        **{"generations": 6, "evaluate_every": 2},
    },
    "prefix": {**GRADIENT, "learning_rates": (0.03, 0.1), "length": 3},
    "lora": {**GRADIENT, "rank": 2},
    "fine-tune": {**GRADIENT, "learning_rates": (1e-3, 1e-2)},
}
#: What each file may be called; all of them are safetensors or JSON.
SAVED = {
    "soft-prompt": {"soft_prompt.safetensors"},
    "p-tuning": {"soft_prompt.safetensors"},
    "bbt": {"soft_prompt.safetensors"},
    "prefix": {"adapter_config.json", "adapter_model.safetensors", "prompt.json"},
    "lora": {"adapter_config.json", "adapter_model.safetensors", "prompt.json"},
    "fine-tune": {"config.json", "generation_config.json", "model.safetensors", "prompt.json"},
}
every_tuner = pytest.mark.parametrize("name", sorted(TUNERS))


def tune(name, problem, work=None, on_event=ignore, seed=0, **settings):
    tuner = make_tuner(name, {**QUICK[name], **settings})
    return tuner.tune(problem, seed=seed, on_event=on_event, work=work)


def likelihood(logprobs, split):
    return float(gold_logprobs(logprobs, np.asarray(split.gold)).mean())


def digest(lm):
    state = lm.model.state_dict().items()
    return {name: hashlib.sha256(each.numpy().tobytes()).digest() for name, each in state}


def modules(lm):
    return {name: type(each) for name, each in lm.model.named_modules()}


class KilledError(Exception):
    pass


def die_at(monkeypatch, saves):
    """Lets the process die right after that many checkpoints."""
    save, left = checkpoint.save, [saves]

    def save_and_die(path, *what):
        save(path, *what)
        left[0] -= 1
        if not left[0]:
            raise KilledError

    monkeypatch.setattr(checkpoint, "save", save_and_die)


@every_tuner
def test_train_is_learned_and_the_lm_stays_as_it_is(name, task, lm):
    # A random LM does not generalise: what train teaches shows on nearly the same texts alone.
    near = [Example({"text": f"{e.fields['text']} !"}, e.label) for e in task.train]
    task = dataclasses.replace(task, dev=Split("dev", tuple(near)))
    numbers, kinds, given = digest(lm), modules(lm), Problem(lm, task, Budget(100_000))
    # With narrow steps it is a matter of the processor whether dev gets better in time.
    wide = {"generations": 40, "spread": 5.0}
    more = wide if name == "bbt" else {"steps": 20, "patience": 10}
    tuned = tune(name, given, **more)
    rows = tuned.choice_logprobs(tuple(given.task.train))
    assert rows.shape == (12, 2)
    np.testing.assert_allclose(np.exp(rows).sum(-1), 1, atol=1e-6)
    # The choice of a text and one look at dev: what it begins from.
    start = tune(name, Problem(lm, task, Budget(36))).choice_logprobs(tuple(given.task.train))
    assert likelihood(rows, given.task.train) > likelihood(start, given.task.train) + 0.05
    assert digest(lm) == numbers
    assert modules(lm) == kinds
    assert not any(each.requires_grad for each in lm.model.parameters())


@every_tuner
def test_what_dev_likes_best_is_kept(name, problem):
    given = problem()
    tuned = tune(name, given)
    found = likelihood(tuned.choice_logprobs(tuple(given.task.dev)), given.task.dev)
    best = max(row["dev_log_likelihood"] for row in tuned.history)
    assert found == pytest.approx(best, abs=1e-6)
    assert len(tuned.history) > 1


@every_tuner
@pytest.mark.parametrize("budget", [30, 111, 200])
def test_the_budget_is_never_exceeded(name, budget, problem):
    given = problem(budget)
    tuned = tune(name, given)
    assert given.ledger.forwards <= budget
    assert tuned.history[-1]["passes"] <= budget


@every_tuner
def test_a_budget_that_buys_nothing_is_refused(name, problem):
    # The choice between two texts on the ten examples of dev is covered, another look is not.
    budget = 9 if name in ("p-tuning", "bbt") else 25
    with pytest.raises(ConfigError, match=f"{budget} LM forwards for the tuning buy nothing"):
        tune(name, problem(budget))


@every_tuner
def test_same_seed_same_scores(name, problem):
    dev = tuple(problem().task.dev)
    one, same, other = (tune(name, problem(), seed=seed).choice_logprobs(dev) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@every_tuner
@pytest.mark.parametrize("saves", [1, 4])
def test_killed_and_resumed_gives_the_same_bits(name, saves, problem, tmp_path, monkeypatch):
    whole_problem = problem()
    whole = tune(name, whole_problem)
    die_at(monkeypatch, saves)
    with pytest.raises(KilledError):
        tune(name, problem(), tmp_path)
    monkeypatch.undo()
    given = problem()
    resumed = tune(name, given, tmp_path)
    dev = tuple(given.task.dev)
    np.testing.assert_array_equal(resumed.choice_logprobs(dev), whole.choice_logprobs(dev))
    assert list(resumed.history) == list(whole.history)
    assert given.ledger.forwards == whole_problem.ledger.forwards


@every_tuner
def test_a_checkpoint_of_other_settings_is_refused(name, problem, tmp_path):
    tune(name, problem(), tmp_path)
    with pytest.raises(RunError, match="other settings, data or LM: choose another folder"):
        tune(name, problem(), tmp_path, evaluate_every=3)


@every_tuner
def test_files_are_safetensors_and_json(name, problem, tmp_path):
    tuned = tune(name, problem())
    tuned.save(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == SAVED[name]


@every_tuner
def test_a_family_that_is_not_supported_is_refused(name, lm, task):
    class Foreign:
        identity = type("Identity", (), {"family": "diffusion"})

    with pytest.raises(ConfigError, match=f"{name} does not support diffusion LMs, only causal"):
        tune(name, Problem(Foreign(), task, Budget(1000)))


@every_tuner
def test_a_text_at_the_end_of_the_context_leaves_room(name, task):
    """GPT-2 has no position beyond its last: one token too many would be an IndexError."""
    lm = CausalLM(*tiny_causal("gpt2"))
    given = Problem(lm, task, Budget(10_000))
    tuned = tune(name, given)
    long = Example({"text": "a fine film " * 80}, 0)
    assert tuned.choice_logprobs((long,)).shape == (1, 2)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("p-tuning", {"length": 0}, "length must be 1 or more rows, not 0"),
        ("p-tuning", {"encoder": "gru"}, "encoder must be mlp or lstm, not 'gru'"),
        ("p-tuning", {"text": "so"}, "has no setting 'text'"),
        ("bbt", {"population": 3}, "population must be a whole number of 4 up, not 3"),
        ("bbt", {"sigma": 0.0}, "sigma must be a number above 0, not 0.0"),
        ("bbt", {"init": "txt"}, "Unknown init 'txt'.*Did you mean 'text'"),
        ("prefix", {"length": 0}, "length must be 1 or more positions, not 0"),
        ("prefix", {"text": "  "}, "nothing but white space: write a few words"),
        ("lora", {"rank": 0}, "rank must be a whole number of 1 or more, not 0"),
        ("lora", {"targets": "mlp"}, "targets must be attention or all-linear, not 'mlp'"),
        ("fine-tune", {"steps": 0}, "steps must be a whole number of 1 or more, not 0"),
        ("fine-tune", {"text": " "}, "nothing but white space"),
    ],
)
def test_nonsense_is_refused(name, settings, message):
    with pytest.raises(ConfigError, match=message):
        make_tuner(name, settings)
