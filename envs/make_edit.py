"""``rlprompt/EditPrompt-v0`` and ``rlprompt/EditPlanted-v0``: edit environments from names."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, Unpack, cast

from rlprompt.core.errors import ConfigError, suggest
from rlprompt.envs.edit_env import EditPromptEnv
from rlprompt.envs.edit_rules import EditRules, EditRuleSettings
from rlprompt.envs.edit_vector_env import EditPromptVectorEnv
from rlprompt.envs.episodes import RuleSettings
from rlprompt.envs.make import TaskSettings, manual_prompts, prompt_parts
from rlprompt.envs.planted import PlantedTaskSettings, planted_parts
from rlprompt.envs.starts import Elites, Start
from rlprompt.objective.objective import Objective
from rlprompt.tasks.vocabulary import ActionVocabulary

#: 'empty', 'manual', 'archive', or a list of texts.
NamedStart: TypeAlias = str | Sequence[str]


class EditParts(NamedTuple):
    """What the classes take."""

    objective: Objective
    vocabulary: ActionVocabulary
    start: Start
    rules: EditRuleSettings


class EditPromptSettings(EditRuleSettings, TaskSettings, total=False):
    """Keyword arguments of ``rlprompt/EditPrompt-v0`` beside ``start``."""


class EditPlantedSettings(EditRuleSettings, PlantedTaskSettings, total=False):
    """Keyword arguments of ``rlprompt/EditPlanted-v0`` beside ``start``."""


def edit_prompt_parts(
    *, start: NamedStart = "empty", **settings: Unpack[EditPromptSettings]
) -> EditParts:
    """Loads what is named, or takes it from an environment that was made before.

    Args:
        start: where episodes start: 'empty'; 'manual' for one of the task's manual prompts of up
            to ``max_length`` tokens; 'archive' for one of the eight best prompts that this
            environment has scored, before there are any the empty one; or a list of texts.
        **settings: those of :class:`~rlprompt.envs.edit_rules.EditRules`, and what
            :func:`~rlprompt.envs.make.prompt_parts` takes to find task, LM and reward.

    Raises:
        ConfigError, DataError, TemplateError, LMError, RunError: as ``prompt_parts`` does.
    """
    rules, others = _split(settings)
    objective, vocabulary, left = prompt_parts(length=EditRules(**rules).max_length, **others)
    _refuse(left)

    def manual() -> Sequence[str]:
        return manual_prompts(**others)

    return EditParts(objective, vocabulary, _named(start, objective, rules, manual), rules)


def edit_planted_parts(
    *, start: NamedStart = "empty", **settings: Unpack[EditPlantedSettings]
) -> EditParts:
    """Makes the parts of a planted environment; the planted prompt has ``max_length`` tokens.

    Args:
        start: 'empty', 'archive' or a list of texts, as in :func:`edit_prompt_parts`.
        **settings: those of :class:`~rlprompt.envs.edit_rules.EditRules`, and what
            :func:`~rlprompt.envs.planted.planted_parts` takes.

    Raises:
        ConfigError: a setting is out of range.
    """
    rules, others = _split(settings)
    objective, vocabulary, left = planted_parts(length=EditRules(**rules).max_length, **others)
    _refuse(left)
    return EditParts(objective, vocabulary, _named(start, objective, rules, tuple), rules)


def make_editprompt_env(
    *,
    start: NamedStart = "empty",
    render_mode: str | None = None,
    **settings: Unpack[EditPromptSettings],
) -> EditPromptEnv:
    """Makes ``rlprompt/EditPrompt-v0``; settings as in :func:`edit_prompt_parts`."""
    objective, vocabulary, where, rules = edit_prompt_parts(start=start, **settings)
    return EditPromptEnv(objective, vocabulary, start=where, render_mode=render_mode, **rules)


def make_editprompt_vector_env(
    num_envs: int = 1,
    *,
    start: NamedStart = "empty",
    render_mode: str | None = None,
    **settings: Unpack[EditPromptSettings],
) -> EditPromptVectorEnv:
    """Makes ``rlprompt/EditPrompt-v0`` for ``gymnasium.make_vec``; all N share one budget."""
    objective, vocabulary, where, rules = edit_prompt_parts(start=start, **settings)
    return EditPromptVectorEnv(
        objective, vocabulary, num_envs, start=where, render_mode=render_mode, **rules
    )


def make_editplanted_env(
    *,
    start: NamedStart = "empty",
    render_mode: str | None = None,
    **settings: Unpack[EditPlantedSettings],
) -> EditPromptEnv:
    """Makes ``rlprompt/EditPlanted-v0``; settings as in :func:`edit_planted_parts`."""
    objective, vocabulary, where, rules = edit_planted_parts(start=start, **settings)
    return EditPromptEnv(objective, vocabulary, start=where, render_mode=render_mode, **rules)


def make_editplanted_vector_env(
    num_envs: int = 1,
    *,
    start: NamedStart = "empty",
    render_mode: str | None = None,
    **settings: Unpack[EditPlantedSettings],
) -> EditPromptVectorEnv:
    """Makes ``rlprompt/EditPlanted-v0`` for ``gymnasium.make_vec``; all N share one budget."""
    objective, vocabulary, where, rules = edit_planted_parts(start=start, **settings)
    return EditPromptVectorEnv(
        objective, vocabulary, num_envs, start=where, render_mode=render_mode, **rules
    )


def _split(settings: Mapping[str, Any]) -> tuple[EditRuleSettings, Any]:
    """Returns the rules, and all else."""
    rules = {k: v for k, v in settings.items() if k in EditRuleSettings.__annotations__}
    others = {k: v for k, v in settings.items() if k not in rules}
    if "length" in others:
        raise TypeError("No setting 'length' here: write max_length.")
    return cast(EditRuleSettings, rules), others


def _refuse(left: RuleSettings) -> None:
    """Refuses settings of other environments.

    Raises:
        TypeError: as Python does for an unexpected argument.
    """
    unknown = sorted(left.keys() - {"length"})
    if unknown:
        raise TypeError(f"Unexpected settings: {', '.join(unknown)}.")


def _named(
    start: NamedStart,
    objective: Objective,
    rules: EditRuleSettings,
    manual: Callable[[], Sequence[str]],
) -> Start:
    """Returns what a name of a start stands for."""
    if not isinstance(start, str):
        return start
    longest = EditRules(**rules).max_length
    if start == "empty":
        return ("",)
    if start == "archive":
        return Elites(objective, longest)
    if start == "manual":
        texts = manual()
        sizes = {text: len(objective.prompt(text)) for text in texts}
        fitting = [text for text in texts if sizes[text] <= longest]
        if not fitting:
            raise ConfigError(
                f"None of the task's {len(texts)} manual prompts has up to max_length = {longest} "
                f"tokens; they have {sorted(sizes.values())}. Allow longer prompts, or give texts."
            )
        return fitting
    known = ("empty", "manual", "archive")
    raise ConfigError(
        f"Unknown start {start!r}.{suggest(start, known)} Known: {', '.join(known)}. For a text of "
        f"your own write a list: [{start!r}]."
    )
