"""Gymnasium environments that write prompts token by token, or edit them.

Importing this package registers ``rlprompt/Prompt-v0`` and ``rlprompt/EditPrompt-v0``, and the same
without an LM, ``rlprompt/Planted-v0`` and ``rlprompt/EditPlanted-v0``; it loads neither torch nor
transformers.

    >>> import gymnasium
    >>> import rlprompt.envs
    >>> env = gymnasium.make("rlprompt/Planted-v0", vocabulary_size=8, length=2)
    >>> observation, info = env.reset(seed=0)
    >>> observation
    array([-1, -1])
"""

import gymnasium

from rlprompt.envs.edit_env import EditPromptEnv
from rlprompt.envs.edit_rules import EditKind, EditRules
from rlprompt.envs.edit_vector_env import EditPromptVectorEnv
from rlprompt.envs.episodes import EMPTY, EpisodeRules
from rlprompt.envs.prompt_env import PromptEnv
from rlprompt.envs.vector_env import PromptVectorEnv

__all__ = [
    "EMPTY",
    "EditKind",
    "EditPromptEnv",
    "EditPromptVectorEnv",
    "EditRules",
    "EpisodeRules",
    "PromptEnv",
    "PromptVectorEnv",
    "register_envs",
]

#: The module that makes each environment.
_MAKERS = {
    "Prompt": "make",
    "Planted": "planted",
    "EditPrompt": "make_edit",
    "EditPlanted": "make_edit",
}


def register_envs() -> None:
    """Registers the environments with Gymnasium; what is registered already stays."""
    for name, module in _MAKERS.items():
        if f"rlprompt/{name}-v0" not in gymnasium.registry:
            maker = f"rlprompt.envs.{module}:make_{name.lower()}"
            gymnasium.register(
                f"rlprompt/{name}-v0",
                entry_point=f"{maker}_env",
                vector_entry_point=f"{maker}_vector_env",
            )


register_envs()
