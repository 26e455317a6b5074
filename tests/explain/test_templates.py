"""Changes of templates: each is a template, and does what its name says."""

import pytest

from rlprompt.explain.templates import changes
from rlprompt.tasks.template import Template

FIELDS = {"text": "Fine film.", "title": "Up"}


def rendered(source, prompt, prefix=" "):
    found = changes(Template(source, prefix))
    assert len({each.name for each in found}) == len(found)
    return {
        each.name: each.template.render(FIELDS, each.text(prompt)) + each.template.answer_prefix
        for each in found
    }


def test_a_causal_template():
    assert rendered("{text}{prompt}", " It was") == {
        "colon before the answer": "Fine film. It was: ",
        "no space before the answer": "Fine film. It was",
        "input named": "Text: Fine film. It was ",
        "input in quotes": '"Fine film." It was ',
        "prompt on a line of its own": "Fine film.\nIt was ",
        "prompt before the input": "It was Fine film. ",
    }


def test_a_masked_template():
    assert rendered("{text} {prompt} {mask} .", "It was") == {
        "colon before the answer": "Fine film. It was: {mask} . ",
        "nothing behind the answer": "Fine film. It was {mask} ",
        "input named": "Text: Fine film. It was {mask} . ",
        "input in quotes": '"Fine film." It was {mask} . ',
        "prompt on a line of its own": "Fine film.\nIt was {mask} . ",
        "prompt before the input": "It was Fine film. {mask} . ",
    }


def test_a_prompt_before_the_input_moves_behind_it():
    found = rendered("{prompt:2} {title}: {text} Sentiment {mask}", "Think of")
    assert found["prompt behind the input"] == "Up: Fine film. Sentiment Think of {mask} "
    assert found["input named"] == ("Think of Title: Up: Text: Fine film. Sentiment {mask} ")
    assert found["full stop behind the answer"].endswith("Sentiment {mask}. ")
    assert "prompt before the input" not in found
    assert rendered("{prompt}{text}", "Is it good? ")["prompt behind the input"] == (
        "Fine film. Is it good? "
    )


def test_several_slots_stay_where_they_are():
    found = changes(Template("{prompt:2} {text} {prompt:3} {mask} ."))
    assert [each.name for each in found] == [
        "colon before the answer",
        "nothing behind the answer",
        "input named",
        "input in quotes",
    ]
    assert all(each.template.sizes == (2, 3) and not each.moves for each in found)


@pytest.mark.parametrize("source", ["{text}{prompt}:", "{text} {prompt}."])
def test_no_colon_is_put_behind_punctuation(source):
    assert "colon before the answer" not in rendered(source, "It was")
