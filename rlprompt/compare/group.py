"""One split of one task: every method's run on it, then the one opening of its test split."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from rlprompt.agents.protocol import generation, make_agent
from rlprompt.compare import folder
from rlprompt.compare.config import CompareConfig
from rlprompt.compare.failure import clear, note
from rlprompt.compare.fixed import Contestant, contestant, fixed_prompt
from rlprompt.compare.records import origin, run_record, task_record, test_row
from rlprompt.compare.tuned import TunedRuns
from rlprompt.core.errors import ConfigError, RLPromptError, RunError
from rlprompt.core.events import Event
from rlprompt.core.ledger import Ledger
from rlprompt.core.prompt import Prompt
from rlprompt.core.trials import Setting
from rlprompt.lm.protocol import FrozenLM
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.selection import MAX_SHARE
from rlprompt.objective.split_scorer import Question
from rlprompt.run.final import Baselines, baselines, open_test
from rlprompt.run.parts import Parts, assemble, plan_of, task_of
from rlprompt.run.search import lm_identity, record_of, search, settings_of
from rlprompt.tasks.examples import Split
from rlprompt.tasks.tokenization import prompt_of
from rlprompt.tuning.protocol import make_tuner

#: Stands for the group's own file, where its traceback is named after it.
_GROUP = "group.json"


@dataclass(frozen=True)
class News:
    """What a group tells of itself while it works.

    Attributes:
        group: number of the group.
        setting: the run it is about; None for the group as a whole.
        forwards: LM forwards of this run so far.
        line: something worth a line of its own, or ''.
        state: 'running', 'done' or 'failed'.
        best_reward: best train reward of this run so far, where it is known.
        best_text: text of the prompt it belongs to.
    """

    group: int
    setting: Setting | None
    forwards: int = 0
    line: str = ""
    state: str = "running"
    best_reward: float | None = None
    best_text: str = ""


OnNews = Callable[[News], None]


class Group:
    """The runs of a comparison on one split of one task.

    All runs share the bound LM and the evaluation log. Each is charged alone for every score it
    asks for, whoever paid for it first, so what one costs does not depend on what ran before.
    """

    def __init__(
        self, config: CompareConfig, number: int, on_news: OnNews, tuned: TunedRuns
    ) -> None:
        """Names the group; loads nothing.

        Args:
            config: of the comparison.
            number: index into ``config.groups``.
            on_news: is told of progress.
            tuned: runs the tuners.
        """
        self._config = config
        self._number = number
        self._tell = on_news
        self._task, self._split_seed = config.groups[number]
        self._settings = config.settings(self._task, self._split_seed)
        self._folder = folder.group_folder(config.out, self._task, self._split_seed)
        self._tuned = tuned

    def run(self, load: Callable[[], FrozenLM]) -> None:
        """Runs what is not done, then scores all selected prompts and all tuned methods on test.

        A run that fails is written down as failed, and the others go on.

        Args:
            load: returns the frozen LM; called only if there is something to score.

        Raises:
            RunError: files of the group cannot be read or written, belong to other data, or the log
                is in use.
        """
        done = {s: folder.read(folder.run_file(self._config.out, s)) for s in self._settings}
        for setting, record in done.items():
            self._check_method(setting, record)
        todo = [s for s, record in done.items() if record is None or record.get("error")]
        for setting in self._settings:
            if setting not in todo:
                self._tell(News(self._number, setting, setting.budget, "", "done"))
        if not todo and not self._untested():
            return
        largest = max(self._settings, key=lambda s: s.budget)
        left = list(todo)
        try:
            config = self._config.run_config(largest)
            task = task_of(config)
            with EvaluationLog(self._folder / folder.EVALUATIONS) as scores:
                for torn in self._folder.glob(".*.tmp"):  # of a start that was killed
                    torn.unlink(missing_ok=True)
                run = assemble(config, task, load(), scores)
                self._check_origin(run)
                for setting in todo:
                    self._attempt(run, setting)
                    left.remove(setting)
                self._score_test(run)
        except RunError:
            raise  # the folder, not the task
        except Exception as error:
            self._fail(left, note(self._folder / _GROUP, error))
        else:
            clear(self._folder / _GROUP)

    def _check_method(self, setting: Setting, record: Mapping[str, Any] | None) -> None:
        """Refuses a finished run of the same name that was made with other settings."""
        if record is None or record.get("error"):
            return
        method = self._config.method(setting.method)
        wanted: dict[str, Any] = {"setting": asdict(setting)}
        if method.tuner:
            tuner = make_tuner(method.tuner, method.settings)
            wanted |= {"tuner": method.tuner, "settings": settings_of(tuner)}
        else:
            agent = make_agent(method.agent, dict(method.settings))
            wanted |= {"agent": method.agent, "settings": settings_of(agent)}
            wanted["racing"] = method.racing
            wanted["members"] = method.ensemble if method.ensemble > 1 else None
        differing = [key for key, value in wanted.items() if record.get(key) != value]
        if differing:
            raise RunError(
                f"{folder.run_file(self._config.out, setting)} was made with another "
                f"{' and another '.join(differing)} of {setting.method!r}: choose another --out, "
                "give the method another name, or delete the file."
            )

    def _check_origin(self, run: Parts) -> None:
        """Refuses to add to what was scored on other examples, in another template, by another LM.

        Paths and names can stay what they were while what they stand for changes.
        """
        now = origin(run)
        for name, there in {folder.TEST: self._tested(), **self._records()}.items():
            was = there.get("origin", now)
            differing = [key for key, value in now.items() if was[key] != value]
            if differing:
                raise RunError(
                    f"{self._folder / name} was made with another "
                    f"{' and another '.join(differing)} than {self._task!r} has now: choose "
                    "another --out."
                )

    def _attempt(self, run: Parts, setting: Setting) -> None:
        """Runs one method and writes down what came of it, be it an error."""
        path = folder.run_file(self._config.out, setting)
        kind = self._tune if self._config.method(setting.method).tuner else self._search
        try:
            record, line = kind(run, setting)
        except RunError:
            raise  # the folder, not the method
        except Exception as error:
            line = note(path, error)
            folder.write(path, {"setting": asdict(setting), "error": line})
            self._tell(News(self._number, setting, setting.budget, line, "failed"))
            return
        clear(path)
        folder.write(path, record)
        self._tell(News(self._number, setting, setting.budget, line, "done"))

    def _search(self, run: Parts, setting: Setting) -> tuple[dict[str, Any], str]:
        """Lets an agent search; returns the record and a line about it."""
        method = self._config.method(setting.method)

        def listen(event: Event) -> None:
            if event.phase.startswith("search"):
                self._tell(self._news(setting, event))

        config = self._config.run_config(setting)
        agent = make_agent(method.agent, dict(method.settings))
        parts = replace(run, config=config, plan=plan_of(config, run.task))
        check_generation(setting, generation(agent), parts)
        outcome = search(parts, setting.method, agent, listen)
        best = outcome.winner
        line = f"{best.reward:.3f} on train and dev: {record_of(parts, best.prompt).text!r}"
        return run_record(parts, setting, outcome), line

    def _tune(self, run: Parts, setting: Setting) -> tuple[dict[str, Any], str]:
        """Lets a tuner train; returns the record and a line about it."""

        def listen(event: Event) -> None:
            self._tell(self._news(setting, event))

        record = self._tuned.train(run, setting, listen)
        return record, f"{record['reward']:.3f} on train and dev: {record['prompt']['text']}"

    def _news(self, setting: Setting, event: Event) -> News:
        return News(
            self._number,
            setting,
            event.forwards,
            best_reward=event.best_reward,
            best_text=event.best_text,
        )

    def _fail(self, settings: list[Setting], error: str) -> None:
        """Writes down that what is left of the group could not be done."""
        for setting in settings:
            path = folder.run_file(self._config.out, setting)
            folder.write(path, {"setting": asdict(setting), "error": error})
        what = f"{len(settings)} runs" if settings else "scores on test"
        self._tell(News(self._number, None, line=f"{what}: {error}", state="failed"))
        for setting in settings:
            self._tell(News(self._number, setting, setting.budget, "", "failed"))

    def _tested(self) -> dict[str, Any]:
        """Returns the group's test file, or what stands in for it before there is one."""
        path = self._folder / folder.TEST
        return folder.read(path) or {"fixed": {}, "selected": {}, "opened": [], "forwards": 0}

    def _records(self) -> dict[str, dict[str, Any]]:
        """Returns the finished runs by the names of their files."""
        paths = [folder.run_file(self._config.out, setting) for setting in self._settings]
        records = {path.name: folder.read(path) for path in paths}
        return {name: r for name, r in records.items() if r is not None and not r.get("error")}

    def _untested(self) -> tuple[list[str], list[str]] | None:
        """Returns which fixed prompts and which runs were not scored on test; None if all were."""
        tested = self._tested()
        fixed = [name for name in self._config.fixed if name not in tested["fixed"]]
        runs = []
        for name, record in self._records().items():
            row = tested["selected"].get(name, {})
            scored = (row.get("text"), row.get("saved"))  # only what is tuned is saved
            if scored != (record["prompt"]["text"], record.get("saved")):
                runs.append(name)
        return (fixed, runs) if fixed or runs else None

    def _score_test(self, run: Parts) -> None:
        """Scores on test what was settled since it was last opened: prompts and tuned methods."""
        untested = self._untested()
        if untested is None:
            return
        ledger = Ledger()
        before = self._tested()
        fixed, refused = self._settle_fixed(run, untested[0], ledger)
        records = self._records()
        tuned = {name: records[name] for name in untested[1] if "tuner" in records[name]}
        selected = {
            name: self._winner(run, records[name]) for name in untested[1] if name not in tuned
        }
        asked: dict[Question, list[Prompt]] = {}
        for each in (*fixed.values(), *selected.values()):
            asked.setdefault(each.question, []).extend(each.prompts)
        refusals = {name: {"error": line} for name, line in refused.items()}
        if not asked and not tuned:
            if refusals and before["opened"]:
                merged = {**before["fixed"], **refusals}
                folder.write(self._folder / folder.TEST, {**before, "fixed": merged})
            return
        test, examples, reason = open_test(run, asked, ledger, lambda event: None, len(tuned))
        tuned_rows = self._tuned_rows(run, tuned, examples, ledger)
        if run.question in test:
            before["truncated"] = sum(scorer.truncated for scorer in test[run.question])
        folder.write(
            self._folder / folder.TEST,
            {
                "task": task_record(run.task),
                "lm": lm_identity(run),
                "origin": origin(run),
                "hash": run.task.test.hash,
                "size": len(run.task.test),
                "scored": run.plan.n_test,
                "truncated": before.get("truncated", 0),
                "opened": [*before["opened"], reason],
                "forwards": before["forwards"] + ledger.forwards,
                "fixed": {
                    **before["fixed"],
                    **refusals,
                    **{name: test_row(each, test[each.question]) for name, each in fixed.items()},
                },
                "selected": {
                    **before["selected"],
                    **{
                        name: test_row(each, test[each.question]) for name, each in selected.items()
                    },
                    **tuned_rows,
                },
            },
        )
        for name in tuned_rows:
            self._tuned.clear(Setting(**tuned[name]["setting"]))
        self._tell(News(self._number, None, line=f"test: {reason}", state="done"))

    def _tuned_rows(
        self, run: Parts, records: Mapping[str, dict[str, Any]], test: Split, ledger: Ledger
    ) -> dict[str, dict[str, Any]]:
        """Scores what was tuned, one by one, for each may be as large as the LM."""
        rows = {}
        for name, record in records.items():
            setting = Setting(**record["setting"])
            try:
                rows[name] = self._tuned.test_row(run, setting, record, test)
                ledger.forwards += len(test)
            except RunError:
                raise  # the folder, not the method
            except Exception as error:
                line = f"{setting.method}: {note(self._folder / name, error)}"
                self._tell(News(self._number, None, line=line, state="failed"))
        return rows

    def _settle_fixed(
        self, run: Parts, names: list[str], ledger: Ledger
    ) -> tuple[dict[str, Contestant], dict[str, str]]:
        """Returns the fixed prompts that could be settled, and why others cannot be, ever."""
        base: Baselines | None = None
        fixed: dict[str, Contestant] = {}
        refused: dict[str, str] = {}
        for name in names:
            try:
                base = base or baselines(run, ledger)
                fixed[name] = fixed_prompt(run, name, base, ledger)
            except RunError:
                raise  # the folder, not the prompt
            except Exception as error:
                line = note(self._folder / f"{name}.json", error)
                if isinstance(error, RLPromptError):
                    refused[name] = line
                self._tell(News(self._number, None, line=f"{name}: {line}", state="failed"))
        return fixed, refused

    def _winner(self, run: Parts, record: Mapping[str, Any]) -> Contestant:
        """Returns what a finished run selected; its scores are in the log."""
        texts = record.get("ensemble") or [record["prompt"]["text"]]
        prompts = [prompt_of(run.lm.tokenizer, run.task.template, text) for text in texts]
        for scorer in (run.train, *run.dev):
            scorer.logprobs(prompts, Ledger())
        return contestant(run, *prompts)


def check_generation(setting: Setting, batch: int, run: Parts) -> None:
    """Refuses a budget that does not cover one batch of an agent's prompts.

    Raises:
        ConfigError: with the budget that would.
    """
    if run.plan.prompts < batch:
        search, race = batch * run.plan.n_train, run.plan.n_dev
        # The race takes a tenth of a budget, or one prompt on dev where a tenth does not cover it.
        least = max(math.ceil(search / (1 - MAX_SHARE)), search + race)
        raise ConfigError(
            f"A budget of {setting.budget} LM forwards leaves {run.plan.search.forwards} for the "
            f"search, {run.plan.prompts} prompts, less than one batch of {batch} that "
            f"{setting.method!r} proposes at once: allow {least} or more, or give it smaller "
            "batches."
        )
