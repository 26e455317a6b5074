"""What an export format is: a file of this package that writes and says how it is read back.

The loop that calls it, here and in a process of its own::

    exporter.accept(artifact)                 # refuses what the format cannot hold
    exporter.write(artifact, path, lm)        # needs no target library
    # in a child process, where the target library is installed:
    for reading in exporter.read(path, examples): ...
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rlprompt.core.errors import RLPromptError
from rlprompt.core.registry import Registry
from rlprompt.export.artifact import Artifact

if TYPE_CHECKING:
    from rlprompt.lm.protocol import FrozenLM

Fields = Mapping[str, str]


class ExportError(RLPromptError):
    """A format cannot hold this prompt, or the place cannot be written to."""


@dataclass(frozen=True)
class Reading:
    """What a target library made of an export, for one example.

    Attributes:
        text: the input as it was rendered, with ``{mask}`` where the LM answers at a mask.
        ids: token ids that the LM reads, start tokens included; an encoder-decoder's encoder.
        logprobs: calibrated log-probability of each label.
    """

    text: str
    ids: tuple[int, ...]
    logprobs: Mapping[str, float]


class Target(Protocol):
    """What reads an export."""

    @property
    def install(self) -> str:
        """The line that installs it."""

    def version(self) -> str:
        """Returns name and version, or '' where it is not installed."""


class Exporter(Protocol):
    """One format. A class without arguments."""

    @property
    def ensembles(self) -> bool:
        """Whether it holds several prompts whose predictions are averaged."""

    @property
    def target(self) -> Target:
        """What reads it back."""

    def accept(self, artifact: Artifact) -> None:
        """Refuses what the format cannot hold without loss.

        Raises:
            ExportError: says why, and what to choose instead.
        """

    def write(self, artifact: Artifact, path: Path, lm: "Callable[[], FrozenLM]") -> None:
        """Writes the file, or the folder.

        Args:
            artifact: what :meth:`accept` accepted.
            path: of the file or folder.
            lm: loads the LM, for a format that holds numbers of it.

        Raises:
            RLPromptError: it cannot be written.
        """

    def read(self, path: Path, examples: Sequence[Fields]) -> Iterable[Reading]:
        """Reads it through the target library and asks the LM, both as the export names them.

        Called in a process of its own; may raise anything.
        """


#: A target is a class without arguments.
EXPORTS: Registry[Callable[[], Exporter]] = Registry("export format")
_FORMATS = "rlprompt.export.formats"
EXPORTS.register("text", f"{_FORMATS}.text:TextFile", "the bare prompt, facts in a file beside it")
EXPORTS.register("json", f"{_FORMATS}.json_file:JsonFile", "everything, for programs of your own")
EXPORTS.register(
    "chat", f"{_FORMATS}.chat:ChatFile", "messages with a chat template that adds none"
)
EXPORTS.register("python", f"{_FORMATS}.python_file:PythonFile", "a script with transformers only")
EXPORTS.register("model-card", f"{_FORMATS}.model_card:ModelCard", "Markdown for a model hub")
EXPORTS.register("peft", f"{_FORMATS}.peft_folder:PeftFolder", "adapter folder, prompt first only")
EXPORTS.register("langchain", f"{_FORMATS}.langchain_file:LangChainFile", "PromptTemplate as JSON")
EXPORTS.register("dspy", f"{_FORMATS}.dspy_state:DspyState", "state of a dspy.Predict as JSON")
EXPORTS.register("lm-eval", f"{_FORMATS}.lm_eval_task:LmEvalTask", "folder with an evaluation task")
EXPORTS.register("promptfoo", f"{_FORMATS}.promptfoo_file:PromptfooFile", "promptfooconfig.yaml")


def make_exporter(name: str) -> Exporter:
    """Makes the exporter of a registered format, or of an import path ``module:Class``.

    Raises:
        ConfigError: the name is unknown; the message holds the nearest one.
    """
    return EXPORTS.get(name)()
