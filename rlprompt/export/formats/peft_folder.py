"""An adapter of PEFT: the embeddings of the prompt's tokens, before all that the LM reads."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlprompt.core.errors import RunError
from rlprompt.core.files import write_json
from rlprompt.export.artifact import Artifact, read_facts
from rlprompt.export.asking import PlainLM
from rlprompt.export.inputs import render, shown
from rlprompt.export.protocol import ExportError, Fields, Reading
from rlprompt.export.targets import PythonLibrary

if TYPE_CHECKING:
    from rlprompt.lm.protocol import FrozenLM

#: What the adapter's own files have no place for.
FACTS = "classifier.json"
_INSTEAD = "PEFT puts a prompt before all else that a causal LM reads"

TARGET = PythonLibrary("peft", "pip install 'rlprompt[tuning]'")


@dataclass(frozen=True)
class PeftFolder:
    """``adapter_config.json``, ``adapter_model.safetensors`` and the facts."""

    target: PythonLibrary = TARGET
    ensembles: bool = False

    def accept(self, artifact: Artifact) -> None:
        """Refuses prompts that do not come first."""
        if artifact.lm.family != "causal":
            raise ExportError(
                f"{_INSTEAD}, and {artifact.lm.name} is a {artifact.lm.family} LM: export it to "
                "python or json."
            )
        if len(artifact.template.prompt_slots) > 1 or artifact.template.split({})[0]:
            raise ExportError(
                f"{_INSTEAD}, but in the template {artifact.template.source!r} something stands "
                "before it: export it to text, json or python, or learn a prompt with e.g. "
                "--template '{prompt} {text}'."
            )
        if not artifact.prompt:
            raise ExportError("An empty prompt has no embeddings: there is no adapter to write.")

    def write(self, artifact: Artifact, path: Path, lm: "Callable[[], FrozenLM]") -> None:
        """Writes the folder.

        Raises:
            ConfigError: the tokenizer puts a start token before the text.
        """
        from rlprompt.tuning.peft_files import save_text

        loaded: Any = lm()
        save_text(path, loaded, artifact.template, artifact.prompt)
        config = path / "adapter_config.json"
        try:
            value = json.loads(config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"Cannot read {config}: {error}.") from error
        write_json(config, {**value, "base_model_name_or_path": artifact.lm.location})
        # What the LM is given with the adapter on: the input without the prompt.
        write_json(path / FACTS, {**artifact.facts(), "input_after_adapter": _rest(artifact)})

    def read(self, path: Path, examples: Sequence[Fields]) -> Iterator[Reading]:
        """Loads the adapter by PEFT; its rows are looked up among the LM's embeddings."""
        import torch
        from peft import PeftModel

        facts = json.loads((path / FACTS).read_text(encoding="utf-8"))
        lm = PlainLM(read_facts(facts))
        base, tokenizer = lm.loaded
        table = base.get_input_embeddings().weight
        adapted: Any = PeftModel.from_pretrained(base, str(path)).eval()
        soft = adapted.get_prompt_embedding_to_save("default").to(table)
        prompt = [int((table == row).all(1).nonzero()[0]) for row in soft]
        for fields in examples:
            (rest,) = render([facts["input_after_adapter"]], fields)
            ids = tokenizer(rest)["input_ids"]
            found = []
            with torch.inference_mode():
                for word in lm.artifact.flat_words:
                    answer = tokenizer(word, add_special_tokens=False)["input_ids"]
                    logits = adapted(torch.tensor([ids + answer])).logits[0].float()
                    # PEFT gives the logits of its own rows as well, which come first.
                    logits = logits[len(prompt) + len(ids) - 1 : -1].log_softmax(-1)
                    found.append(logits.gather(1, torch.tensor(answer)[:, None]).sum())
            text = tokenizer.decode(prompt, clean_up_tokenization_spaces=False) + rest
            yield lm.reading(text, [*prompt, *ids], torch.stack(found))


def _rest(artifact: Artifact) -> str:
    """Returns the input without the prompt, a format string."""
    piece = artifact.template.pieces(artifact.prompt)[0]
    escaped = piece.replace("{", "{{").replace("}", "}}")
    return shown(artifact.input).removeprefix(escaped)
