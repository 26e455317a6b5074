"""What single words do: effects, intervals, marks, costs and files."""

import json
from dataclasses import replace

import numpy as np
import pytest

from rlprompt import RunConfig, Task
from rlprompt.core.errors import ConfigError, RunError
from rlprompt.core.evaluation import Evaluation, gold_logprobs, log_softmax
from rlprompt.core.hashing import content_hash
from rlprompt.core.ledger import Budget
from rlprompt.core.prompt import Prompt
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.objective import Objective
from rlprompt.objective.split_scorer import Question, SplitScorer
from rlprompt.rewards.functions import accuracy, calibrated_log_likelihood, piecewise_gap
from rlprompt.run import words as module
from rlprompt.run.paired import RESAMPLES, bootstrap_intervals, family_wise_p
from rlprompt.run.words import per_example, word_effects
from rlprompt.tasks.sealed import SealedSplit
from rlprompt.testing import PlantedLM, planted_task
from rlprompt.testing.fakes import PlantedScorer

N, DEV, TOP = 16, 12, 3
CONFIG = RunConfig(vocabulary_size=60, whole_words=False)


def a_task(n=N):
    made = planted_task(n, DEV, 4)
    return Task(
        "films",
        made.labels,
        made.template,
        made.verbalizer,
        made.train,
        made.dev,
        SealedSplit(made.test),
    )


class NoisyLM(PlantedLM):
    """What it says of an example is drawn anew for every prompt: no word does anything."""

    def bind(self, template, verbalizer, examples, *, max_prompt_tokens):
        scorer = super().bind(template, verbalizer, examples, max_prompt_tokens=max_prompt_tokens)
        texts = [example.fields["text"] for example in examples]
        lm = self

        class Noise(PlantedScorer):
            def choice_logprobs(self, prompts):
                self._check_and_count(prompts)
                keys = [[content_hash([lm._seed, p.ids, text]) for text in texts] for p in prompts]
                draws = [
                    [np.random.default_rng(int(k, 16)).normal(size=2) for k in ks] for ks in keys
                ]
                return log_softmax(np.array(draws))

        scorer.__class__ = Noise
        return scorer


@pytest.fixture(scope="module")
def planted():
    lm = PlantedLM(40, 1)
    return lm, word_effects(CONFIG, task=a_task(), lm=lm, top=TOP)


def worst_label(evaluation):
    """A reward that is no mean over examples."""
    scores = gold_logprobs(evaluation.calibrated, evaluation.gold)
    return min(float(scores[evaluation.gold == label].mean()) for label in (0, 1))


class TestEffects:
    def test_are_the_objectives_rewards_less_the_empty_prompts(self, planted):
        lm, found = planted
        task = a_task()
        scorer = SplitScorer(
            lm, Question(task.template, task.verbalizer, 1), task.train, EvaluationLog()
        )
        budget = Budget(1000 * N)
        objective = Objective(
            scorer, lm.tokenizer, calibrated_log_likelihood, budget, max_prompt_tokens=1
        )
        empty, *words = objective.evaluate(
            [Prompt(), *(Prompt((row.token_id,)) for row in found.rows)]
        )
        assert found.empty["train"]["reward"] == pytest.approx(empty.reward)
        assert [row.train.value for row in found.rows] == pytest.approx(
            [word.reward - empty.reward for word in words]
        )
        assert [row.text for row in found.rows] == [objective.text(word.prompt) for word in words]
        raw = [
            word.evaluation.logprobs.mean(0) - empty.evaluation.logprobs.mean(0) for word in words
        ]
        shifts = [list(row.shift.values()) for row in found.rows]
        np.testing.assert_allclose(shifts, raw, atol=1e-12)
        accuracies = [accuracy(w.evaluation) - accuracy(empty.evaluation) for w in words]
        assert [row.train.accuracy for row in found.rows] == pytest.approx(accuracies)

    def test_are_ranked_and_hold_every_word_once(self, planted):
        _, found = planted
        assert [row.rank for row in found.rows] == list(range(1, len(found.rows) + 1))
        values = [row.train.value for row in found.rows]
        assert values == sorted(values, reverse=True)
        assert len({row.token_id for row in found.rows}) == len(found.rows) == 60

    def test_the_planted_word_is_first_and_significant(self, planted):
        lm, found = planted
        first = found.rows[0]
        assert Prompt((first.token_id,)) == lm.optimum
        assert first.significant
        assert first in found.significant
        assert first.dev.value > 0

    def test_lie_in_their_intervals(self, planted):
        for row in planted[1].rows:
            for effect in filter(None, (row.train, row.dev)):
                assert effect.low - 1e-9 <= effect.value <= effect.high + 1e-9
                assert effect.low < effect.high

    def test_on_dev_are_calibrated_on_train(self, planted):
        lm, found = planted
        task = a_task()
        question = Question(task.template, task.verbalizer, 1)
        splits = [SplitScorer(lm, question, s, EvaluationLog()) for s in (task.train, task.dev)]
        row = found.rows[-1]

        def reward(prompt):
            train, dev = (s.scorer.choice_logprobs([prompt])[0] for s in splits)
            bias = Evaluation(train, splits[0].gold).bias
            return calibrated_log_likelihood(Evaluation(dev, splits[1].gold, bias))

        expected = reward(Prompt((row.token_id,))) - reward(Prompt())
        assert row.dev.value == pytest.approx(expected, abs=1e-6)

    def test_leaning_is_the_label_whose_calibration_constant_grows(self, planted):
        for row in planted[1].rows[:5]:
            label, by = row.leaning
            other = next(name for name in row.shift if name != label)
            assert by == pytest.approx((row.shift[label] - row.shift[other]) / 2)
            assert by >= 0


@pytest.mark.parametrize("seed", range(4))
def test_of_words_that_do_nothing_next_to_none_is_marked(seed):
    found = word_effects(CONFIG, task=a_task(), lm=NoisyLM(40, 1, seed=seed), top=TOP)
    assert len(found.significant) <= 1
    # Picked on train, they shine there alone; either split has an empty prompt of its own luck.
    best, worst = found.ends(TOP)
    on_train, on_dev = (
        np.mean([getattr(row, split).value for row in best])
        - np.mean([getattr(row, split).value for row in worst])
        for split in ("train", "dev")
    )
    assert on_train > 0.5
    assert on_dev < on_train / 2


class TestCost:
    def test_is_every_word_on_train_and_the_ends_on_dev(self):
        lm = PlantedLM(40, 1)
        found = word_effects(CONFIG, task=a_task(), lm=lm, top=TOP)
        cost = 61 * N + (2 * TOP + 1) * DEV
        assert found.ledger["forwards"] == cost
        assert sum(lm.scored_pairs.values()) == cost
        assert sum(row.dev is not None for row in found.rows) == 2 * TOP
        assert all(row.dev for row in (*found.rows[:TOP], *found.rows[-TOP:]))

    def test_of_few_words_counts_each_on_dev_once(self):
        lm = PlantedLM(40, 1)
        found = word_effects(replace(CONFIG, vocabulary_size=4), task=a_task(), lm=lm, top=TOP)
        assert found.ledger["forwards"] == 5 * (N + DEV)
        assert [len(rows) for rows in found.ends(TOP)] == [3, 1]
        assert [len(rows) for rows in found.ends(9)] == [4, 0]

    def test_events_end_at_the_total(self):
        events = []
        word_effects(CONFIG, task=a_task(), lm=PlantedLM(40, 1), top=TOP, on_event=events.append)
        last = {event.phase: event for event in events}
        assert {name: (e.forwards, e.total) for name, e in last.items()} == {
            "words": (61 * N, 61 * N),
            "words on dev": ((2 * TOP + 1) * DEV,) * 2,
        }
        assert len(events) > 2

    def test_a_killed_run_goes_on_and_a_finished_one_pays_nothing(self, tmp_path, planted):
        config = replace(CONFIG, out=tmp_path / "words")
        lm = PlantedLM(40, 1)

        def kill(event):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            word_effects(config, task=a_task(), lm=lm, top=TOP, on_event=kill)
        paid = sum(lm.scored_pairs.values())
        assert paid == module.BATCH * N
        found = word_effects(config, task=a_task(), lm=lm, top=TOP)
        total = 61 * N + (2 * TOP + 1) * DEV
        assert sum(lm.scored_pairs.values()) == found.ledger["forwards"] == total
        assert found.rows == planted[1].rows

        again = PlantedLM(40, 1)
        assert word_effects(config, task=a_task(), lm=again, top=TOP).rows == found.rows
        assert not again.scored_pairs
        # More rows on dev are all that more rows cost.
        more = word_effects(config, task=a_task(), lm=again, top=TOP + 2)
        assert sum(again.scored_pairs.values()) == 4 * DEV
        assert [row.train for row in more.rows] == [row.train for row in found.rows]


class TestFiles:
    def test_hold_everything(self, tmp_path, planted):
        out = tmp_path / "words"
        task = a_task()
        found = word_effects(replace(CONFIG, out=out), task=task, lm=PlantedLM(40, 1), top=TOP)
        value = json.loads((out / "words.json").read_text(encoding="utf-8"))
        assert value == json.loads(json.dumps(found.to_json()))
        assert len(value["rows"]) == 60
        assert value["lm"]["fingerprint"] == planted[0].identity.fingerprint
        assert value["splits"]["train"] == {"hash": task.train.hash, "size": N}
        assert (value["reward"], value["interval_of"]) == ("calibrated_log_likelihood",) * 2
        assert task.test.opened is None
        table = (out / "words.md").read_text(encoding="utf-8").splitlines()
        rows = [line for line in table if line.startswith("|")]
        assert len(rows) == 2 + 2 * TOP + 1
        assert len({line.count("|") for line in rows}) == 1
        assert f"| *{60 - 2 * TOP} more* |" in "\n".join(rows)
        assert f"`{found.rows[0].text!r}`" in rows[2]
        assert "\\*" in rows[2]

    def test_that_are_in_use_are_refused_before_the_lm_is_loaded(self, tmp_path, monkeypatch):
        config = replace(CONFIG, out=tmp_path / "words")
        word_effects(config, task=a_task(), lm=PlantedLM(40, 1), top=TOP)
        monkeypatch.setattr(module, "load_lm", None)
        with (
            EvaluationLog(tmp_path / "words" / "evaluations.jsonl"),
            pytest.raises(RunError, match="in use by another process"),
        ):
            word_effects(config, task=a_task(), top=TOP)

    def test_of_another_run_are_left_alone(self, tmp_path):
        config = replace(CONFIG, out=tmp_path / "words")
        word_effects(config, task=a_task(), lm=PlantedLM(40, 1), top=1)
        # What has no say in the outcome may differ.
        word_effects(
            replace(config, seed=3, agent="random", ensemble=4, fluency=0.1),
            task=a_task(),
            lm=PlantedLM(40, 1),
        )
        with pytest.raises(RunError, match="vocabulary_size was 60, now 50"):
            word_effects(replace(config, vocabulary_size=50), task=a_task(), lm=PlantedLM(40, 1))


def test_a_top_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="top must be 1 or more, not 0"):
        word_effects(CONFIG, top=0)


class TestRewards:
    @pytest.mark.parametrize("reward", [accuracy, piecewise_gap, calibrated_log_likelihood])
    def test_of_the_package_are_means_over_examples(self, reward):
        generator = np.random.default_rng(0)
        gold = np.arange(12) % 3
        evaluations = [
            Evaluation(log_softmax(generator.normal(size=(12, 3))), gold) for _ in range(4)
        ]
        rewards = np.array([reward(each) for each in evaluations])
        values = per_example(reward, evaluations, rewards)
        assert values.shape == (4, 12)
        np.testing.assert_allclose(values.mean(axis=1), rewards)

    def test_that_are_no_means_leave_the_intervals_to_the_log_likelihood(
        self, monkeypatch, planted
    ):
        monkeypatch.setattr("rlprompt.rewards.functions.accuracy", worst_label)
        config = replace(CONFIG, reward="accuracy")
        found = word_effects(config, task=a_task(), lm=PlantedLM(40, 1), top=TOP)
        assert found.interval_of == "calibrated_log_likelihood"
        by_token = {row.token_id: row for row in planted[1].rows}
        for row in found.rows:
            theirs = by_token[row.token_id]
            assert (row.train.low, row.train.high) == (theirs.train.low, theirs.train.high)
            assert row.p == theirs.p
        assert found.rows[0].train.value != planted[1].rows[0].train.value


class TestStatistics:
    def test_an_interval_is_that_of_a_slow_loop(self):
        generator = np.random.default_rng(5)
        differences = generator.normal(0.3, 1, size=(700, 10))  # more rows than a block
        expected = []
        counts = np.random.default_rng(0).multinomial(10, [0.1] * 10, size=RESAMPLES)
        for row in counts:
            drawn = [i for i, times in enumerate(row) for _ in range(times)]
            expected.append(float(np.mean([differences[699][i] for i in drawn])))
        ends = bootstrap_intervals(differences)
        assert ends.shape == (700, 2)
        assert ends[699] == pytest.approx(np.quantile(expected, [0.025, 0.975]))

    def test_intervals_do_not_depend_on_other_rows(self):
        differences = np.random.default_rng(1).normal(size=(5, 9))
        np.testing.assert_allclose(
            bootstrap_intervals(differences)[3:4], bootstrap_intervals(differences[3:4])
        )

    def test_p_of_one_row_is_that_of_all_flips(self):
        values = np.array([0.9, 0.2, 0.5, 0.7, -0.1, 0.4])
        flips = np.array(np.meshgrid(*[[-1, 1]] * 6)).reshape(6, -1).T
        exact = np.mean(np.abs(flips @ values) >= abs(values.sum()) - 1e-12)
        assert family_wise_p(values[None])[0] == pytest.approx(exact, abs=0.01)

    def test_p_pays_for_the_number_of_rows(self):
        generator = np.random.default_rng(2)
        row = generator.normal(0.8, 1, size=(1, 16))
        alone = family_wise_p(row)[0]
        among = family_wise_p(np.concatenate([row, generator.normal(size=(300, 16))]))[0]
        assert alone < 0.05 < among
        # Copies of a row are one test.
        assert family_wise_p(np.repeat(row, 300, axis=0))[0] == alone

    def test_marks_nothing_in_noise_about_as_often_as_it_says(self):
        generator = np.random.default_rng(3)
        common = generator.normal(size=(200, 1, 12))  # the empty prompt's own noise
        rows = generator.normal(size=(200, 50, 12)) - common
        marked = [family_wise_p(each, flips=500).min() <= 0.05 for each in rows]
        assert np.mean(marked) <= 0.1

    def test_rows_of_zeros_have_no_effect(self):
        differences = np.zeros((2, 8))
        differences[1] = 1.0
        p = family_wise_p(differences)
        assert p[0] == 1
        assert p[1] < 0.05
        assert bootstrap_intervals(differences).tolist() == pytest.approx(
            np.array([[0, 0], [1, 1]])
        )
