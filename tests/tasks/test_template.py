import pytest

from rlprompt.core.errors import ConfigError, TemplateError
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


SEVERAL = "{prompt:1} {text} {prompt:2} {mask}{prompt:3}"


@pytest.mark.parametrize("source", ["{text}{prompt}", "{text} {prompt}", "{text} {prompt:3}"])
@pytest.mark.parametrize("prompt", ["", "It was", "a||b", "||"])
def test_the_text_of_the_piece_of_a_prompt_is_the_prompt(source, prompt):
    template = Template(source)
    (piece,) = template.pieces(prompt)
    assert piece == (" " if " {" in source and prompt else "") + prompt
    assert template.text_of([piece]) == prompt


@pytest.mark.parametrize(
    ("prompt", "pieces", "rendered"),
    [
        ("", ("", "", ""), " Fine film. {mask}"),
        ("So", ("So", "", ""), "So Fine film. {mask}"),
        ("So||it was", ("So", " it was", ""), "So Fine film. it was {mask}"),
        ("So||it||!", ("So", " it", "!"), "So Fine film. it {mask}!"),
        ("||||!", ("", "", "!"), " Fine film. {mask}!"),
        ("|||it", ("", " |it", ""), " Fine film. |it {mask}"),
        ("a||b||c||d", ("a", " b", "c||d"), "a Fine film. b {mask}c||d"),
    ],
)
def test_the_text_of_a_prompt_in_several_slots(prompt, pieces, rendered):
    template = Template(SEVERAL)
    assert template.pieces(prompt) == pieces
    assert template.text_of(pieces) == prompt
    assert template.render(FIELDS, prompt) == rendered


def test_empty_slots_at_the_end_are_left_out_of_the_text():
    template = Template(SEVERAL)
    assert template.pieces("So||||") == template.pieces("So")
    assert template.text_of(template.pieces("So||||")) == "So"


def test_slots_and_their_sizes():
    template = Template(SEVERAL)
    assert template.slots == ["prompt", "text", "prompt", "mask", "prompt"]
    assert template.fields == ("text",)
    assert template.sizes == (1, 2, 3)
    assert [slot.space_before for slot in template.prompt_slots] == [False, True, False]
    assert Template("{text}{prompt}").sizes == ()
    assert Template("{text}{prompt:4}").sizes == (4,)
    assert Template("{text} {{prompt:2}} {text:2}{prompt}").sizes == ()


def test_braces_around_slots_with_sizes():
    template = Template("{{{prompt:2}}}{text}{{}} {prompt:1}{{")
    assert template.sides({"text": "{prompt:2}"}) == (("{",), ("}{prompt:2}{}",), ("{",))
    assert template.render({"text": "x"}, "a||b") == "{a}x{} b{"


def test_prompts_have_to_fill_the_slots():
    Template(SEVERAL).check_length(6)
    Template("{text}{prompt}").check_length(1)
    for source in (SEVERAL, "{text}{prompt:6}"):
        with pytest.raises(ConfigError, match="hold 6 tokens, not 5: give --length 6"):
            Template(source).check_length(5)


def test_other_source_in_place_of_the_slots():
    template = Template("{{prompt}} {prompt:2} {text} {prompt:1}.")
    assert template.with_slots(["", " x"]) == "{{prompt}} {text} x."


def test_what_stands_in_a_field_is_never_read_as_a_slot():
    assert Template("{text}{prompt}").render({"text": "{prompt} {text}"}, "!") == "{prompt} {text}!"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{text}", r"has no \{prompt\}.*write e.g. '\{text\}\{prompt\}'"),
        ("{text} {{prompt}}", r"has no \{prompt\}"),
        (
            "{text}{prompt} {prompt}",
            r"has \{prompt\} 2 times.*write e.g. '\{text\}\{prompt:2\} \{prompt:2\}'",
        ),
        (
            "{prompt:3} {text} {prompt}",
            r"has \{prompt\} 2 times.*write e.g. '\{prompt:3\} \{text\} \{prompt:2\}'",
        ),
        ("{text} {prompt:0}", r"has \{prompt:0\}, but the size .* write e.g. \{prompt:2\}"),
        ("{text}{prompt:}", r"has \{prompt:\}, but the size"),
        ("{text}{prompt: 2}", r"has \{prompt: 2\}, but the size"),
        ("{text}{prompt:-1}{prompt:2}", r"has \{prompt:-1\}, but the size"),
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
    several = Template("{prompt:1} {text} {prompt:2} {mask}")
    assert several.left_is_constant
    assert several.right_is_constant
    assert not Template("{title} {prompt:1} {prompt:2} {text}").left_is_constant
    assert not Template("{title} {prompt:1} {prompt:2} {text}").right_is_constant


@pytest.mark.parametrize(
    ("source", "sides"),
    [
        ("{text} {prompt} {mask}.", (("{mask}",), (" ", "."))),
        ("{mask} {prompt} {text}", (("", ""), (" {mask}",))),
        ("{{{mask}}}: {text} {prompt}", (("{", "}: {mask}"), ("",))),
        ("{text} {prompt}", (("{mask}",), ("",))),
        ("{prompt:1} {text}{prompt:2}{mask}!", (("",), (" {mask}",), ("", "!"))),
        ("{text} {prompt:1} {prompt:2} {mask} {prompt:3}", (("{mask}",), ("",), (" ", ""), ("",))),
    ],
)
def test_sides_are_cut_where_the_template_has_its_mask(source, sides):
    fields = {"text": "{mask}"}
    assert Template(source).sides(fields) == sides
    joined = tuple("{mask}".join(side) for side in sides)
    assert Template(source).split(fields) == joined


def test_own_texts_stand_around_the_slots():
    assert Template("A {{ {text}: {prompt}{mask}!").own_texts == ("A { ", ": ", "", "!")
