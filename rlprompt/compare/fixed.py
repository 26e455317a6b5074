"""Prompts that nobody learned: empty, written by hand, or the train examples themselves."""

from dataclasses import dataclass

from rlprompt.core.errors import ConfigError
from rlprompt.core.evaluation import FloatArray, fit_calibration
from rlprompt.core.ledger import Ledger
from rlprompt.core.prompt import Prompt
from rlprompt.core.result import SplitScores
from rlprompt.objective.split_scorer import Question, SplitScorer
from rlprompt.run.final import Baselines, evaluation_on
from rlprompt.run.parts import Parts
from rlprompt.tasks.examples import Example, Split
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_of, prompt_text

#: Demonstrations a label; the other train examples of the label fit the calibration.
DEMONSTRATIONS = 4


@dataclass(frozen=True, eq=False)
class Contestant:
    """A prompt that was settled on train and dev, or an ensemble of them, ready for test.

    Attributes:
        question: template and label words it was made for.
        prompts: the prompt, or those whose predictions are averaged.
        text: text of the first of them.
        bias: calibration of each label, shape (n_labels,).
        train_reward: by the run's reward.
        dev: its scores on dev.
    """

    question: Question
    prompts: tuple[Prompt, ...]
    text: str
    bias: FloatArray
    train_reward: float
    dev: SplitScores


def contestant(run: Parts, *prompts: Prompt) -> Contestant:
    """Describes prompts of the run's own template, scored on train and dev before."""
    on_train = evaluation_on([run.train], prompts, run.train)
    return Contestant(
        run.question,
        prompts,
        prompt_text(run.lm.tokenizer, run.task.template, prompts[0]),
        on_train.bias,
        run.reward(on_train),
        SplitScores.of(evaluation_on(run.dev, prompts, run.train)),
    )


def fixed_prompt(run: Parts, name: str, base: Baselines, ledger: Ledger) -> Contestant:
    """Settles a fixed prompt on train and dev; what it takes is in nobody's budget.

    Args:
        run: the parts of a run.
        name: 'empty', 'manual' or 'in-context'.
        base: the empty and the manual prompts, scored.
        ledger: counts the forwards.

    Raises:
        ConfigError: 'manual' without manual prompts, or too few examples for 'in-context', or too
            little room for them in the LM's context.
    """
    if name == "empty":
        return contestant(run, base.empty)
    if name == "in-context":
        return in_context(run, base.manual, ledger)
    if not run.manual:
        raise ConfigError(
            f"The task {run.task.name!r} has no manual prompts: give it some (manual_prompts), or "
            "leave 'manual' out of fixed."
        )
    return contestant(run, base.manual)


def in_context(run: Parts, manual: Prompt, ledger: Ledger) -> Contestant:
    r"""Puts train examples with their labels before the input (Brown et al. 2020, sec. 2).

    Each demonstration is the task's template with the best manual prompt and the label's first
    word; a blank line stands between them. Up to four a label are taken in the order of train,
    labels in turn. Calibration is fitted on the other train examples: on a demonstration the LM
    would only have to copy.

    Raises:
        ConfigError: a label has a single train example.
    """
    task, tokenizer = run.task, run.lm.tokenizer
    shown, others = deal_demonstrations(task.train, len(task.labels))
    text = prompt_text(tokenizer, task.template, manual)
    words = task.verbalizer.words
    demonstrations = "".join(
        answered(task.template, example, text, words[example.label][0]) + "\n\n"
        for example in shown
    )
    template = Template("{prompt}" + with_prompt(task.template, text), task.template.answer_prefix)
    prompt = prompt_of(tokenizer, template, demonstrations)
    question = Question(template, task.verbalizer, len(prompt))
    train = SplitScorer(run.lm, question, Split("train", tuple(others)), run.log)
    dev = SplitScorer(run.lm, question, task.dev, run.log)
    for scorer in (train, dev):
        ledger.forwards += scorer.n_examples
        scorer.logprobs([prompt], ledger)
        scorer.release()
    return Contestant(
        question,
        (prompt,),
        prompt_text(tokenizer, template, prompt),
        fit_calibration(train.known(prompt)),
        run.reward(evaluation_on([train], [prompt], train)),
        SplitScores.of(evaluation_on([dev], [prompt], train)),
    )


def answered(template: Template, example: Example, text: str, word: str) -> str:
    """Returns a rendered example with its answer: where ``{mask}`` stands, or else at the end."""
    if template.has_mask:
        return word.join(template.render_around_mask(example.fields, text))
    return template.render(example.fields, text) + template.answer_prefix + word


def deal_demonstrations(
    train: Split, n_labels: int, most: int = DEMONSTRATIONS
) -> tuple[list[Example], list[Example]]:
    """Takes up to ``most`` examples a label, labels in turn, and at most half of each label's.

    Returns:
        Those taken and the others, in the order of train.

    Raises:
        ConfigError: a label has a single example.
    """
    by_label = [[e for e in train if e.label == label] for label in range(n_labels)]
    count = min(most, min(map(len, by_label)) // 2)
    if count < 1:
        raise ConfigError(
            "In-context examples need two train examples a label, one to show and one to calibrate "
            "on: give --shots 2 or more, or leave 'in-context' out of fixed."
        )
    taken = [examples[n] for n in range(count) for examples in by_label]
    return taken, [example for example in train if example not in taken]


def with_prompt(template: Template, text: str) -> str:
    """Returns a template's source with the text of a prompt in place of its slots."""
    pieces = template.pieces(text)
    return template.with_slots([p.replace("{", "{{").replace("}", "}}") for p in pieces])
