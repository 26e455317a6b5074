"""Learn interpretable text prompts for frozen language models by reinforcement learning.

The names below are loaded on first use, so that ``import rlprompt`` loads neither torch nor
transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rlprompt.core.version import __version__

if TYPE_CHECKING:
    from rlprompt.core.result import Result
    from rlprompt.lm.loading import LMConfig, load_lm
    from rlprompt.run.config import RunConfig
    from rlprompt.run.multi_task import Learned, MultiTaskPredictor
    from rlprompt.run.optimize import optimize
    from rlprompt.run.predictor import Prediction, Predictor, load
    from rlprompt.tasks.registry import load_task
    from rlprompt.tasks.task import Task

_HOMES = {
    "LMConfig": "rlprompt.lm.loading",
    "Learned": "rlprompt.run.multi_task",
    "MultiTaskPredictor": "rlprompt.run.multi_task",
    "Prediction": "rlprompt.run.predictor",
    "Predictor": "rlprompt.run.predictor",
    "Result": "rlprompt.core.result",
    "RunConfig": "rlprompt.run.config",
    "Task": "rlprompt.tasks.task",
    "load": "rlprompt.run.predictor",
    "load_lm": "rlprompt.lm.loading",
    "load_task": "rlprompt.tasks.registry",
    "optimize": "rlprompt.run.optimize",
}

__all__ = [
    "LMConfig",
    "Learned",
    "MultiTaskPredictor",
    "Prediction",
    "Predictor",
    "Result",
    "RunConfig",
    "Task",
    "__version__",
    "load",
    "load_lm",
    "load_task",
    "optimize",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'rlprompt' has no attribute {name!r}")
