"""From examples and a template to token ids on both sides of the prompt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlprompt.core.errors import ConfigError, DataError, TemplateError
from rlprompt.lm.tokenizer import HFTokenizer
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.verbalizer import Verbalizer


@dataclass(frozen=True)
class Inputs:
    """Token ids of one split in one template.

    Attributes:
        left: ids left of the prompt, start tokens included, one tuple an example.
        right: ids right of the prompt, one tuple an example.
        words: ids of every label word, label by label.
        word_label: label index of each word.
        truncated: how many examples' text was cut.
        longest: most tokens one sequence can have, prompt and answer included.
    """

    left: tuple[tuple[int, ...], ...]
    right: tuple[tuple[int, ...], ...]
    words: tuple[tuple[int, ...], ...]
    word_label: tuple[int, ...]
    truncated: int
    longest: int

    @property
    def single_token_words(self) -> bool:
        """Whether every label word is one token."""
        return all(len(word) == 1 for word in self.words)


def word_ids(
    tokenizer: HFTokenizer, template: Template, verbalizer: Verbalizer
) -> tuple[tuple[int, ...], ...]:
    """Returns the ids of every label word as it follows the rendered text.

    Raises:
        TemplateError: a word is unknown to the tokenizer, or two words have the same ids.
    """
    unknown = tokenizer.hf.unk_token_id
    found: dict[tuple[int, ...], str] = {}
    for word in verbalizer.flat:
        ids = tokenizer.encode(template.answer_prefix + word)
        if not ids or (unknown is not None and unknown in ids):
            raise TemplateError(
                f"The tokenizer does not know the label word {word!r}; choose another."
            )
        if ids in found:
            raise TemplateError(
                f"The label words {found[ids]!r} and {word!r} are the same to the tokenizer."
            )
        found[ids] = word
    return tuple(found)


def causal_inputs(
    tokenizer: HFTokenizer,
    template: Template,
    verbalizer: Verbalizer,
    examples: Sequence[Example],
    *,
    max_prompt_tokens: int,
    context: int | None,
) -> Inputs:
    """Tokenizes examples for an LM that answers after the rendered text.

    Raises:
        TemplateError: the template does not suit a causal LM.
        ConfigError: prompt and answer do not fit the context even without the text.
        DataError: an example leaves nothing for the LM to read.
    """
    if template.has_mask:
        raise TemplateError(
            f"The template {template.source!r} has {{mask}}, but a causal LM answers at the end: "
            f"write {template.source.replace('{mask}', '').rstrip()!r}."
        )
    if template.source.endswith(" ") and template.answer_prefix.startswith(" "):
        raise TemplateError(
            f"The template {template.source!r} ends with a space, and the label word brings its "
            f"own: write {template.source.rstrip(' ')!r}."
        )
    words = word_ids(tokenizer, template, verbalizer)
    label = tuple(n for n, group in enumerate(verbalizer.words) for _ in group)
    reserved = max_prompt_tokens + max(map(len, words))
    start = tokenizer.start_ids
    lefts, rights, truncated, longest = [], [], 0, 0
    for example in examples:
        template.check_fields(example.fields)
        fields: Mapping[str, str] = example.fields
        left, right = _sides(tokenizer, template, fields)
        excess = 0 if context is None else len(start + left + right) + reserved - context
        if excess > 0:
            fields = _shorten(tokenizer, template, dict(fields), context or 0, reserved, start)
            left, right = _sides(tokenizer, template, fields)
            truncated += 1
        if not start + left + right:
            raise DataError(
                f"An example is empty in the template {template.source!r}: the LM would have to "
                "answer after nothing. Give it a text, or put a word into the template."
            )
        lefts.append(start + left)
        rights.append(right)
        longest = max(longest, len(start + left + right) + reserved)
    return Inputs(tuple(lefts), tuple(rights), words, label, truncated, longest)


def _sides(
    tokenizer: HFTokenizer, template: Template, fields: Mapping[str, str]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    left, right = template.split(fields)
    return tokenizer.encode(left), tokenizer.encode(right)


def _shorten(
    tokenizer: HFTokenizer,
    template: Template,
    fields: dict[str, str],
    context: int,
    reserved: int,
    start: tuple[int, ...],
) -> dict[str, str]:
    """Cuts the end of the longest field until everything fits; the field keeps one token."""
    while True:
        left, right = _sides(tokenizer, template, fields)
        excess = len(start + left + right) + reserved - context
        if excess <= 0:
            return fields
        ids = {name: tokenizer.encode(fields[name]) for name in template.fields}
        longest = max(ids, key=lambda name: len(ids[name]))
        if len(ids[longest]) <= 1:
            raise ConfigError(
                f"Prompt and answer ({reserved} tokens) do not fit the LM's context of {context} "
                "tokens beside the template, even with the text cut to one token: ask for a "
                "shorter prompt or shorten the template."
            )
        kept = max(1, len(ids[longest]) - excess)
        # A cut within a character leaves a replacement character, which is not of the text.
        shortened = tokenizer.decode(ids[longest][:kept]).rstrip("\ufffd")
        # Cut ids can decode to a text that encodes to as many again.
        while len(tokenizer.encode(shortened)) > kept:
            shortened = shortened[:-1]
        fields[longest] = shortened
