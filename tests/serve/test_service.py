"""The command as a process: several clients, equal to predict, limits on the wire, its end."""

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing, contextmanager

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from rlprompt import RunConfig, load, optimize
from rlprompt.cli import main
from rlprompt.core.errors import ConfigError
from rlprompt.serve.server import listen


@pytest.fixture(scope="module")
def runs(films, tiny_lm, tmp_path_factory):
    """Two finished runs of one tiny LM, with other words."""
    folder = tmp_path_factory.mktemp("served")
    for name, words in (("plain", None), ("other", {"bad": ["awful"], "good": ["great"]})):
        settings = {"budget": 400, "shots": 4, "length": 3, "test_limit": 10, "words": words}
        optimize(RunConfig(task=str(films), lm=str(tiny_lm), **settings, out=folder / name))
    return folder


@contextmanager
def served(*words):
    """Yields the process and its port."""
    command = [sys.executable, "-m", "rlprompt", "serve", *map(str, words), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    late = threading.Timer(300, process.kill)
    late.start()
    try:
        for line in process.stderr:
            found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            if found:
                break
        yield process, int(found[1])
    finally:
        late.cancel()
        process.kill()
        process.wait()
        process.stderr.close()


def connect(port):
    return closing(http.client.HTTPConnection("127.0.0.1", port, timeout=200))


def ask(connection, task, texts):
    body = json.dumps({"task": task, "texts": texts})
    connection.request("POST", "/classify", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def post(port, task, texts):
    with connect(port) as connection:
        return ask(connection, task, texts)


def get(port, path):
    with connect(port) as connection:
        connection.request("GET", path)
        return connection.getresponse().read()


def test_clients_of_two_tasks_get_what_predict_says(runs, film_rows):
    texts = [text for text, _ in film_rows[:60]]
    truth = {name: load(runs / name).predict(texts) for name in ("plain", "other")}
    found = {}

    def client(n, port):
        name = ("plain", "other")[n % 2]
        with connect(port) as connection:
            for start, size in ((n, 1), (n, 7), (n + 7, 1), (0, 20)):
                found[n, start, size] = name, ask(connection, name, texts[start : start + size])

    named = [f"{name}={runs / name}" for name in truth]
    with served(*named, "--max-batch", 16, "--max-body", 20_000) as (process, port):
        threads = [threading.Thread(target=client, args=(n, port)) for n in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # A bad request before a good one, on a connection that stays open.
        with connect(port) as connection:
            status, answer = ask(connection, "plaine", ["x"])
            assert (status, "Did you mean 'plain'" in answer["detail"]) == (422, True)
            assert ask(connection, "plain", ["x"])[0] == 200
        # A large body is refused before it is sent.
        with socket.create_connection(("127.0.0.1", port), timeout=200) as connection:
            head = "POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n"
            connection.sendall(head.encode() + b'{"task"')
            assert connection.recv(12) == b"HTTP/1.1 413"
        # Who goes away within a body does no harm.
        with socket.create_connection(("127.0.0.1", port), timeout=200) as connection:
            connection.sendall(head.replace("999999999", "999").encode() + b'{"task"')
        assert post(port, "plain", ["x"])[0] == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(100) == 0
    assert len(found) == 40
    for (_, start, size), (name, (status, answer)) in found.items():
        assert status == 200
        expected = truth[name][start : start + size]
        for one, other in zip(answer["predictions"], expected, strict=True):
            assert one["label"] == other.label
            assert one["probabilities"] == pytest.approx(other.probabilities, abs=1e-5)


def test_a_stop_finishes_what_was_asked(runs, film_rows):
    texts = [text for text, _ in film_rows[:100]]
    with served(runs / "plain", "--max-texts", 1000, "--max-batch", 1) as (process, port):
        name = json.loads(get(port, "/tasks"))[0]["name"]
        answers = []
        thread = threading.Thread(target=lambda: answers.append(post(port, name, texts)))
        thread.start()
        while not json.loads(get(port, "/healthz"))["queued"] and thread.is_alive():
            pass
        process.send_signal(signal.SIGTERM)
        thread.join(200)
        assert process.wait(100) == 0
        [(status, answer)] = answers
        assert (status, len(answer["predictions"])) == (200, len(texts))
        with pytest.raises(ConnectionRefusedError):
            get(port, "/healthz")


def test_a_port_in_use():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = f"Cannot listen at 127.0.0.1:{port}: Address already in use. Give another --port"
        with pytest.raises(ConfigError, match=message):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_another_host_is_warned_of(runs, monkeypatch, capsys, host):
    made = []
    monkeypatch.setattr("rlprompt.serve.server.run", lambda app, bound: made.append(app))
    monkeypatch.setattr("rlprompt.cli.app.err.width", 200)
    monkeypatch.setattr(
        sys, "argv", ["rlprompt", "serve", str(runs / "plain"), "--host", host, "--port", "0"]
    )
    monkeypatch.setattr(sys, "path", [*sys.path])
    with contextlib.suppress(SystemExit):
        main()
    told = capsys.readouterr().err
    assert len(made) == 1
    assert ("no authentication" in told) == (host == "0.0.0.0")
