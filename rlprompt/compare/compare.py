"""A comparison from end to end: groups side by side, then one file with what came of them."""

import multiprocessing
import multiprocessing.connection
import os
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from rlprompt.compare import folder
from rlprompt.compare.collect import collect, process_record
from rlprompt.compare.config import CompareConfig
from rlprompt.compare.group import Group, News, OnNews
from rlprompt.compare.standing import Standing
from rlprompt.compare.tuned import TunedRuns
from rlprompt.core.errors import RunError
from rlprompt.core.trials import Setting
from rlprompt.lm.loading import LMConfig, load_lm
from rlprompt.lm.protocol import FrozenLM
from rlprompt.run.folder import claim

#: Seconds between two looks at what the worker processes tell.
_PATIENCE = 0.2


@dataclass(frozen=True)
class Spent:
    """What a group took in this process.

    Attributes:
        wall: seconds.
        lm: of them inside the LM; a tuner counts with all it took.
        loading: seconds it took to load the LM, not in ``wall``.
    """

    wall: float = 0.0
    lm: float = 0.0
    loading: float = 0.0


def compare(
    config: CompareConfig, *, lm: FrozenLM | None = None, on_news: OnNews = lambda news: None
) -> dict[str, Any]:
    """Runs every method on every split, and puts together what came of it.

    What was done is not done again: a comparison that was killed goes on when it is started again,
    and one that is given more methods, budgets or splits runs only these.

    Args:
        config: what to compare.
        lm: a loaded LM in place of the one that is named; not with several jobs.
        on_news: is told of progress, in this process.

    Returns:
        What ``comparison.json`` holds.

    Raises:
        RLPromptError: the folder belongs to another configuration or is in use, or no run at all
            could be finished.
    """
    if lm is not None and config.jobs > 1:
        raise RunError("A loaded LM cannot be shared by processes: give its name, or jobs = 1.")
    claim(config.out, config.shared())
    started = time.perf_counter()
    with _uninterrupted(config), Standing(config) as standing:

        def listen(news: News) -> None:
            standing(news)
            on_news(news)

        if config.jobs == 1:
            spent = _one_by_one(config, lm, listen)
        else:
            spent = _side_by_side(config, listen)
        result = collect(config)
        previous = folder.read(config.out / folder.RESULT)
        result["process"] = process_record(
            previous,
            wall=time.perf_counter() - started,
            busy=sum(each.wall for each in spent),
            lm=sum(each.lm for each in spent),
            loading=sum(each.loading for each in spent),
            jobs=config.jobs,
        )
        folder.write(config.out / folder.RESULT, result)
    return result


class _Loader:
    """Loads the LM when it is first asked for, and says how long that took."""

    def __init__(self, lm_config: LMConfig, lm: FrozenLM | None = None) -> None:
        self._config = lm_config
        self.lm = lm
        self._trainable: FrozenLM | None = None
        self.seconds = 0.0

    def __call__(self) -> FrozenLM:
        if self.lm is None:
            self.lm = self._load(self._config)
        return self.lm

    def trainable(self) -> FrozenLM:
        """Loads the LM a second time: what makes scores fast leaves no gradients."""
        if self._trainable is None:
            self._trainable = self._load(replace(self._config, trainable=True))
        return self._trainable

    def _load(self, config: LMConfig) -> FrozenLM:
        started = time.perf_counter()
        lm = load_lm(config)
        self.seconds += time.perf_counter() - started
        return lm


def _lm_config(config: CompareConfig) -> LMConfig:
    first = Setting(config.tasks[0], config.split_seeds[0], config.names[0], 0, config.budgets[0])
    return config.run_config(first).lm_config()


def _timed(config: CompareConfig, number: int, load: _Loader, on_news: OnNews) -> Spent:
    """Runs one group and says what it took."""
    inside = load.lm.meter.seconds if load.lm is not None else 0.0
    loading = load.seconds
    started = time.perf_counter()
    tuned = TunedRuns(config, load.trainable)
    Group(config, number, on_news, tuned).run(load)
    wall = time.perf_counter() - started
    loaded = load.seconds - loading
    after = load.lm.meter.seconds if load.lm is not None else 0.0
    return Spent(wall - loaded, after - inside + tuned.seconds, loaded)


def _one_by_one(config: CompareConfig, lm: FrozenLM | None, on_news: OnNews) -> list[Spent]:
    load = _Loader(_lm_config(config), lm)
    return [_timed(config, number, load, on_news) for number in range(len(config.groups))]


#: Of a worker process: its loader, and where its news go.
_worker: dict[str, Any] = {}


def _start_worker(lm_config: LMConfig, news: Any) -> None:
    _worker["load"] = _Loader(lm_config)
    _worker["news"] = news
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when its parent is gone: a killed comparison leaves no worker behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _work(config: CompareConfig, number: int) -> Spent:
    return _timed(config, number, _worker["load"], _worker["news"].put)


def _side_by_side(config: CompareConfig, on_news: OnNews) -> list[Spent]:
    """Runs the groups in several processes, each with its own LM."""
    context = multiprocessing.get_context("spawn")
    news = context.Manager().Queue()
    with ProcessPoolExecutor(
        config.jobs,
        mp_context=context,
        initializer=_start_worker,
        initargs=(_lm_config(config), news),
    ) as pool:
        groups = [pool.submit(_work, config, number) for number in range(len(config.groups))]
        try:
            pending: set[Future[Spent]] = set(groups)
            while pending:
                pending = wait(pending, timeout=_PATIENCE).not_done
                _pass_on(news, on_news)
                _raise_first(groups)
        except BaseException:
            for group in groups:
                group.cancel()
            for process in list((pool._processes or {}).values()):
                process.terminate()
            raise
        return [group.result() for group in groups]


def _pass_on(news: Any, on_news: OnNews) -> None:
    while True:
        try:
            on_news(news.get_nowait())
        except queue.Empty:
            return


def _raise_first(groups: list[Future[Spent]]) -> None:
    """Raises what ended a group, as soon as one has ended so."""
    for group in groups:
        error = group.exception() if group.done() and not group.cancelled() else None
        if isinstance(error, BrokenProcessPool):
            raise RunError(
                "A worker process was killed, most often because memory ran out: what was scored "
                "is kept; give the same command again, with fewer --jobs."
            ) from error
        if error is not None:
            raise error


@contextmanager
def _uninterrupted(config: CompareConfig) -> Iterator[None]:
    """Turns Ctrl-C into a message that says how to go on."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise RunError(
            f"Interrupted. Everything scored so far is in {config.out}: give the same command "
            "again to go on."
        ) from error
