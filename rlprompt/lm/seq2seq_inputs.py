"""From examples, a template and prompts to what encoder and decoder read."""

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rlprompt.core.errors import ConfigError, DataError, TemplateError
from rlprompt.core.prompt import Prompt
from rlprompt.lm.inputs import word_ids
from rlprompt.lm.tokenizer import HFTokenizer
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_text
from rlprompt.tasks.verbalizer import Verbalizer

#: Letters of a word that is not cut in two.
_LONG_WORD = 30


@dataclass(frozen=True)
class Row:
    """What the LM reads for one example and one prompt.

    Attributes:
        encoder: ids of the whole rendered text, special tokens included.
        decoder: ids that stand before the label word.
    """

    encoder: tuple[int, ...]
    decoder: tuple[int, ...]


@dataclass(frozen=True)
class MaskToken:
    """The token that stands for ``{mask}`` in the encoder's text.

    Attributes:
        id: token id.
        is_sentinel: whether the decoder answers with the sentinel and what it stands for (T5), and
            not with the whole text (BART).
        takes_left_space: whether the tokenizer drops white space left of it.
        takes_right_space: the same for the right.
    """

    id: int
    is_sentinel: bool
    takes_left_space: bool = False
    takes_right_space: bool = False


@dataclass(frozen=True)
class Format:
    """How an LM wants to be asked, whatever the task.

    Attributes:
        tokenizer: the LM's own tokenizer, which takes texts as prose.
        start: special ids that the tokenizer puts before a text.
        end: special ids that it puts after a text.
        decoder_start: ids that the decoder reads before any target text.
        mask: what ``{mask}`` is; None where the tokenizer has no such token.
        context: most tokens that encoder or decoder reads; None for any number.
    """

    tokenizer: HFTokenizer
    start: tuple[int, ...]
    end: tuple[int, ...]
    decoder_start: tuple[int, ...]
    mask: MaskToken | None
    context: int | None

    def check(self, template: Template) -> None:
        """Refuses a template that this LM has no token for.

        Raises:
            TemplateError: says what to write instead.
        """
        if template.has_mask and self.mask is None:
            without = re.sub(r"\s*\{mask\}", "", template.source)
            raise TemplateError(
                f"The template {template.source!r} has {{mask}}, but the LM's tokenizer has "
                "neither a sentinel <extra_id_0> nor a mask token: write "
                f"{without!r}, and the decoder begins with the label word."
            )

    def parts(self, template: Template, fields: Mapping[str, str], text: str) -> list[str]:
        """Returns the rendered text, cut in two where ``{mask}`` stands."""
        return self.spaced(template.render_around_mask(fields, text))

    def spaced(self, texts: Sequence[str]) -> list[str]:
        """Drops the spaces that the tokenizer itself drops at a mask between two texts."""
        parts = [*texts]
        if self.mask is not None and len(parts) > 1:
            parts[0] = parts[0].rstrip() if self.mask.takes_left_space else parts[0]
            parts[1] = parts[1].lstrip() if self.mask.takes_right_space else parts[1]
        return parts

    def row(self, parts: Sequence[tuple[int, ...]], before: tuple[int, ...]) -> Row:
        """Puts special tokens between and around the ids of a text's parts.

        Args:
            parts: ids of each part.
            before: ids that the decoder of a denoising LM reads as the text left of the mask.
        """
        if len(parts) == 1 or self.mask is None:
            return Row(self.start + parts[0] + self.end, self.decoder_start)
        encoder = (*self.start, *parts[0], self.mask.id, *parts[1], *self.end)
        answer = (self.mask.id,) if self.mask.is_sentinel else before
        return Row(encoder, self.decoder_start + answer)


class Seq2SeqInputs:
    """A template, label words and the examples of a split, to be filled with prompts."""

    def __init__(
        self,
        form: Format,
        template: Template,
        verbalizer: Verbalizer,
        examples: Sequence[Example],
        *,
        max_prompt_tokens: int,
    ) -> None:
        """Tokenizes the label words and cuts over-long text.

        Raises:
            TemplateError: the template or a label word does not suit the LM.
            ConfigError: prompt and answer do not fit the context even without the text.
            DataError: an example leaves nothing for the LM to read.
        """
        form.check(template)
        self._form = form
        self._template = template
        prefixed = template if _follows_text(template) else replace(template, answer_prefix="")
        self._answer_prefix = prefixed.answer_prefix
        #: Ids of every label word, label by label, and the label index of each.
        self.words = word_ids(form.tokenizer, prefixed, verbalizer)
        self.word_label = tuple(n for n, group in enumerate(verbalizer.words) for _ in group)
        self._longest_word = max(map(len, self.words))
        self._fields: list[Mapping[str, str]] = []
        self.truncated = 0
        for example in examples:
            template.check_fields(example.fields)
            fields = self._fit(example.fields, "", max_prompt_tokens)
            self.truncated += fields is not example.fields
            self._fields.append(fields)
        special = form.start + form.end
        if not special and not all(row.encoder for row in self.rows([Prompt()])):
            raise DataError(
                f"An example is empty in the template {template.source!r}: the LM would have "
                "nothing to read. Give it a text, or put a word into the template."
            )

    @property
    def n_examples(self) -> int:
        """Number of examples."""
        return len(self._fields)

    def rows(self, prompts: Sequence[Prompt]) -> list[Row]:
        """Returns one row for each prompt and example, prompt by prompt.

        Each text is rendered and tokenized as a whole: what a user of the prompt's text gets.
        """
        texts = [self._text(prompt) for prompt in prompts]
        asked = [(fields, text) for text in texts for fields in self._fields]
        rows = self._rows(asked)
        # Rare: next to other text a prompt can be more tokens than it is by itself.
        for n in [n for n, row in enumerate(rows) if self._excess(row) > 0]:
            fields, text = asked[n]
            (rows[n],) = self._rows([(self._fit(fields, text, 0), text)])
        return rows

    def row_of(self, example: int, prompt: Prompt) -> Row:
        """Returns the row of one example and one prompt.

        A soft prompt, whose ids are negative, has no text: what stands around it is tokenized apart
        from it, and a decoder that reads the text up to the mask (BART's) reads it without.
        """
        if not prompt.ids or min(prompt.ids) >= 0:
            fields, text = self._fields[example], self._text(prompt)
            (row,) = self._rows([(fields, text)])
            if self._excess(row) > 0:
                (row,) = self._rows([(self._fit(fields, text, 0), text)])
            return row
        form, template = self._form, self._template
        (bare,) = self._rows([(self._fields[example], "")])
        sides = template.sides(self._fields[example])
        parts: list[tuple[int, ...]] = [()]
        for side, part in zip(sides, (*prompt.parts(template.sizes), ()), strict=True):
            # A side with {mask} has two texts; the second begins the second part.
            first, *second = form.spaced(side)
            parts[-1] += form.tokenizer.encode(first)
            parts += [form.tokenizer.encode(text) for text in second]
            parts[-1] += part
        row = form.row(parts, ())
        return Row(row.encoder, bare.decoder)

    def _text(self, prompt: Prompt) -> str:
        return prompt_text(self._form.tokenizer, self._template, prompt)

    def _rows(self, asked: Sequence[tuple[Mapping[str, str], str]]) -> list[Row]:
        form, encode_all = self._form, self._form.tokenizer.encode_all
        texts = [form.parts(self._template, *each) for each in asked]
        columns = [encode_all(column) for column in zip(*texts, strict=True)]
        befores: list[tuple[int, ...]] = [()] * len(asked)
        if self._template.has_mask and form.mask is not None and not form.mask.is_sentinel:
            # The space before the answer comes with the label word.
            befores = encode_all([text[0].removesuffix(self._answer_prefix) for text in texts])
        parts = zip(*columns, strict=True)
        return [form.row(ids, before) for ids, before in zip(parts, befores, strict=True)]

    def _excess(self, row: Row) -> int:
        """Returns how many tokens a row has more than fit, label word included; or 0 or less."""
        if self._form.context is None:
            return 0
        longest = max(len(row.encoder), len(row.decoder) + self._longest_word - 1)
        return longest - self._form.context

    def _fit(self, fields: Mapping[str, str], text: str, reserved: int) -> Mapping[str, str]:
        """Cuts the end of the longest field until everything fits; the field keeps one token.

        Args:
            fields: the fields of one example.
            text: text of the prompt.
            reserved: further tokens to leave room for.

        Returns:
            The same object where nothing was cut.
        """
        encode = self._form.tokenizer.encode
        while True:
            (row,) = self._rows([(fields, text)])
            excess = self._excess(row) + (reserved if self._form.context is not None else 0)
            if excess <= 0:
                return fields
            sizes = {name: len(encode(fields[name])) for name in self._template.fields}
            longest = max(sizes, key=lambda name: sizes[name])
            if sizes[longest] <= 1:
                raise ConfigError(
                    f"Prompt and answer ({reserved + self._longest_word} tokens) do not fit the "
                    f"LM's context of {self._form.context} tokens beside the template, even with "
                    "the text cut to one token: ask for a shorter prompt or shorten the template."
                )
            kept = max(1, sizes[longest] - excess)
            fields = {**fields, longest: _cut(self._form.tokenizer, fields[longest], kept)}


def _follows_text(template: Template) -> bool:
    """Whether the answer stands behind other text, and so begins with the answer prefix.

    Without ``{mask}``, and where it comes first, a label word begins a text.
    """
    if not template.has_mask:
        return False
    left, *_ = template.sides(dict.fromkeys(template.fields, "x"))
    # A mask that is not left of the prompt is right of it, or between its slots.
    return len(left) == 1 or bool(left[0].strip())


def _cut(tokenizer: HFTokenizer, text: str, kept: int) -> str:
    """Returns the longest beginning of ``text`` of up to ``kept`` tokens.

    It ends with a word, unless the next one is too long to be a word: not all languages put spaces.
    """

    def tokens(end: int) -> int:
        return len(tokenizer.encode(text[:end]))

    # A word's beginning can be more tokens than the word, so that ends of words are tried first.
    ends = [0, *(match.end() for match in re.finditer(r"\S+", text)), len(text)]
    fitting = bisect_right(ends, kept, key=tokens)
    end, beyond = ends[fitting - 1], ends[fitting]
    if beyond - end > _LONG_WORD:
        end += bisect_right(range(end, beyond), kept, key=tokens) - 1
    return text[:end]
