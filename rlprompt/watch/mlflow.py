"""Learning curves for MLflow."""

import os
import time
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from rlprompt.core.errors import ConfigError
from rlprompt.watch.remembered import remember, remembered
from rlprompt.watch.watcher import Job, Point, plain_name

FOLDER = "mlflow"
#: Longest value of a parameter; MLflow's own limit was 500 once and is higher now.
_LONGEST = 500


class MLflow:
    """Tells MLflow of a run: its configuration, its curves, its scores and its prompt.

    Without a server named, everything goes into a database in the run's folder:
    ``mlflow ui --backend-store-uri sqlite:///runs/mine/mlflow/mlflow.db`` shows it.
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        experiment: str | None = None,
        *,
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Makes a watcher; nothing is written yet.

        Args:
            tracking_uri: of a server or database; None for MLFLOW_TRACKING_URI, else the run's own
                folder.
            experiment: name of the experiment; None for MLFLOW_EXPERIMENT_NAME, else 'rlprompt'.
            name: of the run; None for the name of its folder.
            tags: of the run.

        Raises:
            ConfigError: MLflow is not installed.
        """
        if find_spec("mlflow") is None:
            raise ConfigError("MLflow needs the package mlflow: pip install 'rlprompt[mlflow]'.")
        self._uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        self._experiment = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "rlprompt"
        self._name, self._tags = name, dict(tags or {})
        self._client: Any = None
        self._run_id = ""
        self._goes_on = False

    def begin(self, job: Job) -> None:
        """See :class:`Watcher`."""
        # Statistics of who uses MLflow how are nothing that anybody asked for.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.entities import Param, RunTag
        from mlflow.tracking import MlflowClient

        home = None if job.folder is None else job.folder.resolve() / FOLDER
        uri, artifacts = self._uri, None
        if uri is None:
            if home is None:
                raise ConfigError(
                    "A run without a folder needs a tracking_uri, or MLFLOW_TRACKING_URI."
                )
            home.mkdir(exist_ok=True)
            uri, artifacts = f"sqlite:///{home / 'mlflow.db'}", (home / "artifacts").as_uri()
        self._client = client = MlflowClient(tracking_uri=uri)
        run_id = remembered(home, uri)
        self._goes_on = run_id is not None
        if run_id is not None:
            self._run_id = run_id
            client.update_run(run_id, status="RUNNING")
            return
        found = client.get_experiment_by_name(self._experiment)
        experiment = (
            client.create_experiment(self._experiment, artifact_location=artifacts)
            if found is None
            else found.experiment_id
        )
        run = client.create_run(experiment, run_name=self._name or job.name)
        self._run_id = run.info.run_id
        params = [Param(k, str(v)[:_LONGEST]) for k, v in job.config.items() if v is not None]
        tags = [RunTag(k, str(v)) for k, v in self._tags.items()]
        client.log_batch(self._run_id, params=params, tags=tags)
        remember(home, uri, self._run_id)

    def point(self, point: Point) -> None:
        """See :class:`Watcher`."""
        if not (point.told and self._goes_on):
            curve = plain_name(point.curve)
            values = {f"{curve}/{plain_name(k)}": v for k, v in point.values().items()}
            self._log(values, point.forwards)

    def end(self, outcome: Mapping[str, float | str] | None) -> None:
        """See :class:`Watcher`."""
        if not self._run_id:
            return
        if outcome is not None:
            self._log({k: v for k, v in outcome.items() if not isinstance(v, str)}, 0)
            for name, value in outcome.items():
                if isinstance(value, str):
                    self._client.set_tag(self._run_id, name, value)
        status = "FINISHED" if outcome is not None else "KILLED"
        self._client.set_terminated(self._run_id, status)

    def _log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, float(value), now, step) for name, value in values.items()]
        self._client.log_batch(self._run_id, metrics=metrics)
