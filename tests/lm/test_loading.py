import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rlprompt.core.errors import ConfigError, LMError
from rlprompt.core.prompt import Prompt
from rlprompt.lm.causal_scorers import AfterInputScorer
from rlprompt.lm.loading import LMS, LMConfig, find_source, load_lm
from rlprompt.tasks.template import Template
from rlprompt.testing import save_tiny


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("saved") / "tiny", "llama")


@pytest.fixture
def folder(saved, tmp_path):
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def _load(folder, **settings):
    return load_lm(LMConfig(str(folder), device="cpu", **settings))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "smolm2",
            r"Unknown LM 'smolm2'\. Did you mean 'smollm2'\? Write an alias \(minilm-mlm, s",
        ),
        ("a/b/c", "Unknown LM 'a/b/c'.*a hub id such as 'openai-community/gpt2', a folder"),
        ("./nowhere", "No LM at './nowhere': there is no such file or folder"),
        ("/nowhere/at/all", "No LM at '/nowhere/at/all'"),
        ("model.gguf", "No LM at 'model.gguf'"),
    ],
)
def test_names_that_lead_nowhere_are_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        find_source(name)


def test_names_lead_to_sources(tmp_path, monkeypatch):
    assert not find_source("openai-community/gpt2").local
    assert find_source("openai-community/gpt2").location == "openai-community/gpt2"
    (tmp_path / "b.gguf").touch()
    (tmp_path / "a.gguf").touch()
    source = find_source(str(tmp_path))
    assert (source.location, source.gguf_file, source.local) == (str(tmp_path), "a.gguf", True)
    assert find_source(str(tmp_path / "b.gguf")).gguf_file == "b.gguf"
    (tmp_path / "config.json").touch()
    assert find_source(str(tmp_path)).gguf_file is None
    monkeypatch.setattr("rlprompt.lm.loading.find_spec", lambda _: None)
    assert find_source("smollm2").location == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert [*LMS] == sorted(LMS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"dtype": "float23"},
            r"Unknown dtype 'float23'\. Did you mean 'float32'\? Known: float32",
        ),
        ({"name": " "}, "The LM has no name: write e.g. 'smollm2'"),
        ({"threads": 0}, "threads must be 1 or more, not 0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        LMConfig(**settings)


@pytest.mark.parametrize(
    ("device", "message"), [("gpu", "Unknown device 'gpu'"), ("cuda:99", "no device 'cuda:99'")]
)
def test_devices_that_do_not_exist_are_refused(saved, device, message):
    with pytest.raises(ConfigError, match=message):
        load_lm(LMConfig(str(saved), device=device))


def test_a_loaded_lm_scores_as_the_one_that_was_saved(
    saved, make_lm, examples, prompts, one_token, capfd
):
    lm = _load(saved)
    assert capfd.readouterr() == ("", "")
    scores = [
        each.bind(
            Template("{text}{prompt}"), one_token, examples, max_prompt_tokens=6
        ).choice_logprobs(prompts)
        for each in (lm, make_lm("llama"))
    ]
    np.testing.assert_array_equal(*scores)
    assert lm.identity.name == str(saved)
    assert (lm.identity.family, lm.identity.dtype) == ("causal", "float32")
    assert lm.context == 128
    assert not any(p.requires_grad for p in lm.model.parameters())
    assert not lm.model.training


def test_equal_lms_have_equal_fingerprints_and_others_do_not(saved, folder):
    fingerprint = _load(saved).identity.fingerprint
    assert _load(folder).identity.fingerprint == fingerprint
    other = _load(saved, dtype="bfloat16").identity
    assert other.dtype == "bfloat16"
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 4] += 1e-3
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    changed = _load(folder).identity.fingerprint
    assert len({fingerprint, other.fingerprint, changed}) == 3


def test_another_tokenizer_is_another_lm(saved, folder):
    path = folder / "tokenizer.json"
    settings = json.loads(path.read_text())
    del settings["post_processor"]
    path.write_text(json.dumps(settings))
    given, other = _load(saved), _load(folder)
    assert given.tokenizer.start_ids == (1,)
    assert other.tokenizer.start_ids == ()
    assert given.identity.weights == other.identity.weights
    assert given.identity.fingerprint != other.identity.fingerprint


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_packs_and_is_near(saved, dtype, examples, prompts, one_token):
    scores = []
    for lm in (_load(saved), _load(saved, dtype=dtype)):
        scorer = lm.bind(Template("{text}{prompt}"), one_token, examples, max_prompt_tokens=6)
        assert isinstance(scorer, AfterInputScorer)
        scores.append(scorer.choice_logprobs(prompts))
    np.testing.assert_allclose(*scores, atol=0.5)
    assert np.isfinite(scores[1]).all()


def test_threads_are_set(saved):
    assert torch.get_num_threads() == 1
    _load(saved, threads=2)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


def test_an_lm_without_its_head_is_refused(folder):
    settings = json.loads((folder / "config.json").read_text())
    settings["tie_word_embeddings"] = False
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(LMError, match=r"has no weights for lm_head\.weight.*would be noise"):
        _load(folder)


def test_a_pickle_is_refused(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(LMError, match=r"Cannot load the LM .*check that it holds .*safetensors"):
        _load(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", b"\x10"),
        ("config.json", b"{"),
        ("config.json", b'{"model_type": "bert"}'),
        ("config.json", b'{"model_type": "no such architecture"}'),
        ("config.json", None),
        ("tokenizer.json", b"{"),
    ],
)
def test_broken_and_unfit_folders_are_refused(folder, name, content):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(LMError, match=str(folder)):
        _load(folder)


def test_cut_weights_are_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(LMError, match="Cannot load the LM"):
        _load(folder)


def test_weights_of_another_architecture_are_refused(folder):
    (folder / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(LMError, match=r"has no weights for decoder\..*would be noise"):
        _load(folder)


def test_a_broken_gguf_file_is_refused(tmp_path):
    pytest.importorskip("gguf")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + b"\0" * 40)
    with pytest.raises(LMError, match="Cannot load the LM"):
        _load(tmp_path / "broken.gguf")


def test_gguf_without_its_package_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    (tmp_path / "some.gguf").write_bytes(b"GGUF")
    with pytest.raises(LMError, match=r"needs a package that is not installed.*gguf"):
        _load(tmp_path / "some.gguf")


def test_start_tokens_of_a_loaded_tokenizer_are_scored(saved, reference, one_token, examples):
    lm = _load(saved)
    scorer = lm.bind(Template("{text}{prompt}"), one_token, examples, max_prompt_tokens=1)
    expected = reference(
        lm.model, lm.tokenizer.hf, "{text}{prompt}", one_token, examples[0].fields, Prompt((300,))
    )
    np.testing.assert_allclose(scorer.choice_logprobs([Prompt((300,))])[0, 0], expected, atol=1e-4)
