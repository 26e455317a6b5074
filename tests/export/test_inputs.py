"""Inputs with any text in them, in every notation."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlprompt.export.inputs import filled, render, shown, to_jinja
from rlprompt.tasks.template import Template

TEMPLATES = ["{text}{prompt}", "{a} {{x}} {prompt} {b}", "{prompt:1} {a} {prompt:2}: {mask}."]
TEXTS = st.text(st.sampled_from("ab {}%#|\"'\\\n\u2028é$"), max_size=12)


@pytest.mark.parametrize("source", TEMPLATES)
@settings(deadline=None)
@given(prompt=TEXTS, value=TEXTS)
def test_a_filled_template_renders_as_the_template_does(source, prompt, value):
    template = Template(source)
    fields = dict.fromkeys(template.fields, value)
    texts = filled(template, prompt)
    assert render(texts, fields) == template.render_around_mask(fields, prompt)
    assert shown(render(texts, fields)) == template.render(fields, prompt)


@settings(deadline=None)
@given(prompt=TEXTS, value=TEXTS)
def test_jinja_renders_the_same(prompt, value):
    jinja2 = pytest.importorskip("jinja2")
    template = Template("{{x}} {a} {prompt} {b}")
    fields = dict.fromkeys(template.fields, value)
    (text,) = filled(template, prompt)
    # As lm-evaluation-harness sets it up.
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    rendered = environment.from_string(to_jinja(text)).render(**fields)
    assert rendered == template.render(fields, prompt)
