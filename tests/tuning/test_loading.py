"""What a tuner saved gives the same scores when it is loaded, and is refused where it cannot."""

import json
from dataclasses import replace

import numpy as np
import pytest

from rlprompt.core.errors import RunError
from rlprompt.core.events import ignore
from rlprompt.core.ledger import Budget
from rlprompt.lm.causal import CausalLM
from rlprompt.tasks.task import verbalizer_for
from rlprompt.testing import tiny_causal
from rlprompt.tuning.loading import load_tuned
from rlprompt.tuning.protocol import TUNERS, Problem, make_tuner

QUICK = {
    "bbt": {"generations": 2, "population": 4, "dimensions": 4, "evaluate_every": 1},
}
BY_GRADIENT = {"learning_rates": (0.03,), "steps": 3, "evaluate_every": 1}

pytestmark = pytest.mark.filterwarnings(
    # peft's own use of transformers.
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",
)


@pytest.fixture(params=list(TUNERS))
def saved(request, problem, tmp_path):
    """What each tuner learned, and where it was saved."""
    tuner = make_tuner(request.param, QUICK.get(request.param, BY_GRADIENT))
    tuned = tuner.tune(problem(), seed=0, on_event=ignore, work=None)
    tuned.save(tmp_path / "saved")
    return tuned, tmp_path / "saved"


def test_scores_are_those_of_what_was_saved(saved, lm, task, capfd):
    tuned, folder = saved
    capfd.readouterr()
    loaded = load_tuned(folder, lm, task)
    test = tuple(task.dev)
    np.testing.assert_allclose(loaded.choice_logprobs(test), tuned.choice_logprobs(test), atol=1e-6)
    loaded.save(folder.with_name("again"))
    assert capfd.readouterr() == ("", "")
    names = sorted(path.name for path in folder.iterdir())
    assert sorted(path.name for path in folder.with_name("again").iterdir()) == names


def test_another_lm_and_another_task_are_refused_unless_forced(saved, lm, task):
    _, folder = saved
    other = CausalLM(*tiny_causal("llama", seed=1))
    assert other.identity.fingerprint != lm.identity.fingerprint
    with pytest.raises(RunError, match=r"trained for another LM .* or give force=True"):
        load_tuned(folder, other, task)
    dull = verbalizer_for(task.labels, {"negative": "dull", "positive": "fine"})
    words = replace(task, verbalizer=dull)
    with pytest.raises(RunError, match=r"with the words .*bad.* not for .*dull"):
        load_tuned(folder, lm, words)
    forced = load_tuned(folder, other, words, force=True)
    assert np.isfinite(forced.choice_logprobs(tuple(task.dev))).all()


def test_files_that_were_cut_are_named(saved, lm, task):
    _, folder = saved
    for path in folder.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match=r"(?i)(damaged|cannot load).*copy it anew"):
        load_tuned(folder, lm, task)


def test_folders_that_hold_nothing_of_a_tuner_are_refused(lm, task, tmp_path):
    with pytest.raises(RunError, match="holds nothing that a tuner saved"):
        load_tuned(tmp_path, lm, task)
    (tmp_path / "prompt.json").write_text("{")
    with pytest.raises(RunError, match=r"Cannot read .*prompt.json"):
        load_tuned(tmp_path, lm, task)
    facts = {"lm": lm.identity.fingerprint, "labels": [*task.labels], "prompt": " so"}
    facts["words"] = [list(each) for each in task.verbalizer.words]
    facts |= {"template": task.template.source, "answer_prefix": task.template.answer_prefix}
    (tmp_path / "prompt.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match="Cannot load the model in"):
        load_tuned(tmp_path, lm, task)
    assert Problem(lm, task, Budget(1)).ledger.forwards == 0
