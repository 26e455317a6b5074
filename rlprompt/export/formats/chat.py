"""Messages for a chat interface, with a chat template under which they are the text itself."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rlprompt.core.files import write_json
from rlprompt.export.artifact import Artifact, read_facts
from rlprompt.export.asking import PlainLM
from rlprompt.export.inputs import render
from rlprompt.export.protocol import ExportError, Fields, Reading
from rlprompt.export.targets import TRANSFORMERS, PythonLibrary

if TYPE_CHECKING:
    from rlprompt.lm.protocol import FrozenLM

#: Jinja: the contents of all messages, nothing between and around them.
CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


@dataclass(frozen=True)
class ChatFile:
    """One message of the user, a format string.

    The prompt was learned on bare text. A chat template of an LM's own puts role marks around a
    message, so that the LM reads something else; the file brings the one that adds nothing, for
    ``apply_chat_template(messages, chat_template=...)`` or ``vllm serve --chat-template``.
    """

    target: PythonLibrary = TRANSFORMERS
    ensembles: bool = False

    def accept(self, artifact: Artifact) -> None:
        """Refuses LMs that do not go on with a text."""
        if artifact.lm.family != "causal":
            raise ExportError(
                f"A chat goes on with a text, which a {artifact.lm.family} LM does not: export it "
                "to python or json."
            )

    def write(self, artifact: Artifact, path: Path, lm: "Callable[[], FrozenLM]") -> None:
        """Writes the file."""
        (text,) = artifact.input
        value = {
            "messages": [{"role": "user", "content": text}],
            "chat_template": CHAT_TEMPLATE,
            "add_generation_prompt": False,
            "answers": artifact.flat_words,
            "metadata": artifact.facts(),
        }
        write_json(path, value)

    def read(self, path: Path, examples: Sequence[Fields]) -> Iterator[Reading]:
        """Renders the messages by ``apply_chat_template``."""
        chat = json.loads(path.read_text(encoding="utf-8"))
        lm = PlainLM(read_facts(chat["metadata"]))
        tokenizer = lm.loaded[1]
        for fields in examples:
            messages = [
                {**each, "content": render([each["content"]], fields)[0]}
                for each in chat["messages"]
            ]
            asked = {"chat_template": chat["chat_template"], "add_generation_prompt": False}
            text = tokenizer.apply_chat_template(messages, tokenize=False, **asked)
            yield lm.read([text])
