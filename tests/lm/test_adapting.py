"""How a template for LMs of one family is written for another."""

import pytest

from rlprompt.core.errors import TemplateError
from rlprompt.lm.adapting import adapted, with_mask, without_mask
from rlprompt.lm.loading import LMConfig, load_lm
from rlprompt.lm.protocol import AdaptsTemplates
from rlprompt.tasks.template import Template
from rlprompt.testing import PlantedLM, save_tiny


@pytest.mark.parametrize(
    ("source", "prefix", "expected"),
    [
        ("{text}{prompt}", " ", "{text}{prompt} {mask}."),
        ("{text} {prompt}", " ", "{text} {prompt} {mask}."),
        ("{prompt}\n{text}\n", " ", "{prompt}\n{text} {mask}."),
        ("{text}{prompt}: {{mask}}", " ", "{text}{prompt}: {{mask}} {mask}."),
        ("{text}{prompt}", "", "{text}{prompt}{mask}."),
        ("{mask} {prompt} {text}", " ", "{mask} {prompt} {text}"),
        ("{prompt:2} {text} {prompt:3}", " ", "{prompt:2} {text} {prompt:3} {mask}."),
    ],
)
def test_a_mask_is_put_where_the_answer_would_follow(source, prefix, expected):
    assert with_mask(Template(source, prefix)) == Template(expected, prefix)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{text}{prompt}", "{text}{prompt}"),
        ("{text} {prompt} {mask}", "{text} {prompt}"),
        ("{text} {prompt} {mask} .", "{text} {prompt}"),
        ("{text} {{mask}} {prompt}: {mask}!", "{text} {{mask}} {prompt}:"),
        ("{prompt:2} {text} {prompt:3} {mask}.", "{prompt:2} {text} {prompt:3}"),
    ],
)
def test_a_mask_at_the_end_is_taken_out(source, expected):
    assert without_mask(Template(source)) == Template(expected)


@pytest.mark.parametrize("source", ["{text}{prompt}", "{text} {prompt}", "{prompt} {a}: {b}"])
def test_there_and_back(source):
    assert without_mask(with_mask(Template(source))) == Template(source)


@pytest.mark.parametrize(
    ("source", "instead"),
    [
        ("{mask} {prompt} {text}", "'{text}{prompt}'"),
        ("{prompt}: {mask} {one} {two}", "'{one} {two}{prompt}'"),
        ("{text} {prompt} It is {mask}, they say", "'{text} {prompt} It is'"),
        ("{prompt:1} {text} {prompt:2} {mask}, they say", "'{text} {prompt}'"),
        ("{prompt:1} {mask} {text} {prompt:2}", "'{text}{prompt}'"),
    ],
)
def test_a_mask_with_words_behind_it_is_refused(source, instead):
    with pytest.raises(TemplateError, match="but a causal LM answers at the end") as error:
        without_mask(Template(source))
    assert str(error.value).endswith(f"write e.g. {instead}.")


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        (
            "llama",
            {"{text}{prompt}": "{text}{prompt}", "{text} {prompt} {mask}": "{text} {prompt}"},
        ),
        (
            "bert",
            {"{text}{prompt}": "{text}{prompt} {mask}.", "{mask} {text}{prompt}": None},
        ),
        ("t5", {"{text}{prompt}": None, "{text} {prompt} {mask}.": None}),
    ],
)
def test_every_family_adapts(family, expected, tmp_path):
    lm = load_lm(LMConfig(str(save_tiny(tmp_path, family))))
    assert isinstance(lm, AdaptsTemplates)
    for source, found in expected.items():
        assert adapted(lm, Template(source)).source == (found or source)


def test_an_lm_need_not_adapt():
    lm = PlantedLM(8, 1)
    assert not isinstance(lm, AdaptsTemplates)
    assert adapted(lm, Template("{text}{prompt} {mask}")).source == "{text}{prompt} {mask}"
