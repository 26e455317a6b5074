"""A task: what a prompt is to be found for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlprompt.core.errors import DataError, TemplateError
from rlprompt.tasks.examples import Split
from rlprompt.tasks.loaders import Table, label_names, label_text, records_of, tabulate
from rlprompt.tasks.sealed import SealedSplit
from rlprompt.tasks.splits import Splits, check_split, k_shot, overlap
from rlprompt.tasks.template import Template
from rlprompt.tasks.verbalizer import Verbalizer

Words = Mapping[Any, str | Sequence[str]]


@dataclass(frozen=True)
class Task:
    """Labels, template, verbalizer and three disjoint splits, checked when it is made.

    Attributes:
        name: name for reports.
        labels: names of the labels; an example's label is an index into them.
        template: where input, prompt and answer stand.
        verbalizer: words of each label, in the order of ``labels``.
        train: examples to search with.
        dev: examples to select with.
        test: examples to report on; opens once.
        manual_prompts: what a person would write, texts exactly as they stand in the slot (with a
            leading space where the template has none; with ``||`` between several slots); the
            controls a learned prompt must beat.
        version: changes whenever the same name, seed and shots would give other examples.
        language: code of the language the inputs are in, e.g. 'en'.
        reports: what was dropped when the splits were made, one sentence each.
    """

    name: str
    labels: tuple[str, ...]
    template: Template
    verbalizer: Verbalizer
    train: Split
    dev: Split
    test: SealedSplit
    manual_prompts: tuple[str, ...] = ()
    version: str = "1"
    language: str = "en"
    reports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses parts that do not fit together.

        Raises:
            DataError: splits overlap, are empty or hold one class only.
            TemplateError: an example lacks a field, or labels and words differ in number.
        """
        if len(self.labels) < 2:
            raise DataError(
                f"The task {self.name!r} has {len(self.labels)} label; it needs two or more."
            )
        if len(self.verbalizer) != len(self.labels):
            raise TemplateError(
                f"The task {self.name!r} has {len(self.labels)} labels "
                f"({', '.join(self.labels)}), but there are words for {len(self.verbalizer)}."
            )
        for split in (self.train, self.dev):
            check_split(split, self.template, len(self.labels))
            if len(set(split.gold)) < 2:
                raise DataError(
                    f"All examples of {split.name} have the label "
                    f"{self.labels[split.gold[0]]!r}; it needs examples of two classes or more."
                )
        self.test.check(self.template, len(self.labels))
        for one, other, shared in (
            ("train", "dev", len(overlap(self.train, self.dev))),
            ("train", "test", self.test.overlap(self.train)),
            ("dev", "test", self.test.overlap(self.dev)),
        ):
            if shared:
                raise DataError(
                    f"{shared} inputs stand in both {one} and {other} (case and white space "
                    "aside); a prompt would be judged on what it was chosen by. Take them out."
                )

    @classmethod
    def from_splits(
        cls,
        name: str,
        labels: Sequence[str],
        splits: Splits,
        *,
        words: Words | None,
        template: Template,
        manual_prompts: Sequence[str] = (),
        version: str = "1",
        language: str = "en",
        reports: Sequence[str] = (),
    ) -> "Task":
        """Makes a task of splits and seals its test split.

        Args:
            name: name for reports.
            labels: names of the labels.
            splits: the three splits.
            words: label to word or words; None where the label names are the words.
            template: where input, prompt and answer stand.
            manual_prompts: see the class.
            version: see the class.
            language: see the class.
            reports: what was dropped before the splits were made.
        """
        return cls(
            name=name,
            labels=tuple(labels),
            template=template,
            verbalizer=verbalizer_for(labels, words),
            train=splits.train,
            dev=splits.dev,
            test=SealedSplit(splits.test),
            manual_prompts=tuple(manual_prompts),
            version=version,
            language=language,
            reports=(*reports, *splits.reports),
        )

    @classmethod
    def from_examples(
        cls,
        examples: object,
        *,
        words: Words | None,
        template: str = "{text}{prompt}",
        shots: int = 16,
        seed: int = 0,
        test_size: int | None = None,
        name: str = "own",
        manual_prompts: Sequence[str] = (),
        language: str = "en",
        test: object = None,
        text: str = "text",
        label: str = "label",
    ) -> "Task":
        """Makes a few-shot task of one's own examples.

        Args:
            examples: a list of (text, label) pairs, a list of dicts by column, or a pandas
                DataFrame.
            words: label to word or words; None where the label names are the words.
            template: see :class:`~rlprompt.tasks.template.Template`; each field is a column of the
                examples.
            shots: examples a class in train, and in dev.
            seed: seed of the draw.
            test_size: upper limit for the size of test.
            name: name for reports.
            manual_prompts: see the class.
            language: see the class.
            test: the test set, in the form of ``examples``; else what train and dev leave.
            text: column that the field ``{text}`` is in.
            label: column of the labels.

        Raises:
            DataError: too few examples, a blank label, a column that is missing, one class only.
            TemplateError: the template or a word is refused.
        """
        form = Template(template)

        def table(given: object) -> Table:
            # Pairs have no column names: with one field they are its texts, whatever its name.
            column = form.fields[0] if len(form.fields) == 1 and text == "text" else text
            columns = {"text": text} if text != "text" else {}
            return tabulate(
                records_of(given, column, label), form.fields, columns=columns, label=label
            )

        pool = table(examples)
        held_out = None if test is None else table(test)
        return few_shot(
            name,
            pool,
            held_out,
            words=words,
            template=form,
            shots=shots,
            seed=seed,
            test_size=test_size,
            manual_prompts=manual_prompts,
            language=language,
        )


def few_shot(
    name: str,
    pool: Table,
    test: Table | None,
    *,
    words: Words | None,
    template: Template,
    shots: int,
    seed: int,
    test_size: int | None,
    manual_prompts: Sequence[str] = (),
    language: str = "en",
) -> Task:
    """Makes a task of a table by drawing few-shot splits; arguments as in ``Task``."""
    tables = [pool] if test is None else [pool, test]
    labels = label_names(tables)
    held_out = None if test is None else test.examples(labels)
    splits = k_shot(pool.examples(labels), labels, shots, seed, held_out, test_size)
    return Task.from_splits(
        name,
        labels,
        splits,
        words=words,
        template=template,
        manual_prompts=manual_prompts,
        language=language,
        reports=[report for table in tables for report in table.reports],
    )


def verbalizer_for(labels: Sequence[str], words: Words | None) -> Verbalizer:
    """Returns the verbalizer of given words, or of the label names where there are none.

    Raises:
        TemplateError: a label is no word, and none is given for it.

    >>> verbalizer_for(["0", "1"], {0: "bad", 1: "good"}).words
    (('bad',), ('good',))
    """
    if words is not None:
        return Verbalizer.of(labels, {label_text(key) or "": words[key] for key in words})
    numbers = [label for label in labels if not any(c.isalpha() for c in label)]
    if numbers:
        raise TemplateError(
            f"The labels {', '.join(labels)} are no words an LM could answer with: give every "
            f"label one, e.g. {numbers[0]}=good."
        )
    return Verbalizer.of(labels, {label: label for label in labels})
