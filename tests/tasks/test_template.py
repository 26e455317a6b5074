import pytest

from rlprompt.core.errors import TemplateError
from rlprompt.tasks.template import Template

FIELDS = {"text": "Fine film.", "title": "Jaws"}


@pytest.mark.parametrize(
    ("source", "prompt", "rendered"),
    [
        ("{text}{prompt}", " It was", "Fine film. It was"),
        ("{text} {prompt}", "It was", "Fine film. It was"),
        ("{text} {prompt}", "", "Fine film."),
        ("{prompt}\n{title}: {text}", "Rate", "Rate\nJaws: Fine film."),
        ("{{{title}}} {text}{prompt} {mask}.", " So", "{Jaws} Fine film. So {mask}."),
    ],
)
def test_rendering_is_plain_substitution(source, prompt, rendered):
    assert Template(source).render(FIELDS, prompt) == rendered


@pytest.mark.parametrize("source", ["{text}{prompt}", "{text} {prompt}"])
@pytest.mark.parametrize("prompt", ["", "It was"])
def test_the_text_of_the_piece_of_a_prompt_is_the_prompt(source, prompt):
    template = Template(source)
    assert template.text_of(template.piece(prompt)) == prompt


def test_what_stands_in_a_field_is_never_read_as_a_slot():
    assert Template("{text}{prompt}").render({"text": "{prompt} {text}"}, "!") == "{prompt} {text}!"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{text}", "must hold .prompt. exactly once"),
        ("{text}{prompt}{prompt}", "must hold .prompt. exactly once"),
        ("{text}{prompt}{mask}{mask}", "has .mask. more than once"),
        ("{prompt}", "has no input field"),
    ],
)
def test_templates_without_the_right_slots_are_refused(source, message):
    with pytest.raises(TemplateError, match=message):
        Template(source)


def test_a_field_that_is_missing_is_named_with_the_nearest():
    with pytest.raises(TemplateError, match=r"asks for \{txt\}.*Did you mean 'text'"):
        Template("{txt}{prompt}").check_fields(FIELDS)


def test_templates_know_on_which_side_of_the_prompt_the_input_stands():
    assert Template("{text}{prompt} {mask}").right_is_constant
    assert Template("Note: {prompt} {text}").left_is_constant
    assert not Template("{text}{prompt} {title}").right_is_constant


@pytest.mark.parametrize(
    ("source", "sides"),
    [
        ("{text} {prompt} {mask}.", (("{mask}",), (" ", "."))),
        ("{mask} {prompt} {text}", (("", ""), (" {mask}",))),
        ("{{{mask}}}: {text} {prompt}", (("{", "}: {mask}"), ("",))),
        ("{text} {prompt}", (("{mask}",), ("",))),
    ],
)
def test_sides_are_cut_where_the_template_has_its_mask(source, sides):
    fields = {"text": "{mask}"}
    assert Template(source).sides(fields) == sides
    joined = tuple("{mask}".join(side) for side in sides)
    assert Template(source).split(fields) == joined


def test_own_texts_stand_around_the_slots():
    assert Template("A {{ {text}: {prompt}{mask}!").own_texts == ("A { ", ": ", "", "!")
