"""What the service answers to good and bad requests."""

import asyncio
import json
import re

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx2")

from fastapi.testclient import TestClient

from rlprompt.run.multi_task import Learned
from rlprompt.serve.app import make_app
from rlprompt.serve.limits import Limits
from rlprompt.tasks.template import Template

WORDS = {"bad": ["bad"], "good": ["good"]}
TASKS = {
    "films": Learned(Template("{text}{prompt}"), ("bad", "good"), WORDS, text=" overall"),
    "pairs": Learned(Template("{one} {two}{prompt}"), ("bad", "good"), WORDS, text=" so"),
}
LIMITS = Limits(max_wait_ms=0, max_texts=3, max_length=50, max_body=500, max_queue=3)


@pytest.fixture
def client(predict):
    app = make_app(predict, TASKS, lm="tiny", limits=LIMITS, hosts=("testserver",))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def detail(response, status=422):
    assert response.status_code == status, response.text
    assert [*response.json()] == ["detail"]
    return response.json()["detail"]


def test_labels_come_in_the_order_of_the_texts(client):
    answer = client.post("/classify", json={"task": "films", "texts": ["one", "two", "three"]})
    assert answer.status_code == 200
    found = answer.json()
    assert found["task"] == "films"
    assert [each["label"] for each in found["predictions"]] == [
        "films:one",
        "films:two",
        "films:three",
    ]
    for each in found["predictions"]:
        assert sum(each["probabilities"].values()) == pytest.approx(1)


def test_several_fields(client):
    texts = [{"one": "x", "two": "y"}]
    answer = client.post("/classify", json={"task": "pairs", "texts": texts})
    assert answer.json()["predictions"][0]["label"] == "pairs:{'one': 'x', 'two': 'y'}"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"task": "film", "texts": ["x"]},
            "no task 'film'. Did you mean 'films'? There are: films",
        ),
        ({"task": "films", "texts": []}, "texts is empty: give 1 to 3 texts."),
        ({"task": "films", "texts": ["x"] * 4}, "There are 4 texts: give at most 3 in a request."),
        (
            {"task": "films", "texts": ["x", "y" * 51]},
            "texts[1]: The text has 51 characters: give ",
        ),
        ({"task": "films", "texts": ["x", " "]}, "texts[1]: The text is empty"),
        ({"task": "pairs", "texts": ["x"]}, "texts[0]: The template has the fields one, two"),
        ({"task": "pairs", "texts": [{"one": "x"}]}, "texts[0]: "),
        ({"task": "films"}, "body.texts: Field required. Send JSON like"),
        ({"task": "films", "texts": "x"}, "body.texts: Input should be a valid list. Send JSON"),
        ({"task": "films", "texts": [3]}, "body.texts.0"),
        ({"task": "films", "texts": ["x"], "text": "x"}, "body.text: Extra inputs are not"),
    ],
)
def test_refused_with_what_is_allowed(client, predict, body, message):
    assert message in detail(client.post("/classify", json=body))
    assert predict.batches == []


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"no json", 422),
        (b"", 422),
        (b"[" * 400, None),
        (b'{"task": "films", "texts": ["\\ud800"]}', 422),
        (b'{"task": "films", "texts": [' + b"9" * 450 + b"]}", 422),
        (b'{"task": "films", "texts": ["\xff"]}', None),
    ],
)
def test_a_broken_body_is_the_clients_mistake(client, content, status):
    headers = {"Content-Type": "application/json"}
    answer = client.post("/classify", content=content, headers=headers)
    assert detail(answer, status or answer.status_code)
    assert answer.status_code in (400, 422)


def test_a_body_that_is_too_large(client, predict):
    text = json.dumps({"task": "films", "texts": ["x" * 500]})
    headers = {"Content-Type": "application/json"}
    announced = client.post("/classify", content=text, headers=headers)
    assert detail(announced, 413) == "The body is too large: send at most 500 bytes."
    assert predict.batches == []


def test_a_body_without_end_is_refused_before_it_is_read_whole(predict):
    app = make_app(predict, TASKS, lm="tiny", limits=LIMITS)
    taken, sent = [], []

    async def receive():
        taken.append(1)
        assert len(taken) < 100
        return {"type": "http.request", "body": b"x" * 100, "more_body": True}

    async def send(message):
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"host", b"testserver")]
    scope = {"type": "http", "method": "POST", "path": "/classify", "headers": headers}
    scope |= {"query_string": b"", "http_version": "1.1", "scheme": "http", "root_path": ""}
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 413
    assert json.loads(sent[1]["body"])["detail"] == "The body is too large: send at most 500 bytes."
    assert len(taken) == 6


def test_a_full_queue(client, predict):
    # Nothing waits, and a request of as many texts as the queue holds is taken.
    texts = ["1", "2", "3"]
    assert client.post("/classify", json={"task": "films", "texts": texts}).status_code == 200
    from rlprompt.serve.batcher import Batcher, Busy

    async def busy(self, task, texts):
        raise Busy("The queue is full.", 7)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Batcher, "classify", busy)
        answer = client.post("/classify", json={"task": "films", "texts": texts})
    assert detail(answer, 503) == "The queue is full."
    assert answer.headers["Retry-After"] == "7"


def test_a_text_that_the_lm_fails_on(client):
    answer = client.post("/classify", json={"task": "films", "texts": ["poison"]})
    assert detail(answer, 500) == "A text could not be labelled: see the service's log."
    after = client.post("/classify", json={"task": "films", "texts": ["fine"]})
    assert after.status_code == 200


def test_tasks_and_health(client):
    tasks = client.get("/tasks").json()
    assert [task["name"] for task in tasks] == ["films", "pairs"]
    assert tasks[1] == {
        "name": "pairs",
        "labels": ["bad", "good"],
        "fields": ["one", "two"],
        "template": "{one} {two}{prompt}",
        "prompt": " so",
    }
    assert client.get("/healthz").json() == {"status": "ok", "lm": "tiny", "tasks": 2, "queued": 0}


def test_the_description_and_a_page_that_loads_nothing(client):
    api = client.get("/openapi.json").json()
    assert set(api["paths"]) == {"/classify", "/tasks", "/healthz"}
    told = api["paths"]["/classify"]["post"]["responses"]
    assert set(told) == {"200", "413", "422", "500", "503"}
    assert told["422"]["content"]["application/json"]["schema"]["$ref"].endswith("/Problem")
    page = client.get("/docs")
    assert client.get("/").text == page.text
    for path in api["paths"]:
        assert path in page.text
    assert "<script" not in page.text
    assert not re.search(r"(src=|@import|url\()", page.text)
    assert re.findall(r'href="([^"]*)"', page.text) == ["/openapi.json"]
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_a_page_that_calls_itself_otherwise_may_not_ask(client):
    assert client.get("/tasks", headers={"Host": "evil.example"}).status_code == 400
