"""The text prompt that a tuner begins from."""

import numpy as np

from rlprompt.core.errors import BudgetExhausted, ConfigError
from rlprompt.core.prompt import Prompt
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_of
from rlprompt.tuning.protocol import Problem
from rlprompt.tuning.trainable import TextPrompt, bind, scores


def check_text(text: str) -> None:
    """Refuses a text of white space.

    Raises:
        ConfigError: with what to write instead.
    """
    if text and not text.strip():
        raise ConfigError("The text is nothing but white space: write a few words.")


def slot_text(problem: Problem, template: Template, text: str) -> Prompt:
    """Returns the prompt that a text is in the template; that of '' is :func:`best_manual`.

    Raises:
        ConfigError: the budget does not cover the choice.
    """
    return (
        prompt_of(problem.lm.tokenizer, template, text) if text else best_manual(problem, template)
    )


def best_manual(problem: Problem, template: Template) -> Prompt:
    """Returns the manual prompt that is likeliest on dev; the empty one if the task has none.

    Every manual prompt costs one LM forward a dev example.

    Raises:
        ConfigError: the budget does not cover that.
    """
    gold = np.asarray(problem.task.dev.gold)
    found: dict[Prompt, float] = {}
    texts = problem.task.manual_prompts
    for prompt in dict.fromkeys(prompt_of(problem.lm.tokenizer, template, t) for t in texts):
        try:
            problem.ledger.charge(len(gold), problem.budget)
        except BudgetExhausted as error:
            raise ConfigError(
                f"{problem.budget.forwards} LM forwards for the tuning do not cover the choice of "
                f"a text to begin from: allow {len(texts) * len(gold)} for that and more for the "
                "training, or give a text."
            ) from error
        asked = TextPrompt(template, prompt)
        logprobs = scores(asked, bind(problem, asked, tuple(problem.task.dev)))
        found[prompt] = float(logprobs[np.arange(len(gold)), gold].mean())
    return max(found, key=lambda prompt: found[prompt], default=Prompt())
