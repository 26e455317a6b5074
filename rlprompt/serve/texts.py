"""Whether the texts of a request can be labelled; if not, what is allowed."""

from collections.abc import Mapping, Sequence

from rlprompt.core.errors import DataError, RLPromptError, suggest
from rlprompt.run.multi_task import Learned
from rlprompt.run.predictor import fields_of
from rlprompt.serve.limits import Limits

#: A text, or a mapping from input field to text where a template has several.
Text = str | dict[str, str]


def check(task: str, texts: Sequence[Text], tasks: Mapping[str, Learned], limits: Limits) -> None:
    """Refuses what cannot be labelled, before it stands in anybody's way.

    Args:
        task: name of the task.
        texts: what is to be labelled.
        tasks: what there is.
        limits: how much a request may ask.

    Raises:
        RLPromptError: says which text it is, and what is allowed.
    """
    if task not in tasks:
        raise DataError(
            f"There is no task {task[:80]!r}.{suggest(task[:80], tasks)} "
            f"There are: {', '.join(tasks)}."
        )
    if not texts:
        raise DataError(f"texts is empty: give 1 to {limits.max_texts} texts.")
    if len(texts) > limits.max_texts:
        raise DataError(
            f"There are {len(texts)} texts: give at most {limits.max_texts} in a request."
        )
    for n, text in enumerate(texts):
        try:
            _check_text(fields_of(tasks[task].template, text), limits.max_length)
        except RLPromptError as error:
            raise DataError(f"texts[{n}]: {error}") from error


def _check_text(fields: Mapping[str, str], max_length: int) -> None:
    length = sum(map(len, fields.values()))
    if length > max_length:
        raise DataError(f"The text has {length} characters: give at most {max_length}.")
    if not any(value.strip() for value in fields.values()):
        raise DataError("The text is empty: give something to label.")
    for value in fields.values():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"The text is not valid Unicode ({error.reason}).") from error
