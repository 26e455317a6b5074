"""``rlprompt watch`` from the files of a job."""

import json
import os
import platform
import subprocess
import sys
import time

import pytest
from rich.console import Console

from rlprompt.cli import app
from rlprompt.cli.show_watch import frame_of
from rlprompt.watch.curve import to_line
from rlprompt.watch.watcher import Point

RUN = {"agent": "ppo", "task": "films.csv", "lm": "models/tiny", "reward": "accuracy"}


@pytest.fixture
def job(tmp_path):
    """Returns a function that makes the folder of a run at work."""

    def make(points=6, ended="", pid=None, **status):
        (tmp_path / "config.json").write_text(json.dumps(RUN), encoding="utf-8")
        with (tmp_path / "curve.jsonl").open("wb") as file:
            for n in range(1, points + 1):
                best, mean = -1 / (n // 2 + 1), -2 / n
                point = Point("ppo", 100 * n, 1000, best, f" [word]{n // 2}", mean, 4.0 / n, 16 * n)
                file.write(to_line(point))
        values = {
            "pid": pid or os.getpid(),
            "host": platform.node(),
            "updated": time.time(),
            "ended": ended,
            "phase": "search ppo",
            "forwards": 100 * points,
            "total": 1000,
            "per_second": 50.0,
            "seconds_left": 30,
        }
        (tmp_path / "progress.json").write_text(json.dumps(values | status), encoding="utf-8")
        return tmp_path

    return make


def shown(folder, width=60, **settings):
    console = Console(width=width, file=open(os.devnull, "w"), record=True, **settings)  # noqa: SIM115, PTH123
    with console.file:
        console.print(frame_of(folder, console).body)
    return console.export_text()


def test_a_running_job_on_a_narrow_screen(job):
    text = shown(job())
    assert max(map(len, text.splitlines())) <= 60
    words = " ".join(text.split())
    assert "best prompt so far" in words
    assert "' [word]3'" in words
    assert "state running" in words
    assert "600 of 1,000" in words
    assert "400 LM forwards left" in words
    assert "50 forwards/s, 30 s left at most" in words
    assert "best -0.250" in words
    assert "4.00 nats" not in words
    assert "0.67 nats" in words
    assert "96 prompts" in words
    improvements = [line.split() for line in text.splitlines() if line.strip().endswith("'")]
    assert [row[:2] for row in improvements] == [
        ["600", "-0.250"],
        ["400", "-0.333"],
        ["200", "-0.500"],
        ["100", "-1.000"],
    ]


def test_curves_of_best_and_mean_have_one_scale(job):
    lines = {
        line.split()[0]: line.split()[-1] for line in shown(job()).splitlines() if line.split()
    }
    assert lines["best"][-1] in "█@"
    assert lines["mean"][0] in "▁_"
    assert len(lines["best"]) == len(lines["mean"]) == 6


def test_a_job_whose_process_is_gone_says_so(job):
    assert "state stopped (no space left); the same" in " ".join(
        shown(job(ended="no space left")).split()
    )


def test_a_job_that_has_not_begun(job, tmp_path):
    folder = job(points=0)
    assert "the first prompts are being scored" in shown(folder)
    (folder / "progress.json").unlink()
    assert "nothing is scored yet" in shown(folder)


def test_a_finished_run_ends_the_watch(rlprompt, finished_run):
    for flags in ([], ["--once"]):
        code, told, err = rlprompt("watch", finished_run, *flags)
        assert (code, err) == (0, "")
        result = json.loads((finished_run / "result.json").read_text("utf-8"))
        assert repr(result["prompt"]["text"]) in told
        assert "finished" in told
        assert f"accuracy {result['scores']['test']['accuracy']:.3f}" in told
        assert "mean" in told
    assert rlprompt("watch", finished_run / "result.json", "--once")[0] == 0


def test_a_finished_run_without_a_curve_shows_its_improvements(finished_run, tmp_path):
    for name in ("config.json", "result.json"):
        (tmp_path / name).write_bytes((finished_run / name).read_bytes())
    text = shown(tmp_path)
    trace = json.loads((tmp_path / "result.json").read_text("utf-8"))["search"]["trace"]
    assert f"{trace[-1]['reward']:.3f}" in text
    assert "entropy" not in text


def test_what_is_no_job_is_refused(refused, tmp_path):
    assert "No run at" in refused("watch", tmp_path / "none", "--once")
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    assert "holds neither a run nor a comparison" in refused("watch", tmp_path)
    (tmp_path / "config.json").write_text('{"command": "words", "reward": ""}', encoding="utf-8")
    assert "holds neither a run nor a comparison" in refused("watch", tmp_path)


def test_an_unknown_watcher_is_refused_before_anything_is_loaded(refused, tmp_path):
    told = refused("optimize", "--out", tmp_path / "run", "--watch", "wandbb")
    assert "Unknown watcher 'wandbb'. Did you mean 'wandb'?" in told
    assert not (tmp_path / "run").exists()


def test_it_waits_shows_news_and_ends_with_the_job(job, rlprompt, monkeypatch, finished_run):
    folder = job(points=0)
    for path in folder.iterdir():
        path.unlink()
    looks = []

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 2:
            job(points=2)
        elif len(looks) == 4:
            (folder / "config.json").write_bytes((finished_run / "config.json").read_bytes())
            (folder / "result.json").write_bytes((finished_run / "result.json").read_bytes())

    monkeypatch.setattr("rlprompt.cli.watch.time.sleep", sleep)
    code, told, _ = rlprompt("watch", folder, "--every", "0.5")
    assert code == 0
    assert looks == [0.5] * 4
    # What says the same again is not printed again.
    assert told.count("waiting for it") == 1
    assert told.count("running") == 1
    assert told.count("finished") == 1


def test_a_job_that_stops_while_it_is_watched_ends_with_1(job, rlprompt, monkeypatch):
    folder = job()
    monkeypatch.setattr("rlprompt.cli.watch.time.sleep", lambda seconds: job(ended="killed"))
    assert rlprompt("watch", folder)[0] == 1


def test_ctrl_c_ends_it_with_130(job, rlprompt, monkeypatch):
    def interrupted(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("rlprompt.cli.watch.time.sleep", interrupted)
    code, _, err = rlprompt("watch", job())
    assert code == 130
    assert "Traceback" not in err


def test_a_comparison_has_a_line_a_run(tmp_path):
    folder = tmp_path
    (folder / "config.json").write_text('{"reward": "accuracy", "lm": "tiny"}', encoding="utf-8")
    runs = [
        {
            "setting": {
                "task": "films.csv",
                "split_seed": split,
                "method": method,
                "seed": 0,
                "budget": 2000,
            },
            "state": state,
            "forwards": forwards,
            "reward": reward,
            "text": " it was",
        }
        for split, method, state, forwards, reward in (
            (0, "random", "done", 2000, None),
            (0, "ppo", "running", 500, -0.5),
            (1, "ppo", "waiting", 0, None),
        )
    ]
    group = folder / "films.csv" / "split-0"
    group.mkdir(parents=True)
    record = {"setting": runs[0]["setting"], "reward": -0.25, "prompt": {"text": " best"}}
    (group / "random.2000.seed-0.json").write_text(json.dumps(record), encoding="utf-8")
    status = {"pid": os.getpid(), "host": platform.node(), "updated": time.time(), "ended": ""}
    path = folder / "progress.json"
    path.write_text(json.dumps(status | {"runs": runs}), encoding="utf-8")
    text = shown(folder)
    assert max(map(len, text.splitlines())) <= 60
    assert "1 running, 1 done, 1 waiting" in text
    rows = [line.split() for line in text.splitlines() if " 2,000" in line or "/2,000" in line]
    assert rows == [
        ["ppo", "0", "500/2,000", "running", "-0.500"],
        ["random", "0", "2,000", "done", "-0.250"],
        ["ppo", "1", "2,000", "waiting"],
    ]
    assert "' best'" in shown(folder, width=100)

    path.write_text(json.dumps(status | {"runs": runs, "ended": "interrupted"}), encoding="utf-8")
    assert "1 stopped" in shown(folder)
    path.unlink()
    (folder / "comparison.json").write_text("{}", encoding="utf-8")
    assert frame_of(folder, app.out).state == "finished"
    (group / "random.2000.seed-0.json").write_text('{"setting"', encoding="utf-8")
    with pytest.raises(Exception, match="Delete it to have it made anew"):
        frame_of(folder, app.out)


def test_without_a_terminal_nothing_is_drawn_over(job, tmp_path):
    told = subprocess.run(
        [sys.executable, "-m", "rlprompt", "watch", str(job()), "--once"],
        env=os.environ | {"COLUMNS": "60", "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert "\x1b" not in told.stdout
    assert told.stdout.isascii()
    assert "state    running" in told.stdout
