"""Prefix tuning: keys and values before the input, in every layer (Li and Liang 2021).

    Prefix-Tuning: Optimizing Continuous Prompts for Generation, arXiv:2101.00190

They are trained as they are, as in P-Tuning v2 (Liu et al. 2022, arXiv:2110.07602, sec. 3.3), which
found that the paper's own detour through a small network helps on some tasks and hurts on others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch

from rlprompt.core.errors import ConfigError
from rlprompt.core.events import OnEvent
from rlprompt.tuning.adapters import save_adapter, with_adapter
from rlprompt.tuning.gradient import GradientTuner
from rlprompt.tuning.protocol import Problem, Traits, check_family
from rlprompt.tuning.text import check_text, slot_text
from rlprompt.tuning.tuned_model import ChangedModel, TunedModel


@dataclass(frozen=True)
class Prefix(GradientTuner):
    """Trains a prefix by gradient. A :class:`~rlprompt.tuning.protocol.Tuner`.

    The prefix begins as the LM's own keys and values of words: where data are few that is better
    than random numbers by far, and better the nearer the words are to the task (sec. 7.4 of the
    paper). The words are the prompt, or the label words where it is empty.

    Attributes:
        length: positions of the prefix.
        text: the prompt, in its own place in the template; '' for whichever of the task's manual
            prompts is likeliest on dev.
    """

    name: ClassVar[str] = "prefix"

    learning_rates: tuple[float, ...] = (3e-3, 1e-2, 3e-2)
    length: int = 5
    text: str = ""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant.

        Raises:
            ConfigError: with what to write instead.
        """
        super().__post_init__()
        check_text(self.text)
        if type(self.length) is not int or self.length < 1:
            raise ConfigError(f"length must be 1 or more positions, not {self.length!r}.")

    @property
    def traits(self) -> Traits:
        """What sets it apart; peft feeds a prefix as a cache, which masked LMs do not have."""
        return Traits(True, False, False, ("causal", "seq2seq"), True)

    def tune(
        self, problem: Problem, *, seed: int, on_event: OnEvent, work: Path | None
    ) -> TunedModel:
        """See :meth:`rlprompt.tuning.protocol.Tuner.tune`."""
        check_family(self.name, self.traits, problem.lm)
        # Stands around the LM's own model, which keeps its modules.
        adapter = with_adapter(
            self.name,
            problem,
            problem.lm.model,
            "PrefixTuningConfig",
            seed,
            num_virtual_tokens=self.length,
        )
        template = self.template_of(problem)
        prompt = slot_text(problem, template, self.text)
        words = problem.task.verbalizer.flat
        ids = prompt.ids or [
            token
            for word in words
            for token in problem.lm.tokenizer.encode(template.answer_prefix + word)
        ]
        _begin(adapter, [ids[n % len(ids)] for n in range(self.length)])
        changed = ChangedModel(template, prompt, adapter, takes=self.length)
        history = self.train(problem, changed, seed=seed, on_event=on_event, work=work)
        return TunedModel(problem, changed, partial(save_adapter, adapter), history)


@torch.no_grad()
def _begin(adapter: Any, ids: Sequence[int]) -> None:
    """Sets the prefix to the keys and values of ids."""
    model = adapter.get_base_model()
    tokens = torch.tensor([list(ids)], device=model.device)
    given = {"input_ids": tokens}
    if model.config.is_encoder_decoder:
        given["decoder_input_ids"] = tokens
    cache = model(**given, use_cache=True).past_key_values
    # Each (1, heads, length, head width); peft has all of a position in one row, layer by layer.
    kept = [
        each[0].transpose(0, 1).flatten(1)
        for layer in getattr(cache, "self_attention_cache", cache).layers
        for each in (layer.keys, layer.values)
    ]
    (encoder,) = adapter.prompt_encoder.values()
    encoder.embedding.weight.copy_(torch.cat(kept, dim=1))
