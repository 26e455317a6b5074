"""Quick and quiet reading of GGUF files by transformers."""

import importlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any


@contextmanager
def read_once() -> Iterator[None]:
    """Has transformers parse a GGUF file once and draw no bar, for the time of one load.

    transformers 5.23 parses the whole file for the config, the weights and the tokenizer each, and
    builds the same table of tensor names for every module of the model: half of the time of a load.
    Its bar is tqdm's own, which no logging setting turns off.

    Raises:
        ImportError: the package ``gguf`` is not installed.
    """
    gguf: Any = importlib.import_module("gguf")
    loader: Any = importlib.import_module("transformers.modeling_gguf_pytorch_utils")
    with ExitStack() as stack:
        for module, name, value in (
            (gguf, "GGUFReader", lru_cache(gguf.GGUFReader)),
            (gguf, "get_tensor_name_map", lru_cache(gguf.get_tensor_name_map)),
            (loader, "tqdm", lambda items, **_: items),
        ):
            if hasattr(module, name):
                stack.callback(setattr, module, name, getattr(module, name))
                setattr(module, name, value)
        yield


def as_plain(model: Any) -> None:
    """Takes the mark of a quantized model off one that is not.

    What transformers reads from a GGUF file are plain numbers, yet it marks the model, and then
    refuses to change the dtype and to save it.
    """
    model.is_quantized = False
    for holder, name in (
        (model, "hf_quantizer"),
        (model, "quantization_method"),
        (model.config, "quantization_config"),
    ):
        vars(holder).pop(name, None)
