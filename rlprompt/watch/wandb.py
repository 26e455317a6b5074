"""Learning curves for Weights & Biases."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from rlprompt.core.errors import ConfigError
from rlprompt.watch.remembered import remember, remembered
from rlprompt.watch.watcher import Job, Point, plain_name

#: Of wandb itself: it must not touch the terminal, read the code, or ask for a key without end.
_QUIET = {"console": "off", "disable_code": True, "disable_git": True, "login_timeout": 60}


class WandB:
    """Tells Weights & Biases of a run: its configuration, its curves, its scores and its prompt.

    Where to is wandb's own business: ``WANDB_MODE=offline`` writes to the run's folder and nowhere
    else, ``WANDB_PROJECT`` and ``WANDB_ENTITY`` say whose it is.
    """

    def __init__(self, project: str | None = None, **settings: Any) -> None:
        """Makes a watcher; nothing is sent yet.

        Args:
            project: name of the project; None for WANDB_PROJECT, else 'rlprompt'.
            **settings: of ``wandb.init``: entity, name, group, tags, mode, ...

        Raises:
            ConfigError: wandb is not installed.
        """
        if find_spec("wandb") is None:
            raise ConfigError(
                "Weights & Biases need the package wandb: pip install 'rlprompt[wandb]'."
            )
        self._project = project or os.environ.get("WANDB_PROJECT") or "rlprompt"
        self._settings = settings
        self._run: Any = None
        self._goes_on = False
        self._curves: set[str] = set()

    def begin(self, job: Job) -> None:
        """See :class:`Watcher`."""
        # Reports of wandb's own failures are nothing that anybody asked for.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        home = None if job.folder is None else job.folder / "wandb"
        run_id = remembered(home, self._project)
        self._goes_on = run_id is not None
        given = {"name": job.name, "config": dict(job.config), "id": run_id, "resume": "allow"}
        if job.folder is not None and home is not None:
            home.mkdir(exist_ok=True)
            given["dir"] = str(job.folder)
        own = dict(self._settings)
        settings = wandb.Settings(**{**_QUIET, **_as_dict(own.pop("settings", None))})
        self._run = wandb.init(project=self._project, **{**given, **own}, settings=settings)
        remember(home, self._project, str(self._run.id))

    def point(self, point: Point) -> None:
        """See :class:`Watcher`."""
        if point.told and self._goes_on:
            return
        curve = plain_name(point.curve)
        if curve not in self._curves:
            self._curves.add(curve)
            self._run.define_metric(f"{curve}/forwards", hidden=True)
            self._run.define_metric(f"{curve}/*", step_metric=f"{curve}/forwards")
        values = {"forwards": point.forwards, **point.values()}
        self._run.log({f"{curve}/{name}": value for name, value in values.items()})

    def end(self, outcome: Mapping[str, float | str] | None) -> None:
        """See :class:`Watcher`."""
        if self._run is None:
            return
        self._run.summary.update(dict(outcome or {}))
        self._run.finish(exit_code=0 if outcome is not None else 1)


def _as_dict(settings: Any) -> dict[str, Any]:
    """Returns the settings that somebody gave, be they a table or wandb's own object."""
    if settings is None or isinstance(settings, Mapping):
        return dict(settings or {})
    return dict(settings.model_dump(exclude_unset=True))
