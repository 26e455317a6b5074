import pytest

from rlprompt.core.errors import TemplateError
from rlprompt.tasks.verbalizer import Verbalizer

LABELS = ("neg", "pos")


def test_words_stand_in_the_order_of_the_labels():
    verbalizer = Verbalizer.of(LABELS, {"pos": ["good", "great"], "neg": "bad"})
    assert verbalizer.words == (("bad",), ("good", "great"))
    assert verbalizer.flat == ("bad", "good", "great")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"neg": "bad"}, "No word for label 'pos'"),
        ({"neg": "bad", "pos": "good", "neutral": "okay"}, "'neutral', which is no label"),
        ({"neg": "bad", "pos": " Bad"}, "' Bad' is given twice"),
        ({"neg": "bad", "pos": "  "}, "label word is empty"),
        ({"neg": "bad", "pos": []}, "No word for label 'pos'"),
    ],
)
def test_words_that_do_not_fit_the_labels_are_refused(words, message):
    with pytest.raises(TemplateError, match=message):
        Verbalizer.of(LABELS, words)


def test_words_for_one_label_are_refused():
    with pytest.raises(TemplateError, match="at least two labels"):
        Verbalizer((("good",),))
