"""What is told to Weights & Biases and to MLflow: by fakes, and by the real ones if installed."""

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import pytest

from rlprompt.core.errors import ConfigError
from rlprompt.watch import Job, MLflow, WandB
from rlprompt.watch.watching import Watching

OUTCOME = {"test/accuracy": 0.75, "prompt": " It was"}


def run(folder, told, *watchers, outcome=OUTCOME):
    with Watching(Job(folder, {"agent": "ppo", "shots": None}, 300), watchers) as watching:
        for each in told:
            watching(each)
        if outcome is not None:
            watching.finish(outcome)


class FakeRun:
    """As much of a wandb.Run as is called."""

    def __init__(self, settings):
        self.settings = settings
        self.id = settings["id"] or "new-id"
        self.rows, self.metrics, self.summary, self.exit_code = [], [], {}, None

    def define_metric(self, name, step_metric=None, hidden=None):
        self.metrics.append((name, step_metric))

    def log(self, row):
        self.rows.append(row)

    def finish(self, exit_code):
        self.exit_code = exit_code


@pytest.fixture
def wandb(monkeypatch):
    """A fake wandb; its runs."""
    runs = []
    fake = ModuleType("wandb")
    fake.__spec__ = importlib.util.spec_from_loader("wandb", None)
    fake.Settings = lambda **settings: settings

    def init(**settings):
        runs.append(FakeRun(settings))
        return runs[-1]

    fake.init = init
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    return runs


def test_wandb_hears_configuration_curve_and_outcome(wandb, tmp_path, events):
    given = WandB("mine", tags=["a"], settings={"login_timeout": 5})
    run(tmp_path, [*events(2), *events(1, "random")], given)
    [told] = wandb
    assert told.settings["project"] == "mine"
    assert told.settings["tags"] == ["a"]
    assert told.settings["config"] == {"agent": "ppo", "shots": None}
    assert told.settings["dir"] == str(tmp_path)
    assert told.settings["settings"]["console"] == "off"
    assert told.settings["settings"]["login_timeout"] == 5
    assert ("ppo/*", "ppo/forwards") in told.metrics
    assert ("random/*", "random/forwards") in told.metrics
    assert told.rows[1] == {
        "ppo/forwards": 20,
        "ppo/best": -0.5,
        "ppo/mean": -1,
        "ppo/entropy": 0.5,
        "ppo/unique": 4,
        "ppo/loss": 0.5,
    }
    assert next(iter(told.rows[2])) == "random/forwards"
    assert (told.summary, told.exit_code) == (OUTCOME, 0)


def test_wandb_goes_on_with_its_run_and_tells_nothing_twice(wandb, tmp_path, events):
    run(tmp_path, events(2), WandB(), outcome=None)
    run(tmp_path, events(4), WandB())
    first, second = wandb
    assert (first.exit_code, second.exit_code) == (1, 0)
    assert (first.settings["id"], second.settings["id"]) == (None, "new-id")
    assert [row["ppo/forwards"] for row in (*first.rows, *second.rows)] == [10, 20, 30, 40]
    # Where it was not asked for at first, it hears of everything.
    run(tmp_path, events(4), WandB("another"))
    assert wandb[2].settings["id"] is None
    assert len(wandb[2].rows) == 4


class FakeClient:
    """As much of an MlflowClient as is called."""

    made: "list[FakeClient]" = []  # noqa: RUF012 - emptied by the fixture

    def __init__(self, tracking_uri):
        self.uri = tracking_uri
        self.calls, self.metrics, self.tags = [], [], {}
        FakeClient.made.append(self)

    def get_experiment_by_name(self, name):
        self.calls.append(("get", name))

    def create_experiment(self, name, artifact_location):
        self.calls.append(("experiment", name, artifact_location))
        return "7"

    def create_run(self, experiment, run_name):
        self.calls.append(("run", experiment, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id="abc"))

    def update_run(self, run_id, status):
        self.calls.append(("update", run_id, status))

    def log_batch(self, run_id, metrics=(), params=(), tags=()):
        self.metrics += metrics
        self.calls += [("param", *each) for each in params]

    def set_tag(self, run_id, key, value):
        self.tags[key] = value

    def set_terminated(self, run_id, status):
        self.calls.append(("end", run_id, status))


@pytest.fixture
def mlflow(monkeypatch):
    """A fake MLflow; its clients."""
    package, entities, tracking = map(ModuleType, ("mlflow", "mlflow.entities", "mlflow.tracking"))
    package.__spec__ = importlib.util.spec_from_loader("mlflow", None)
    tracking.MlflowClient = FakeClient
    entities.Metric = lambda key, value, timestamp, step: (key, value, step)
    entities.Param = entities.RunTag = lambda key, value: (key, value)
    for module in (package, entities, tracking):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setattr(FakeClient, "made", [])
    return FakeClient.made


def test_mlflow_hears_configuration_curve_and_outcome(mlflow, tmp_path, events):
    run(tmp_path, events(2), MLflow())
    [client] = mlflow
    assert client.uri == f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}"
    artifacts = (tmp_path / "mlflow" / "artifacts").as_uri()
    assert client.calls == [
        ("get", "rlprompt"),
        ("experiment", "rlprompt", artifacts),
        ("run", "7", tmp_path.name),
        ("param", "agent", "ppo"),
        ("end", "abc", "FINISHED"),
    ]
    assert ("ppo/best", -0.5, 20) in client.metrics
    assert client.metrics[-1] == ("test/accuracy", 0.75, 0)
    assert client.tags == {"prompt": " It was"}


def test_mlflow_goes_on_with_its_run_and_tells_nothing_twice(mlflow, tmp_path, events):
    run(tmp_path, events(2), MLflow(), outcome=None)
    run(tmp_path, events(4), MLflow())
    first, second = mlflow
    assert first.calls[-1] == ("end", "abc", "KILLED")
    assert second.calls == [("update", "abc", "RUNNING"), ("end", "abc", "FINISHED")]
    both = [*first.metrics, *second.metrics]
    assert [step for name, _, step in both if name == "ppo/best"] == [10, 20, 30, 40]


def test_mlflow_without_a_folder_needs_to_be_told_where(mlflow, events, caplog):
    run(None, events(1), MLflow())
    assert "needs a tracking_uri" in caplog.text
    run(None, events(1), MLflow("http://127.0.0.1:1"))
    assert mlflow[-1].uri == "http://127.0.0.1:1"


@pytest.mark.parametrize(("kind", "name"), [(WandB, "wandb"), (MLflow, "mlflow")])
def test_a_missing_package_is_named(monkeypatch, kind, name):
    monkeypatch.setattr(f"rlprompt.watch.{name}.find_spec", lambda module: None)
    with pytest.raises(ConfigError, match=rf"pip install 'rlprompt\[{name}\]'"):
        kind()


@pytest.mark.filterwarnings("ignore")
def test_the_real_wandb_offline(tmp_path, events, monkeypatch, caplog):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run(tmp_path, events(3), WandB("mine"))
    assert caplog.messages == []
    [folder] = (tmp_path / "wandb").glob("offline-run-*")
    [file] = folder.glob("*.wandb")
    assert file.stat().st_size > 0


@pytest.mark.filterwarnings("ignore")
def test_the_real_mlflow_in_the_folder(tmp_path, events, monkeypatch, caplog):
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run(tmp_path, events(2), MLflow("", "mine"), outcome=None)
    run(tmp_path, events(4), MLflow("", "mine"))
    assert [each for each in caplog.messages if "left out" in each] == []
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("mine")
    [found] = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params == {"agent": "ppo"}
    assert found.data.tags["prompt"] == " It was"
    assert found.data.metrics["test/accuracy"] == 0.75
    history = client.get_metric_history(found.info.run_id, "ppo/best")
    assert [(each.step, each.value) for each in history] == [
        (10, -1.0),
        (20, -0.5),
        (30, -0.333333),
        (40, -0.25),
    ]
