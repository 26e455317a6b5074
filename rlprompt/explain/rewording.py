"""The learned prompt asked in other templates and with other label words."""

from dataclasses import asdict

from rlprompt.core.errors import RLPromptError
from rlprompt.core.evaluation import Evaluation
from rlprompt.core.prompt import Prompt
from rlprompt.explain.desk import Desk, Till
from rlprompt.explain.effects import joined, tokens, variant
from rlprompt.explain.label_words import choices, pooled, regrouped
from rlprompt.explain.material import Material
from rlprompt.explain.records import Reworded, Variant
from rlprompt.explain.templates import Change, changes
from rlprompt.objective.split_scorer import Question, halves
from rlprompt.run.transfer_cells import difference
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_of
from rlprompt.tasks.verbalizer import Verbalizer

Found = tuple[tuple[Reworded, ...], list[str]]


def other_label_words(material: Material, desk: Desk, till: Till, count: int) -> Found:
    """Asks the learned and the manual prompt with other label words.

    Args:
        material: of the run.
        desk: has scored both in the run's own way.
        till: pays.
        count: near words a label.

    Returns:
        What came of it, and what is missing.
    """
    asked = choices(material, count)
    if not asked:
        return (), []
    pool = pooled(material.task.verbalizer, asked)
    question = Question(material.task.template, pool, material.question.max_prompt_tokens)
    prompts = _prompts(material)
    own = Desk(material.lm, question, material.task.train, halves(material.task.dev), till)
    try:
        short = own.score(prompts, "label words", together=True)
    except RLPromptError as error:
        return (), [f"Label words: {error}"]
    if short:
        return (), ["Label words: the budget is spent."]
    found = []
    for choice in asked:
        evaluations = []
        for prompt in prompts:
            logprobs, n_train = own.raw(prompt)
            regular = desk.everywhere(prompt)
            evaluations.append(joined(regrouped(logprobs, pool, choice.words), n_train, regular))
        verbalizer = Verbalizer(choice.words)
        found.append(
            _reworded(
                material,
                choice.name,
                (material.task.template, verbalizer),
                evaluations,
                [desk.everywhere(p) for p in prompts],
                [(material.text(p), tokens(material, p), own.paid(p)) for p in prompts],
            )
        )
    return tuple(found), []


def other_templates(material: Material, desk: Desk, till: Till) -> Found:
    """Asks the learned and the manual prompt in slightly other templates.

    Args:
        material: of the run.
        desk: has scored both in the run's own way.
        till: pays.

    Returns:
        What came of it, and what is missing.
    """
    found, missing = [], []
    if len(material.task.template.prompt_slots) > 1:
        missing.append("Templates with the prompt elsewhere: it has several slots already.")
    for change in changes(material.task.template):
        same = _reads_the_same(material, change)
        try:
            one = None if same else _in_template(material, desk, till, change)
        except RLPromptError as error:
            missing.append(f"Template '{change.name}': {error}")
            continue
        if same:
            missing.append(f"Template '{change.name}': the tokenizer reads it as the run's own.")
        elif one is None:
            missing.append(f"Template '{change.name}': the budget is spent.")
        else:
            found.append(one)
    return tuple(found), missing


def _in_template(material: Material, desk: Desk, till: Till, change: Change) -> Reworded | None:
    tokenizer = material.lm.tokenizer
    regular = _prompts(material)
    texts = [change.text(material.text(p)) for p in regular]
    prompts = [prompt_of(tokenizer, change.template, text) for text in texts]
    longest = max([material.question.max_prompt_tokens, *map(len, prompts)])
    question = Question(change.template, material.task.verbalizer, longest)
    own = Desk(material.lm, question, material.task.train, halves(material.task.dev), till)
    if own.score(prompts, f"template: {change.name}", together=True):
        return None
    return _reworded(
        material,
        change.name,
        (change.template, material.task.verbalizer),
        [own.everywhere(p) for p in prompts],
        [desk.everywhere(p) for p in regular],
        [(text, tokens(material, p), own.paid(p)) for text, p in zip(texts, prompts, strict=True)],
    )


def _prompts(material: Material) -> list[Prompt]:
    """Returns the learned prompt and, where there is one, the manual one."""
    return [p for p in (material.learned, material.manual) if p is not None]


def _reads_the_same(material: Material, change: Change) -> bool:
    """Whether the LM's tokenizer drops what was changed, as line breaks."""
    regular = material.task.template
    if change.template.answer_prefix != regular.answer_prefix:
        return False
    text = material.text(material.learned)
    fields = material.task.train.examples[0].fields
    encode = material.lm.tokenizer.encode
    changed = change.template.render(fields, change.text(text))
    return encode(changed) == encode(regular.render(fields, text))


def _reworded(
    material: Material,
    name: str,
    way: tuple[Template, Verbalizer],
    found: list[Evaluation],
    regular: list[Evaluation],
    facts: list[tuple[str, tuple[str, ...], int]],
) -> Reworded:
    """Puts a record together; the lists are of the learned and, if there is one, manual prompt."""
    template, verbalizer = way
    labels = material.task.labels
    rows: list[Variant] = [
        variant(text, pieces, here, there, labels, paid)
        for here, there, (text, pieces, paid) in zip(found, regular, facts, strict=True)
    ]
    return Reworded(
        name=name,
        template=asdict(template),
        verbalizer={
            label: list(words) for label, words in zip(labels, verbalizer.words, strict=True)
        },
        learned=rows[0],
        manual=rows[1] if len(rows) > 1 else None,
        margin=difference(found[0], found[1]) if len(found) > 1 else None,
    )
