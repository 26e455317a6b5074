"""One run from end to end, with a tiny LM."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import rlprompt.run.optimize as run_module
from rlprompt import Result, RunConfig, Task, load_lm, load_task, optimize
from rlprompt.agents.protocol import make_agent
from rlprompt.core.errors import BudgetExhausted, ConfigError, RLPromptError, RunError
from rlprompt.core.events import Event
from rlprompt.core.prompt import Prompt
from rlprompt.lm.loading import LMConfig
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.tasks.sealed import SealedSplit
from rlprompt.tasks.tokenization import prompt_of, retokenizes

SPLITS = ["train", "dev", "test"]


def stable(value):
    """A result's JSON without what a clock or the machine decides."""
    value = json.loads(json.dumps(value))
    del value["process"]
    for ledger in (value["ledger"], *(c["ledger"] for c in value["controls"].values())):
        del ledger["seconds"]
    return value


@pytest.fixture(scope="module")
def saved(finished):
    return json.loads((finished[0].out / "result.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def lm(tiny_lm):
    return load_lm(LMConfig(str(tiny_lm)))


class TestResult:
    def test_holds_everything_that_another_needs(self, saved, finished, lm):
        config, _ = finished
        assert saved["schema"] == 1
        assert {*saved["prompt"]} == {"ids", "text", "tokens", "retokenizes"}
        assert saved["template"] == {"source": "{text}{prompt}", "answer_prefix": " "}
        assert saved["verbalizer"] == {"bad": ["bad"], "good": ["good"]}
        assert [*saved["calibration"]] == ["bad", "good"]
        assert sum(saved["calibration"].values()) == pytest.approx(0, abs=1e-12)
        assert saved["lm"]["fingerprint"] == lm.identity.fingerprint
        assert [*saved["splits"]] == SPLITS
        task = load_task(config.task, 0, 4)
        for name in SPLITS:
            split = getattr(task, name)
            assert saved["splits"][name]["hash"] == split.hash
            assert saved["splits"][name]["size"] == len(split)
        assert saved["splits"]["test"]["scored"] == 30
        assert saved["agent"]["name"] == "ppo"
        assert saved["agent"]["settings"]["n_envs"] == 16
        assert saved["seed"] == 0
        assert saved["reward"] == "calibrated_log_likelihood"
        assert saved["budget"]["forwards"] == 1600
        assert saved["config"] == config.outcome()
        assert {"rlprompt", "python", "torch", "transformers", "numpy"} <= {*saved["versions"]}
        assert {*saved["baselines"]} == {"empty", "manual"}
        assert [*saved["controls"]] == ["random"]
        assert {row["text"] for row in saved["manual_candidates"]} == {" It was", " overall a"}

    def test_scores_have_intervals_on_test_alone(self, saved):
        found = [saved, *saved["baselines"].values(), saved["controls"]["random"]["found"]]
        for scores in (each["scores"] for each in found):
            assert [*scores] == SPLITS
            for name in SPLITS:
                for each in (scores[name], scores[name]["uncalibrated"]):
                    assert 0 <= each["accuracy"] <= 1
                    assert each["log_likelihood"] <= 0
                    for kind in ("accuracy", "log_likelihood"):
                        interval = each[f"{kind}_interval"]
                        if name == "test":
                            low, high = interval
                            assert low <= each[kind] <= high
                        else:
                            assert interval is None

    def test_the_budget_is_kept_and_nearly_spent(self, saved):
        for ledger in (saved["ledger"], saved["controls"]["random"]["ledger"]):
            parts = ledger["search_forwards"], ledger["selection_forwards"]
            assert ledger["forwards"] == sum(parts) <= saved["budget"]["forwards"]
            assert parts[0] > saved["budget"]["search"] - 8
            assert parts[1] <= saved["budget"]["selection"]
            assert ledger["tokens"] > 0
            assert ledger["seconds"] >= 0
            assert ledger["cache_hits"] >= 0

    def test_the_text_is_the_prompt(self, saved, finished, lm):
        config, result = finished
        text = (config.out / "prompt.txt").read_bytes().decode("utf-8")
        assert text == saved["prompt"]["text"] == "".join(saved["prompt"]["tokens"])
        task = load_task(config.task, 0, 4)
        prompt = Prompt(tuple(saved["prompt"]["ids"]))
        assert prompt_of(lm.tokenizer, task.template, text) == prompt
        assert saved["prompt"]["retokenizes"] == all(
            retokenizes(lm.tokenizer, task.template, prompt, e.fields) for e in task.train
        )
        assert result.prompt.ids == prompt.ids

    def test_comes_back_from_json(self, saved, finished):
        config, result = finished
        assert Result.from_json(saved) == result
        assert Result.load(config.out / "result.json") == result
        assert Result.from_json(saved).to_json() == result.to_json()

    @pytest.mark.parametrize("kind", [Path, str])
    def test_is_found_by_its_folder_as_well(self, kind, finished, tmp_path):
        config, result = finished
        assert Result.load(kind(config.out)) == result
        assert Result.load(kind(config.out / "result.json")) == result
        result.save(kind(tmp_path))
        assert Result.load(tmp_path / "result.json") == result
        result.save(kind(tmp_path / "another.json"))
        assert Result.load(tmp_path / "another.json") == result

    def test_one_that_is_missing_is_said_to_be(self, tmp_path):
        with pytest.raises(RunError, match=r"result\.json: the run is not finished, or elsewhere"):
            Result.load(str(tmp_path))
        with pytest.raises(RunError, match=r"No result at .*demo: there is no such file or folder"):
            Result.load(str(tmp_path / "demo"))

    @pytest.mark.parametrize("damage", ["schema", "prompt", "search", "lm"])
    def test_a_damaged_one_is_refused(self, damage, saved):
        broken = {k: v for k, v in saved.items() if k != damage}
        with pytest.raises(RunError, match=r"damaged|schema 1"):
            Result.from_json(broken)

    @pytest.mark.parametrize("content", ["[1, 2]", "3", "{", '{"schema": 2}', ""])
    def test_another_file_is_refused(self, content, tmp_path):
        path = tmp_path / "result.json"
        path.write_text(content)
        with pytest.raises(RunError, match=r"schema 1|Cannot read"):
            Result.load(path)

    def test_the_winner_leads_the_finalists(self, saved):
        for search in (saved["search"], saved["controls"]["random"]):
            rewards = [row["reward"] for row in search["finalists"]]
            assert rewards == sorted(rewards, reverse=True)
            assert search["reward"] == rewards[0]
            trace = [row["reward"] for row in search["trace"]]
            assert trace == sorted(trace)
        assert saved["search"]["finalists"][0]["text"] == saved["prompt"]["text"]


class TestRepetition:
    def test_the_same_seed_gives_the_same_result(self, finished, settings, tmp_path, saved):
        again = optimize(RunConfig(**settings, out=tmp_path / "again"))
        assert stable(again.to_json()) == stable(saved)
        in_memory = optimize(RunConfig(**settings))
        assert stable(in_memory.to_json()) == stable(saved)
        first, second = (
            [
                {k: v for k, v in json.loads(line).items() if k not in ("seconds", "crc")}
                for line in (out / "evaluations.jsonl").read_text(encoding="utf-8").splitlines()
            ]
            for out in (finished[0].out, tmp_path / "again")
        )
        assert first == second

    def test_another_seed_gives_another(self, settings, saved):
        other = stable(optimize(RunConfig(**settings | {"seed": 1})).to_json())
        assert other["search"]["trace"] != saved["search"]["trace"]
        assert other["splits"] == saved["splits"]

    def test_a_control_beside_it_changes_nothing(self, finished, settings):
        alone = optimize(RunConfig(**settings | {"controls": ()}))
        beside = finished[1]
        for name in ("ledger",):
            assert {k: v for k, v in getattr(alone.main, name).items() if k != "seconds"} == {
                k: v for k, v in getattr(beside.main, name).items() if k != "seconds"
            }
        assert replace(alone.main, ledger={}) == replace(beside.main, ledger={})
        assert alone.baselines == beside.baselines
        assert alone.controls == {}

    def test_a_finished_run_is_read_not_repeated(self, finished, monkeypatch):
        config, result = finished
        monkeypatch.setattr(run_module, "load_lm", None)
        monkeypatch.setattr(run_module, "task_of", None)
        assert optimize(config) == result

    @pytest.mark.parametrize("other", ["task", "lm", "agent"])
    def test_a_finished_run_of_other_parts_is_refused(self, other, finished, lm, film_rows):
        config, result = finished
        same = {
            "task": load_task(config.task, 0, 4, manual_prompts=config.manual_prompts),
            "lm": lm,
            "agent": make_agent("ppo", {}),
        }
        assert optimize(config, **same) == result
        others = {
            "task": Task.from_examples(film_rows[:100], words=None, shots=4),
            "lm": _OtherLM(lm),
            "agent": make_agent("ppo", {"n_envs": 4}),
        }
        with pytest.raises(RunError, match=f"(?i)holds a finished run with another {other}"):
            optimize(config, **same | {other: others[other]})


class _OtherLM:
    def __init__(self, lm):
        self.identity = replace(lm.identity, weights="another")


class TestTestSplit:
    def test_opens_once_and_after_selection(self, settings, monkeypatch):
        events: list[str] = []
        opened = SealedSplit.open

        def spy(self, reason):
            events.append(f"opened: {reason}")
            return opened(self, reason)

        monkeypatch.setattr(SealedSplit, "open", spy)
        result = optimize(RunConfig(**settings), on_event=lambda e: events.append(e.phase))
        assert sum(event.startswith("opened") for event in events) == 1
        place = events.index(f"opened: {result.splits['test']['opened']}")
        assert {*events[:place]} == {
            "search ppo",
            "selection ppo",
            "search random",
            "selection random",
        }
        assert {*events[place + 1 :]} == {"test"}

    def test_changes_neither_search_nor_selection(self, settings, film_rows):
        """The same train and dev with another test set end with the same prompt."""
        results = [
            optimize(
                RunConfig(**settings),
                task=Task.from_examples(film_rows[:100], words=None, shots=4, test=test),
            )
            for test in (film_rows[100:130], film_rows[130:])
        ]
        one, other = ((r.prompt, r.main.trace, r.main.finalists, r.scores["dev"]) for r in results)
        assert one == other
        assert results[0].scores["test"] != results[1].scores["test"]

    def test_a_task_whose_test_was_opened_is_refused_before_anything_is_spent(
        self, settings, film_rows, lm
    ):
        task = Task.from_examples(film_rows, words=None, shots=4)
        config = RunConfig(**settings | {"budget": 400, "controls": ()})
        optimize(config, task=task, lm=lm)
        tokens = lm.meter.tokens
        with pytest.raises(RunError, match="make the task anew for each run"):
            optimize(config, task=task, lm=lm)
        assert lm.meter.tokens == tokens


class TestEvents:
    def test_every_phase_reports_within_its_total(self, settings):
        events: list[Event] = []
        optimize(RunConfig(**settings), on_event=events.append)
        for event in events:
            assert 0 < event.forwards <= event.total
        last = {event.phase: event for event in events}
        assert last["test"].forwards == last["test"].total
        assert last["search ppo"].forwards > last["search ppo"].total - 8

    def test_a_listener_that_fails_ends_the_run(self, settings):
        def listener(event):
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            optimize(RunConfig(**settings), on_event=listener)


class TestFolder:
    def test_of_another_configuration_names_what_differs(self, finished):
        config, _ = finished
        with pytest.raises(
            RunError, match=r"belongs to another run: budget was 1600, now 1700; seed was 0, now 3"
        ):
            optimize(replace(config, budget=1700, seed=3))

    def test_of_another_number_of_threads_is_the_same_run(self, finished):
        config, result = finished
        assert optimize(replace(config, threads=2)) == result

    def test_that_holds_other_files_is_left_alone(self, settings, tmp_path):
        (tmp_path / "thesis.tex").write_text("years of work")
        with pytest.raises(RunError, match="is no run and not empty"):
            optimize(RunConfig(**settings, out=tmp_path))
        with pytest.raises(RunError, match="is no run and not empty"):
            optimize(RunConfig(**settings, out=tmp_path / "thesis.tex"))
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

    def test_that_was_killed_at_its_first_write_is_used(self, settings, tmp_path):
        (tmp_path / ".config.json.4711.tmp").write_text("{")
        config = RunConfig(**settings | {"budget": 200, "controls": ()}, out=tmp_path)
        assert optimize(config).prompt

    @pytest.mark.parametrize("content", ["{", "[1]", "3"])
    def test_with_a_damaged_configuration_is_refused(self, content, settings, tmp_path):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(RunError, match=r"Cannot read .*config\.json.* Choose another --out"):
            optimize(RunConfig(**settings, out=tmp_path))

    def test_that_is_in_use_is_refused_before_the_lm_is_loaded(
        self, settings, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(run_module, "load_lm", None)
        config = RunConfig(**settings, out=tmp_path / "run")
        with (
            EvaluationLog(config.out.parent / "run" / "evaluations.jsonl"),
            pytest.raises(RunError, match="is no run and not empty"),
        ):
            optimize(config)
        (config.out / "evaluations.jsonl").unlink()
        (config.out / "config.json").write_text(json.dumps(config.outcome()))
        with (
            EvaluationLog(config.out / "evaluations.jsonl"),
            pytest.raises(RunError, match="in use by another process"),
        ):
            optimize(config)

    def test_a_broken_tail_of_the_log_is_set_aside(self, settings, tmp_path, saved, caplog):
        config = RunConfig(**settings, out=tmp_path / "run")
        optimize(config)
        log = config.out / "evaluations.jsonl"
        lines = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(b"".join(lines[:10]) + lines[10][:50])
        (config.out / "result.json").unlink()
        assert stable(optimize(config).to_json()) == stable(saved)
        assert "50 bytes are set aside in evaluations.jsonl.broken-1" in caplog.text
        assert (config.out / "evaluations.jsonl.broken-1").read_bytes() == lines[10][:50]
        assert len(log.read_bytes().splitlines()) == len(lines)

    def test_no_space_left_says_that_what_was_scored_is_kept(
        self, settings, tmp_path, saved, monkeypatch
    ):
        config = RunConfig(**settings, out=tmp_path / "run")
        put, n = EvaluationLog.put, []

        def full(self, *args):
            n.append(1)
            if len(n) == 9:
                self._file = _Full(self._file)
            return put(self, *args)

        with monkeypatch.context() as patched:
            patched.setattr(EvaluationLog, "put", full)
            with pytest.raises(RunError, match=r"No space left.*kept: make room and give the same"):
                optimize(config)
        assert len((config.out / "evaluations.jsonl").read_bytes().splitlines()) == 8
        assert stable(optimize(config).to_json()) == stable(saved)

    def test_an_interrupt_says_how_to_go_on(self, settings, tmp_path):
        def listener(event):
            raise KeyboardInterrupt

        config = RunConfig(**settings, out=tmp_path / "run")
        with pytest.raises(
            RunError, match=r"^Interrupted\. Everything scored so far is in .*run: "
        ):
            optimize(config, on_event=listener)
        with pytest.raises(KeyboardInterrupt):
            optimize(replace(config, out=None), on_event=listener)


class _Full:
    """A file on a full disk."""

    def __init__(self, file):
        self._file = file

    def write(self, data):
        raise OSError(28, "No space left on device")

    def __getattr__(self, name):
        return getattr(self._file, name)


class TestRefusals:
    @pytest.mark.parametrize("budget", [1, 15])
    def test_a_budget_for_less_than_one_prompt(self, budget, settings):
        with pytest.raises(ConfigError, match=r"too small for one prompt: it takes 8 .* least 16;"):
            optimize(RunConfig(**settings | {"budget": budget}))

    def test_the_smallest_budget_selects_the_one_prompt_there_is(self, settings):
        result = optimize(RunConfig(**settings | {"budget": 16, "manual_prompts": ()}))
        assert result.main.ledger["forwards"] == 16
        assert result.baselines["manual"] == result.baselines["empty"]

    def test_an_agent_that_scores_nothing_is_named(self, settings, tmp_path):
        class Idle:
            def optimize(self, problem, *, seed, on_event): ...

        with pytest.raises(RLPromptError, match=r"Idle' scored no prompt \(the agent ended"):
            optimize(RunConfig(**settings, out=tmp_path / "run"), agent=Idle())

    def test_a_reward_that_is_not_finite_on_dev_is_named(self, settings, tmp_path, monkeypatch):
        (tmp_path / "odd_reward.py").write_text(
            "def on_eight(evaluation):\n"
            "    return 0.5 if len(evaluation.gold) == 8 else float('nan')\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        with pytest.raises(
            ConfigError, match="is nan for a prompt on 12 examples: it must be a finite number"
        ):
            optimize(RunConfig(**settings | {"reward": "odd_reward:on_eight"}))

    def test_a_reward_that_is_no_number_is_named(self, settings, tmp_path, monkeypatch):
        (tmp_path / "no_reward.py").write_text("def nothing(evaluation): ...\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        with pytest.raises(ConfigError, match="'no_reward:nothing' is None for a prompt on 8"):
            optimize(RunConfig(**settings | {"reward": "no_reward:nothing"}))

    def test_an_agent_that_is_its_own_control(self, settings):
        with pytest.raises(ConfigError, match="'random' is among the controls as well"):
            optimize(RunConfig(**settings), agent=make_agent("random", {}))


class TestPython:
    def test_ten_lines_are_a_run(self, film_rows, lm):
        task = Task.from_examples(film_rows, words=None, shots=4, test_size=20)
        result = optimize(RunConfig(budget=800, length=2), task=task, lm=lm)
        assert result.prompt.text
        assert result.task["name"] == "own"
        assert result.lm["fingerprint"] == lm.identity.fingerprint
        assert len(result.prompt.ids) <= 2

    def test_an_agent_of_ones_own(self, settings):
        class Fixed:
            """No dataclass, no settings; proposes one prompt twice and stops."""

            def optimize(self, problem, *, seed, on_event):
                prompt = problem.prompt([0, 1, 2])
                problem.objective.evaluate([prompt, prompt])

        result = optimize(RunConfig(**settings), agent=Fixed())
        assert result.main.agent.endswith("Fixed")
        assert result.main.settings == {}
        assert [*result.controls] == ["random"]
        assert result.main.ended == "the agent ended its search by itself"
        assert result.main.ledger["search_forwards"] == 8

    def test_an_agent_may_let_the_end_of_the_budget_pass(self, settings):
        class Catching:
            def optimize(self, problem, *, seed, on_event):
                rng = np.random.default_rng(seed)
                try:
                    while True:
                        drawn = rng.integers(0, len(problem.vocabulary), 3)
                        problem.objective.evaluate([problem.prompt(drawn.tolist())])
                except BudgetExhausted:
                    return

        result = optimize(RunConfig(**settings | {"controls": ()}), agent=Catching())
        assert result.main.ended == "the agent ended its search by itself"

    def test_curves_are_written_beside_the_result(self, finished):
        pytest.importorskip("tensorboard")
        assert [*(finished[0].out / "tensorboard").iterdir()]

    def test_callbacks_are_named_in_the_result_not_printed(self, settings, tmp_path):
        from stable_baselines3.common.callbacks import CheckpointCallback

        agent = make_agent("ppo", {"callbacks": (CheckpointCallback(10**9, str(tmp_path)),)})
        result = optimize(RunConfig(**settings | {"controls": ()}), agent=agent)
        assert result.main.agent == "ppo"
        assert result.main.settings["callbacks"] == ["CheckpointCallback"]
        assert Result.from_json(json.loads(json.dumps(result.to_json()))) == result
