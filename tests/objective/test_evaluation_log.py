import errno
import json
import logging
import subprocess
import sys

import numpy as np
import pytest

from rlprompt.core.errors import RunError
from rlprompt.core.prompt import Prompt
from rlprompt.objective.evaluation_log import Batch, EvaluationLog, read_calls

PROMPTS = [Prompt((n, n + 1)) for n in range(6)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / "evaluations.jsonl"


def _scores(seed=0):
    """For each prompt float32 values of shape (3, 2), the smallest and largest among them."""
    values = np.random.default_rng(seed).normal(size=(len(PROMPTS), 3, 2)).astype(np.float32)
    values[0, 0] = [-np.finfo(np.float32).max, -np.finfo(np.float32).tiny]
    return [*values.astype(np.float64)]


def _write(path, batches=3):
    """Writes the prompts in batches of two."""
    scores = _scores()
    with EvaluationLog(path) as log:
        for n in range(0, 2 * batches, 2):
            log.put("some context", PROMPTS[n : n + 2], scores[n : n + 2], Batch(n + 5, 0.25))
    return scores


def _known(log):
    return [p for p in PROMPTS if log.get("some context", p) is not None]


def test_scores_come_back_to_the_bit(path):
    scores = _write(path)
    with EvaluationLog(path) as log:
        assert len(log) == len(PROMPTS)
        for prompt, score in zip(PROMPTS, scores, strict=True):
            found = log.get("some context", prompt)
            assert found.dtype == np.float64
            np.testing.assert_array_equal(found, score)
        assert log.get("another context", PROMPTS[0]) is None
        assert log.get("some context", Prompt()) is None


def test_what_a_batch_cost_comes_back_once(path):
    _write(path)
    with EvaluationLog(path) as log:
        first, same, other = (log.batch("some context", PROMPTS[n]) for n in (0, 1, 2))
    assert first is same
    assert first is not other
    assert (first.tokens, other.tokens, other.seconds) == (5, 7, 0.25)


def test_the_empty_prompt_and_contexts_are_kept_apart(path):
    with EvaluationLog(path) as log:
        for n, context in enumerate("ab"):
            log.put(context, [Prompt()], [np.full((3, 2), n)])
    with EvaluationLog(path) as log:
        assert [log.get(c, Prompt())[0, 0] for c in "ab"] == [0.0, 1.0]


def test_prompts_of_the_same_ids_in_other_slots_are_kept_apart(path):
    prompts = [Prompt((1, 2, 3)), Prompt((1, 2, 3), (1,)), Prompt((1, 2, 3), (0,)), Prompt()]
    scores = [np.full((3, 2), n, np.float64) for n in range(len(prompts))]
    with EvaluationLog(path) as log:
        log.put("some context", prompts[:3], scores[:3])
        log.put("some context", prompts[3:], scores[3:])
    with EvaluationLog(path) as log:
        assert [log.get("some context", p)[0, 0] for p in prompts] == [0, 1, 2, 3]
        assert log.get("some context", Prompt((1, 2, 3), (2,))) is None
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert lines[0]["prompts"] == [[1, 2, 3]] * 3
    assert lines[0]["sizes"] == [[], [1], [0]]
    assert "sizes" not in lines[1]


def test_lines_of_prompts_without_sizes_are_what_they_always_were(path):
    with EvaluationLog(path) as log:
        log.put("c", [Prompt((7, 8)), Prompt()], [np.zeros((1, 2))] * 2, Batch(3, 0.5))
    assert path.read_bytes() == (
        b'{"context":"c","prompts":[[7,8],[]],"shape":[2,1,2],"data":"AAAAAAAAAAAAAAAAAAAAAA==",'
        b'"tokens":3,"seconds":0.5,"crc":180268976}\n'
    )


def test_a_log_without_a_path_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = EvaluationLog()
    log.put("some context", PROMPTS, _scores())
    assert len(log) == len(PROMPTS)
    log.close()
    assert len(log) == len(PROMPTS)
    assert not [*tmp_path.iterdir()]


def test_no_prompts_write_no_line(path):
    with EvaluationLog(path) as log:
        log.put("some context", [], [])
    assert path.read_bytes() == b""


def _cut(lines):
    return [*lines[:2], lines[2][:-30]]


def _no_newline(lines):
    return [*lines[:2], lines[2].rstrip(b"\n")]


def _garbage(lines):
    return [*lines[:2], b"\xff\x00 no JSON\n"]


def _no_entry(lines):
    return [*lines[:2], b"[1, 2]\n"]


def _other_data(lines):
    entry = json.loads(lines[2])
    data = entry["data"]
    entry["data"] = ("B" if data[0] == "A" else "A") + data[1:]
    return [*lines[:2], json.dumps(entry).encode() + b"\n"]


def _other_prompt(lines):
    entry = json.loads(lines[2])
    entry["prompts"][0][0] += 1
    return [*lines[:2], json.dumps(entry).encode() + b"\n"]


def _missing_key(lines):
    entry = json.loads(lines[2])
    del entry["crc"]
    return [*lines[:2], json.dumps(entry).encode() + b"\n"]


@pytest.mark.parametrize(
    "damage",
    [_cut, _no_newline, _garbage, _no_entry, _other_data, _other_prompt, _missing_key],
)
def test_a_damaged_end_is_set_aside_and_the_rest_is_used(path, damage, caplog):
    scores = _write(path)
    lines = damage(path.read_bytes().splitlines(keepends=True))
    path.write_bytes(b"".join(lines))
    with caplog.at_level(logging.WARNING), EvaluationLog(path) as log:
        assert _known(log) == PROMPTS[:4]
        assert "was damaged after 4 scored prompts" in caplog.text
        assert f"{len(lines[2])} bytes are set aside in {path.name}.broken-1" in caplog.text
        log.put("some context", PROMPTS[4:], scores[4:])
    assert path.with_name(f"{path.name}.broken-1").read_bytes() == lines[2]
    caplog.clear()
    with EvaluationLog(path) as log:
        assert _known(log) == PROMPTS
        np.testing.assert_array_equal(log.get("some context", PROMPTS[5]), scores[5])
    assert not caplog.text


def test_a_damaged_middle_takes_what_follows_with_it(path):
    _write(path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1][:50] + b"?" + lines[1][51:]
    path.write_bytes(b"".join(lines))
    with EvaluationLog(path) as log:
        assert _known(log) == PROMPTS[:2]
    assert path.read_bytes() == lines[0]
    assert path.with_name(f"{path.name}.broken-1").read_bytes() == b"".join(lines[1:])


def test_no_damaged_end_replaces_another(path):
    for n in (1, 2, 3):
        _write(path, batches=1)
        with path.open("ab") as file:
            file.write(b"broken %d" % n)
        EvaluationLog(path).close()
        assert path.with_name(f"{path.name}.broken-{n}").read_bytes() == b"broken %d" % n


def test_a_log_that_another_process_writes_is_refused(path):
    code = (
        "import sys; from pathlib import Path; from rlprompt.core.errors import RunError\n"
        "from rlprompt.objective.evaluation_log import EvaluationLog\n"
        "try:\n    EvaluationLog(Path(sys.argv[1])).close()\n    print('opened')\n"
        "except RunError as error:\n    print(error)"
    )
    command = [sys.executable, "-c", code, str(path)]

    def answer():
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    log = EvaluationLog(path)
    assert answer() == (
        f"{path} is in use by another process: wait for it, or choose another --out."
    )
    log.close()
    assert answer() == "opened"


def test_a_log_that_is_open_in_this_process_is_refused(path):
    with EvaluationLog(path), pytest.raises(RunError, match="is in use"):
        EvaluationLog(path)


class _Full:
    """A file on a full disk: writes the first bytes of a line, as a disk does, and fails."""

    def __init__(self, file):
        self.file = file

    def write(self, data):
        self.file.write(data[:10])
        self.file.flush()
        raise OSError(errno.ENOSPC, "No space left on device")

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_a_full_disk_is_an_error_that_loses_nothing(path):
    scores = _write(path, batches=2)
    log = EvaluationLog(path)
    log._file = _Full(log._file)
    with pytest.raises(RunError, match=r"No space left on device.*make room and give the same"):
        log.put("some context", PROMPTS[4:], scores[4:])
    log.close()
    with EvaluationLog(path) as log:
        assert _known(log) == PROMPTS[:4]
        log.put("some context", PROMPTS[4:], scores[4:])
    with EvaluationLog(path) as log:
        assert _known(log) == PROMPTS


def test_a_full_disk_while_setting_a_damaged_end_aside_leaves_all_in_place(path, monkeypatch):
    _write(path)
    with path.open("ab") as file:
        file.write(b"broken")
    content = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.write_bytes", full)
        with pytest.raises(RunError, match=r"cannot be set aside .* No space left on device"):
            EvaluationLog(path)
    assert path.read_bytes() == content
    EvaluationLog(path).close()


def test_a_path_that_cannot_be_opened_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="Cannot open"):
        EvaluationLog(tmp_path / "file" / "log.jsonl")
    with pytest.raises(RunError, match="Cannot open"):
        EvaluationLog(tmp_path)


def test_calls_are_read_in_order_beside_a_writer(path):
    scores = _write(path)
    with EvaluationLog(path):
        calls = list(read_calls(path))
    assert [prompt for call in calls for prompt in call.prompts] == PROMPTS
    np.testing.assert_array_equal(np.concatenate([call.scores for call in calls]), np.stack(scores))
    assert {call.context for call in calls} == {"some context"}
    assert [call.batch.tokens for call in calls] == [5, 7, 9]


def test_reading_calls_ends_at_the_first_broken_line_and_mends_nothing(path, caplog):
    _write(path)
    lines = path.read_bytes().splitlines(keepends=True)
    broken = b"".join([lines[0], lines[1].replace(b"5", b"6", 1), lines[2]])
    path.write_bytes(broken)
    assert [call.prompts for call in read_calls(path)] == [tuple(PROMPTS[:2])]
    assert "only what stands before is read" in caplog.text
    assert path.read_bytes() == broken
    with pytest.raises(RunError, match="Cannot read"):
        list(read_calls(path.parent / "missing.jsonl"))
