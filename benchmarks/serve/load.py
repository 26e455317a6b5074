"""How many requests a second the service answers to many clients, against one after the other.

    python benchmarks/serve/load.py RUN [NAME=RUN ...] [--requests 1000] [--clients 32]

Starts ``rlprompt serve`` on a free loopback port, and stops it with SIGTERM at the end. A request
is one film review sentence for one of the runs in turn. In each round one client first sends some
requests one after the other on a connection that stays open, then all clients send the round's
requests at once, each its next when the last is answered; both are timed by the same clock on the
same machine, and the ratio is the round's own. Then requests of many texts. Every answer is
compared with what ``Predictor.predict`` says in this process.

``--texts shared`` asks for every task of each text, ``distinct`` for one task of each.
"""

import argparse
import http.client
import json
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rlprompt
from rlprompt.run.predictor import Predictor, own_lm
from rlprompt.serve.runs import named_results
from rlprompt.tasks.movie_reviews import load_sentences
from rlprompt.tasks.splits import hash_order

ROUNDS = 3
#: Texts of a request in the check of order.
MANY = 16

Asked = tuple[str, str]


def requests_of(names: Sequence[str], count: int, shared: bool) -> list[Asked]:
    """The tasks in turn, each with a sentence; the same ones on every machine, drawn by hash."""
    texts = [e.fields["text"] for e in sorted(load_sentences(), key=hash_order)]
    each = len(names) if shared else 1
    return [(names[n % len(names)], texts[n // each % len(texts)]) for n in range(count)]


@contextmanager
def service(runs: Sequence[str], flags: Sequence[str], seconds: float) -> Iterator[int]:
    """Starts the service and yields its port; on leaving it must stop by itself with code 0."""
    command = [sys.executable, "-m", "rlprompt", "serve", *runs, "--port", "0", *flags]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    late = threading.Timer(seconds, process.kill)
    late.start()
    try:
        assert process.stderr is not None
        for line in process.stderr:
            found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            if found:
                break
            print(line, end="", file=sys.stderr)
        else:
            raise SystemExit("The service did not start.")
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield int(found[1])
        process.send_signal(signal.SIGTERM)
        if process.wait() != 0:
            raise SystemExit(f"The service ended with code {process.returncode}.")
    finally:
        late.cancel()
        process.kill()
        process.wait()


class Client:
    """One connection that stays open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

    def classify(self, task: str, texts: Sequence[str]) -> list[dict[str, Any]]:
        body = json.dumps({"task": task, "texts": texts})
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", "/classify", body, headers)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"status {response.status}: {answer!r}")
        predictions: list[dict[str, Any]] = json.loads(answer)["predictions"]
        return predictions


def at_once(port: int, asked: Sequence[Asked], clients: int) -> tuple[list[Any], float]:
    """Sends requests from several clients; returns answer or error of each, and the seconds."""
    answers: list[Any] = [None] * len(asked)
    numbers = iter(range(len(asked)))
    lock = threading.Lock()

    def work() -> None:
        client = Client(port)
        while True:
            with lock:
                n = next(numbers, None)
            if n is None:
                return
            try:
                [answers[n]] = client.classify(asked[n][0], [asked[n][1]])
            except (RuntimeError, OSError, http.client.HTTPException) as error:
                answers[n] = error
                client = Client(port)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers, time.perf_counter() - started


def expected(results: dict[str, Any], asked: Sequence[Asked]) -> list[rlprompt.Prediction]:
    """What ``predict`` of each run says."""
    lm = own_lm(next(iter(results.values())))
    found: list[Any] = [None] * len(asked)
    for name, result in results.items():
        places = [n for n, (own, _) in enumerate(asked) if own == name]
        predictions = Predictor.of(result, lm).predict([asked[n][1] for n in places])
        for n, prediction in zip(places, predictions, strict=True):
            found[n] = prediction
    return found


def difference(answer: dict[str, Any], prediction: rlprompt.Prediction) -> float:
    """Greatest difference of a probability; infinite where the labels are others."""
    if [*answer["probabilities"]] != [*prediction.probabilities]:
        return float("inf")
    pairs = zip(answer["probabilities"].values(), prediction.probabilities.values(), strict=True)
    return max(abs(one - other) for one, other in pairs)


def main() -> None:
    """Measures and prints JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", help="folders of finished runs, or NAME=FOLDER")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--alone", type=int, default=150, help="requests one after the other")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--texts", choices=("distinct", "shared"), default="distinct")
    parser.add_argument("--seconds", type=float, default=1200, help="the service's longest life")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("--flag", action="append", default=[], help="for serve, e.g. --flag=--x=1")
    given = parser.parse_args()

    results = named_results(given.runs)
    names = list(results)
    asked = requests_of(names, given.requests, given.texts == "shared")
    rates: dict[str, list[float]] = {"one at a time": [], "at once": []}
    answers: list[Any] = []
    with service(given.runs, given.flag, given.seconds) as port:
        at_once(port, asked[:MANY], MANY)  # warm
        for n in range(ROUNDS):
            part = asked[n * len(asked) // ROUNDS : (n + 1) * len(asked) // ROUNDS]
            alone = part[: given.alone // ROUNDS]
            _, seconds = at_once(port, alone, 1)
            rates["one at a time"].append(len(alone) / seconds)
            found, seconds = at_once(port, part, given.clients)
            rates["at once"].append(len(part) / seconds)
            answers += found
        client = Client(port)
        long = [
            client.classify(name, [text for own, text in asked if own == name][:MANY])
            for name in names
        ]
    errors = [str(answer) for answer in answers if not isinstance(answer, dict)]
    truth = expected(results, asked)
    compared = [
        (answer, each) for answer, each in zip(answers, truth, strict=True) if type(answer) is dict
    ]
    for name, predictions in zip(names, long, strict=True):
        own = [each for (task, _), each in zip(asked, truth, strict=True) if task == name]
        compared += zip(predictions, own[:MANY], strict=True)
    ratios = [b / a for a, b in zip(rates["one at a time"], rates["at once"], strict=True)]
    report = {
        "requests": len(asked),
        "tasks": names,
        "clients": given.clients,
        "texts": given.texts,
        "errors": errors[:5],
        "n_errors": len(errors),
        "max_difference": max(difference(*pair) for pair in compared),
        "requests_per_second": rates,
        "ratios": ratios,
        "median_ratio": statistics.median(ratios),
    }
    print(json.dumps(report, indent=2))
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if errors or report["max_difference"] > 1e-5:
        raise SystemExit("There were errors, or answers that are not those of predict.")


if __name__ == "__main__":
    main()
