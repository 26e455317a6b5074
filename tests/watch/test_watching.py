"""A run keeps its curve and tells its watchers, and none of them can stop it."""

import json
import logging
import os

import pytest

from rlprompt.core.errors import ConfigError
from rlprompt.core.events import Event
from rlprompt.watch.curve import read_curve
from rlprompt.watch.status import PROGRESS, SILENCE, Speed, read_status
from rlprompt.watch.tensorboard import TensorBoard
from rlprompt.watch.watcher import Job
from rlprompt.watch.watching import CURVE, Watching, watchers_of


class Notes:
    """A watcher that writes down what it hears."""

    def __init__(self):
        self.heard = []

    def begin(self, job):
        self.heard.append(job.name)

    def point(self, point):
        self.heard.append((point.curve, point.forwards, point.told))

    def end(self, outcome):
        self.heard.append(outcome)


class Broken(Notes):
    """A watcher that fails at one place."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def point(self, point):
        super().point(point)
        if self.at == "point":
            raise OSError("the server is gone")

    def begin(self, job):
        super().begin(job)
        if self.at == "begin":
            raise ValueError("no key")

    def end(self, outcome):
        super().end(outcome)
        if self.at == "end":
            raise ConnectionError


def run(folder, told, *watchers, outcome=None):
    with Watching(Job(folder, {}, 300), watchers) as watching:
        for each in told:
            watching(each)
        if outcome is not None:
            watching.finish(outcome)


def test_a_point_has_what_every_curve_has(tmp_path, events):
    run(tmp_path, events(2))
    rows = [json.loads(line) for line in (tmp_path / CURVE).read_text("utf-8").splitlines()]
    assert rows == [
        {
            "curve": "ppo",
            "forwards": 10 * n,
            "total": 100,
            "best": -1 / n,
            "text": f" word{n}",
            "mean": -2 / n,
            "entropy": 1 / n,
            "unique": 2 * n,
            "metrics": {"loss": 0.5},
        }
        for n in (1, 2)
    ]
    assert [p.best for p in read_curve(tmp_path / CURVE)["ppo"]] == [-1, -0.5]


def test_only_what_learns_and_is_a_number_is_a_point(tmp_path):
    told = [
        Event("selection ppo", 5, 10, -1.0),
        Event("test", 5, 10),
        Event("tune: lora", 5, 10, -1.0, metrics={"rate": 0.1, "loss": float("nan")}),
        Event("tune: lora", 5, 10, -0.5),  # nothing was spent since
    ]
    run(tmp_path, told)
    [point] = read_curve(tmp_path / CURVE)["lora"]
    assert (point.best, point.values()) == (-1.0, {"best": -1.0, "rate": 0.1})


@pytest.mark.parametrize("killed_after", [0, 1, 3, 5])
def test_a_resumed_curve_is_the_curve_of_a_run_that_never_stopped(tmp_path, events, killed_after):
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    told = [*events(5), *events(3, "random")]
    run(tmp_path / "whole", told, outcome={})
    run(tmp_path / "killed", told[:killed_after])
    with (tmp_path / "killed" / CURVE).open("ab") as file:
        file.write(b'{"curve": "pp')  # killed while it wrote
    notes = Notes()
    run(tmp_path / "killed", told, notes, outcome={})
    assert (tmp_path / "killed" / CURVE).read_bytes() == (tmp_path / "whole" / CURVE).read_bytes()
    points = [each for each in notes.heard if isinstance(each, tuple)]
    assert [told for *_, told in points] == [n < killed_after for n in range(8)]


def test_a_curve_is_cut_where_the_replay_departs_from_it(tmp_path, events):
    run(tmp_path, [*events(2), *events(4, "random")], outcome={})
    run(tmp_path, events(3), outcome={})
    assert {name: len(c) for name, c in read_curve(tmp_path / CURVE).items()} == {"ppo": 3}
    run(tmp_path, events(1), outcome={})  # what is left over at the end is no part of the run
    assert len(read_curve(tmp_path / CURVE)["ppo"]) == 1


def test_a_damaged_curve_is_read_up_to_the_damage(tmp_path, events):
    run(tmp_path, events(2))
    with (tmp_path / CURVE).open("ab") as file:
        file.write(b'{"curve": "ppo", "forwards": "many", "total": 1}\n{}\n')
    assert len(read_curve(tmp_path / CURVE)["ppo"]) == 2
    assert read_curve(tmp_path / "none") == {}


@pytest.mark.parametrize("at", ["begin", "point", "end"])
def test_a_watcher_that_fails_is_told_of_once_and_left_out(tmp_path, events, caplog, at):
    broken, notes = Broken(at), Notes()
    with caplog.at_level(logging.WARNING):
        run(tmp_path, events(3), broken, notes, outcome={"prompt": "x"})
    [warning] = caplog.messages
    assert "Broken fails and is left out from here on; the run goes on" in warning
    assert len(broken.heard) == {"begin": 1, "point": 2, "end": 5}[at]
    assert len(notes.heard) == 5
    assert notes.heard[-1] == {"prompt": "x"}
    assert len(read_curve(tmp_path / CURVE)["ppo"]) == 3


def test_a_folder_that_cannot_be_written_stops_nobody(tmp_path, events, caplog):
    (tmp_path / CURVE).mkdir()
    (tmp_path / PROGRESS).mkdir()
    notes = Notes()
    run(tmp_path, events(3), notes, outcome={})
    assert len(notes.heard) == 5
    assert len(caplog.messages) == 2


def test_an_error_of_the_run_passes_and_its_reason_is_kept(tmp_path, events):
    notes = Notes()
    told = events(1)

    def interrupted():
        with Watching(Job(tmp_path), [notes]) as watching:
            watching(told[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert notes.heard[-1] is None
    status = read_status(tmp_path)
    assert (status.state, status.why) == ("stopped", "interrupted")


def test_progress_is_there_while_the_run_is(tmp_path, events):
    torn = tmp_path / f".{PROGRESS}.1.tmp"
    torn.write_text("{", encoding="utf-8")
    with Watching(Job(tmp_path), []) as watching:
        assert read_status(tmp_path).state == "running"
        watching(events(1)[0])
        watching.finish({})
    assert read_status(tmp_path) is None
    assert not torn.exists()


def test_a_status_whose_process_is_gone_is_stopped(tmp_path):
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    child = os.fork()
    if child == 0:
        Watching(Job(tmp_path), []).__enter__()
        os._exit(0)
    os.waitpid(child, 0)
    values = json.loads((tmp_path / PROGRESS).read_text("utf-8"))
    assert values["pid"] == child

    def state(**other):
        (tmp_path / PROGRESS).write_text(json.dumps(values | other), encoding="utf-8")
        return read_status(tmp_path).state

    assert state(updated=values["updated"] - 60) == "stopped"
    assert state(updated=values["updated"] - 60, pid=os.getpid()) == "running"
    assert state(updated=values["updated"] - 60, host="elsewhere") == "running"
    assert state(updated=values["updated"] - SILENCE - 60, host="elsewhere") == "stopped"


def test_speed_is_of_the_last_minute_without_what_was_replayed():
    now = [0.0]
    speed = Speed(lambda: now[0])
    assert speed.per_second is None
    speed.add(5000, replayed=True)
    for second in range(1, 101):
        now[0] = float(second)
        speed.add(5000 + 10 * second if second < 30 else 5000 + 300 + 20 * (second - 30))
    assert speed.per_second == pytest.approx(20)


def test_names_of_watchers():
    [board] = watchers_of(["tensorboard"])
    assert isinstance(board, TensorBoard)
    assert watchers_of(["none"]) == []
    mine = Notes()
    assert watchers_of(["none", mine]) == [mine]
    with pytest.raises(ConfigError, match="Did you mean 'wandb'"):
        watchers_of(["wand"])
    with pytest.raises(ConfigError, match="must have the methods begin, point and end"):
        watchers_of([object()])


def test_tensorboard_is_the_default_where_it_is_installed(monkeypatch):
    def find(name):
        return object() if installed else None

    monkeypatch.setattr("rlprompt.watch.watching.find_spec", find)
    installed = True
    assert [type(each) for each in watchers_of([])] == [TensorBoard]
    installed = False
    assert watchers_of([]) == []


def test_tensorboard_has_each_step_once_after_a_resume(tmp_path, events):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told = [*events(4), *events(2, "my_module:Agent")]
    run(tmp_path, told[:3], TensorBoard())
    run(tmp_path, told, TensorBoard(), outcome={})
    found = {}
    for folder in (tmp_path / "tensorboard").iterdir():
        [_] = folder.iterdir()
        curves = EventAccumulator(str(folder))
        curves.Reload()
        assert {*curves.Tags()["scalars"]} == {
            "reward/best",
            "reward/mean",
            "search/entropy",
            "search/unique",
            "agent/loss",
        }
        found[folder.name] = [(e.step, e.value) for e in curves.Scalars("reward/best")]
    assert found["ppo"] == [(10 * n, pytest.approx(-1 / n, rel=1e-5)) for n in range(1, 5)]
    assert [step for step, _ in found["my_module.Agent"]] == [10, 20]


def test_tensorboard_of_a_run_without_folder_writes_nothing(events):
    board = TensorBoard()
    run(None, events(2), board, outcome={})
    assert board._writers == {}
