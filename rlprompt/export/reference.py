"""What this library makes of a prompt: rendered inputs, token ids, scores."""

from collections.abc import Sequence

from rlprompt.core.evaluation import calibrate, pool
from rlprompt.core.result import Result
from rlprompt.export.artifact import Artifact
from rlprompt.export.asking import joined
from rlprompt.export.protocol import ExportError, Reading
from rlprompt.lm.causal import CausalLM
from rlprompt.lm.masked import MaskedLM
from rlprompt.lm.masked_inputs import masked_inputs
from rlprompt.lm.protocol import FrozenLM
from rlprompt.lm.seq2seq import Seq2SeqLM
from rlprompt.tasks.examples import Example
from rlprompt.tasks.tokenization import prompt_of
from rlprompt.tasks.verbalizer import Verbalizer


def readings(
    result: Result, artifact: Artifact, lm: FrozenLM, examples: Sequence[Example]
) -> list[Reading]:
    """Scores examples as the run did, by packed forwards where it can.

    Raises:
        ExportError: a text does not fit the LM's context.
    """
    import numpy as np

    template = artifact.template
    texts = [each.prompt for each in artifact.members]
    prompts = [prompt_of(lm.tokenizer, template, text) for text in texts]
    verbalizer = Verbalizer.of(artifact.labels, result.verbalizer)
    scorer = lm.bind(template, verbalizer, examples, max_prompt_tokens=max(map(len, prompts)))
    if scorer.truncated:
        raise ExportError(f"{scorer.truncated} of the texts do not fit the LM's context.")
    bias = np.asarray([artifact.calibration[label] for label in artifact.labels])
    scores = calibrate(pool([*scorer.choice_logprobs(prompts)]), bias)
    return [
        Reading(
            *joined(
                [template.render_around_mask(example.fields, text) for text in texts],
                [_ids(lm, artifact, verbalizer, example, text) for text in texts],
            ),
            dict(zip(artifact.labels, map(float, row), strict=True)),
        )
        for example, row in zip(examples, scores, strict=True)
    ]


def _ids(
    lm: FrozenLM, artifact: Artifact, verbalizer: Verbalizer, example: Example, text: str
) -> tuple[int, ...]:
    """Returns the ids that the LM is given for an example with a prompt."""
    template = artifact.template
    prompt = prompt_of(lm.tokenizer, template, text)
    if isinstance(lm, CausalLM):
        left, right = template.split(example.fields)
        encode = lm.tokenizer.encode
        return (*lm.tokenizer.start_ids, *encode(left), *prompt.ids, *encode(right))
    if isinstance(lm, MaskedLM):
        inputs = masked_inputs(
            lm.tokenizer,
            template,
            verbalizer,
            [example],
            max_prompt_tokens=len(prompt),
            context=None,
        )
        return inputs.row(0, prompt, 1)[0]
    if isinstance(lm, Seq2SeqLM):
        (whole,) = template.render_around_mask(example.fields, text)
        return (*lm.tokenizer.start_ids, *lm.tokenizer.encode(whole), *lm.tokenizer.end_ids)
    raise ExportError(f"What {type(lm).__name__} reads cannot be compared with other tools.")
