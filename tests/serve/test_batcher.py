"""Requests are gathered, labelled in one thread, and given back without mixing them up."""

import asyncio

import pytest

from rlprompt.core.errors import ConfigError
from rlprompt.serve.batcher import Batcher, Busy, outcomes_of
from rlprompt.serve.limits import Limits


def labels(predictions):
    return [each.label for each in predictions]


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario, 60))


def test_many_clients_get_their_own_answers_in_order(predict):
    async def scenario():
        batcher = Batcher(predict, Limits(max_batch=7, max_wait_ms=1))
        batcher.start()
        asked = [("ab"[n % 2], [f"{n}.{m}" for m in range(1 + n % 5)]) for n in range(200)]
        found = await asyncio.gather(*(batcher.classify(*each) for each in asked))
        await batcher.stop()
        return asked, found

    asked, found = run(scenario())
    for (task, texts), predictions in zip(asked, found, strict=True):
        assert labels(predictions) == [f"{task}:{text}" for text in texts]
    assert len(predict.threads) == 1
    assert max(map(len, predict.batches)) == 7
    assert any({task for task, _ in batch} == {"a", "b"} for batch in predict.batches)
    assert sum(map(len, predict.batches)) == sum(len(texts) for _, texts in asked)


def test_what_comes_while_the_lm_works_goes_on_together(predict, limits):
    async def scenario():
        batcher = Batcher(predict, limits)
        batcher.start()
        predict.gate.clear()
        first = asyncio.ensure_future(batcher.classify("a", ["first"]))
        await until(predict.entered.is_set)
        rest = [asyncio.ensure_future(batcher.classify("a", [str(n)])) for n in range(8)]
        await until(lambda: batcher.queued == 8)
        await asyncio.sleep(2 * limits.max_wait_ms / 1000)  # their time to wait is over
        predict.gate.set()
        await asyncio.gather(first, *rest)
        await batcher.stop()

    run(scenario())
    assert [len(batch) for batch in predict.batches] == [1, 8]


def test_an_error_fails_its_own_request_only(predict, limits):
    async def scenario():
        batcher = Batcher(predict, limits)
        batcher.start()
        asked = [["1"], ["2", "poison"], ["3"], ["4"]]
        found = await asyncio.gather(
            *(batcher.classify("a", texts) for texts in asked), return_exceptions=True
        )
        again = await batcher.classify("a", ["5"])
        await batcher.stop()
        return found, again

    (one, failed, three, four), again = run(scenario())
    assert predict.batches[0] == [("a", text) for text in ["1", "2", "poison", "3", "4"]]
    assert isinstance(failed, ValueError)
    assert labels([*one, *three, *four, *again]) == ["a:1", "a:3", "a:4", "a:5"]


def test_outcomes_of_a_batch_that_is_too_large():
    def predict(asked):
        if len(asked) > 2:
            raise MemoryError
        return [text for _, text in asked]

    asked = [("a", n) for n in range(9)]
    assert outcomes_of(predict, asked) == list(range(9))


def test_who_went_away_is_not_labelled(predict, limits):
    async def scenario():
        batcher = Batcher(predict, limits)
        batcher.start()
        predict.gate.clear()
        first = asyncio.ensure_future(batcher.classify("a", ["first"]))
        await until(predict.entered.is_set)
        gone = asyncio.ensure_future(batcher.classify("a", ["gone", "gone too"]))
        stays = asyncio.ensure_future(batcher.classify("a", ["stays"]))
        await until(lambda: batcher.queued == 3)
        gone.cancel()
        predict.gate.set()
        found = await stays
        with pytest.raises(asyncio.CancelledError):
            await gone
        await first
        await batcher.stop()
        return found

    assert labels(run(scenario())) == ["a:stays"]
    assert predict.batches == [[("a", "first")], [("a", "stays")]]


def test_a_full_queue_says_when_to_come_again(predict):
    async def scenario():
        batcher = Batcher(predict, Limits(max_batch=1, max_texts=4, max_queue=4))
        batcher.start()
        predict.gate.clear()
        first = asyncio.ensure_future(batcher.classify("a", ["first"]))
        await until(predict.entered.is_set)
        rest = asyncio.ensure_future(batcher.classify("a", ["1", "2", "3"]))
        await until(lambda: batcher.queued == 3)
        with pytest.raises(Busy, match="The queue is full: 3 of 4 texts wait") as caught:
            await batcher.classify("a", ["4", "5"])
        assert 1 <= caught.value.retry_after <= 60
        last = asyncio.ensure_future(batcher.classify("a", ["4"]))
        await asyncio.sleep(0)
        predict.gate.set()
        await asyncio.gather(first, rest, last)
        await batcher.stop()

    run(scenario())


def test_stopping_finishes_what_is_queued_and_takes_nothing_more(predict, limits):
    async def scenario():
        batcher = Batcher(predict, limits)
        batcher.start()
        predict.gate.clear()
        asked = [asyncio.ensure_future(batcher.classify("a", [str(n)])) for n in range(20)]
        await until(predict.entered.is_set)
        stopping = asyncio.ensure_future(batcher.stop())
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="stops"):
            await batcher.classify("a", ["late"])
        predict.gate.set()
        await stopping
        return await asyncio.gather(*asked)

    found = run(scenario())
    assert [labels(each) for each in found] == [[f"a:{n}"] for n in range(20)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_batch": 0}, "max_batch must be 1 or more, not 0"),
        ({"max_wait_ms": -1}, "max_wait_ms must be 0 to 10000 milliseconds, not -1"),
        ({"max_texts": 2000}, "Raise max_queue or lower max_texts"),
    ],
)
def test_limits_under_which_nothing_works_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Limits(**settings)
