"""Requests of many clients, gathered into batches for one LM in one thread."""

import asyncio
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from rlprompt.run.predictor import Prediction
from rlprompt.serve.limits import Limits
from rlprompt.serve.texts import Text

#: Labels texts of any of the tasks, in order.
Predict = Callable[[Sequence[tuple[str, Text]]], Sequence[Prediction]]
#: How much the newest batch counts for the mean time a text.
_NEWEST = 0.2


class Busy(Exception):  # noqa: N818 - a state, not a mistake
    """The queue is full, or the service stops.

    Attributes:
        retry_after: seconds after which it may be otherwise.
    """

    def __init__(self, reason: str, retry_after: int) -> None:
        """Keeps reason and time."""
        super().__init__(reason)
        self.retry_after = retry_after


@dataclass(frozen=True, eq=False)
class _Waiting:
    """One text of a request, and where its prediction goes."""

    task: str
    text: Text
    since: float
    found: asyncio.Future[Prediction]


class Batcher:
    """An asyncio queue of texts before one thread that runs the LM.

    While the LM is at work the queue grows; then up to ``max_batch`` texts go on together, whatever
    their task. A lone text waits ``max_wait_ms`` for others.
    """

    def __init__(self, predict: Predict, limits: Limits) -> None:
        """Keeps what it is given; :meth:`start` begins.

        Args:
            predict: labels texts of any of the tasks; it is called in one thread only.
            limits: sizes of batch and queue.
        """
        self._predict = predict
        self._limits = limits
        # None: nothing comes after it.
        self._queue: asyncio.Queue[_Waiting | None] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lm")
        self._loop: asyncio.Task[None] | None = None
        self._stopping = False
        self._seconds_a_text = 0.05

    @property
    def queued(self) -> int:
        """Texts that wait for the LM."""
        return self._queue.qsize()

    def start(self) -> None:
        """Begins to label; to be called in a running event loop."""
        self._loop = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Takes nothing more, and returns when all that is queued is labelled."""
        self._stopping = True
        self._queue.put_nowait(None)
        if self._loop is not None:
            await self._loop
        self._thread.shutdown()

    async def classify(self, task: str, texts: Sequence[Text]) -> list[Prediction]:
        """Labels the texts of a request.

        When this is cancelled, those of its texts that wait are never labelled.

        Args:
            task: name of the task.
            texts: the texts.

        Returns:
            One prediction a text, in order.

        Raises:
            Busy: the queue has no room for them, or the service stops.
            Exception: whatever ``predict`` raises for one of these texts alone.
        """
        if self._stopping:
            raise Busy("The service stops and takes no more texts.", 1)
        if self.queued + len(texts) > self._limits.max_queue:
            seconds = math.ceil(self.queued * self._seconds_a_text)
            raise Busy(
                f"The queue is full: {self.queued} of {self._limits.max_queue} texts wait.",
                min(60, max(1, seconds)),
            )
        loop = asyncio.get_running_loop()
        now = loop.time()
        mine = [_Waiting(task, text, now, loop.create_future()) for text in texts]
        for each in mine:
            self._queue.put_nowait(each)
        try:
            return list(await asyncio.gather(*(each.found for each in mine)))
        finally:
            for each in mine:
                each.found.cancel()

    async def _run(self) -> None:
        going = True
        while going:
            batch, going = await self._gather()
            batch = [each for each in batch if not each.found.done()]
            if batch:
                await self._label(batch)

    async def _gather(self) -> tuple[list[_Waiting], bool]:
        """Returns the next batch, and whether more may come after it."""
        first = await self._queue.get()
        if first is None:
            return [], False
        batch = [first]
        with suppress(TimeoutError):
            async with asyncio.timeout_at(first.since + self._limits.max_wait_ms / 1000):
                while len(batch) < self._limits.max_batch:
                    each = await self._queue.get()
                    if each is None:
                        return batch, False
                    batch.append(each)
        # What came while the LM was at work is there, though its time to wait is over.
        while len(batch) < self._limits.max_batch and not self._queue.empty():
            each = self._queue.get_nowait()
            if each is None:
                return batch, False
            batch.append(each)
        return batch, True

    async def _label(self, batch: Sequence[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        asked = [(each.task, each.text) for each in batch]
        outcomes = await loop.run_in_executor(self._thread, outcomes_of, self._predict, asked)
        newest = (loop.time() - started) / len(batch)
        self._seconds_a_text += _NEWEST * (newest - self._seconds_a_text)
        for each, outcome in zip(batch, outcomes, strict=True):
            if each.found.done():
                continue  # its client went away meanwhile
            if isinstance(outcome, Exception):
                each.found.set_exception(outcome)
            else:
                each.found.set_result(outcome)


def outcomes_of(
    predict: Predict, asked: Sequence[tuple[str, Text]]
) -> list[Prediction | Exception]:
    """Labels texts so that one which cannot be labelled does not fail the others.

    A batch that fails is halved until what fails stands alone, which also takes care of a batch too
    large for the memory.

    Args:
        predict: labels texts of any of the tasks.
        asked: name of the task and the text.

    Returns:
        For each text its prediction, or what ``predict`` raised for it.
    """
    try:
        return list(predict(asked))
    except Exception as error:
        if len(asked) == 1:
            return [error]
        half = len(asked) // 2
        return [*outcomes_of(predict, asked[:half]), *outcomes_of(predict, asked[half:])]
