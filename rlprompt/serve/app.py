"""The service's endpoints."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from rlprompt.core.errors import RLPromptError
from rlprompt.core.version import __version__
from rlprompt.run.multi_task import Learned
from rlprompt.serve.batcher import Batcher, Busy, Predict
from rlprompt.serve.guard import BodyGuard
from rlprompt.serve.limits import Limits
from rlprompt.serve.page import HEADERS, page
from rlprompt.serve.schema import Answer, Health, Label, Problem, Question, TaskInfo
from rlprompt.serve.texts import check

T = TypeVar("T")

#: Status of a request whose client went away; nobody reads it.
CLIENT_GONE = 499
SHAPE = 'Send JSON like {"task": "NAME", "texts": ["...", "..."]}, as application/json.'
PROBLEMS: dict[int | str, dict[str, Any]] = {
    413: {"model": Problem, "description": "The body is too large."},
    422: {"model": Problem, "description": "The request is refused; says what is allowed."},
    500: {"model": Problem, "description": "A text could not be labelled; the log says why."},
    503: {"model": Problem, "description": "The queue is full; come again after Retry-After."},
}


def make_app(
    predict: Predict,
    tasks: Mapping[str, Learned],
    *,
    lm: str,
    limits: Limits | None = None,
    hosts: Sequence[str] = ("*",),
) -> FastAPI:
    """Makes the service.

    Args:
        predict: labels texts of any of the tasks, as ``MultiTaskPredictor.predict``.
        tasks: what was learned, by the name of the task.
        lm: name of the LM, for ``/healthz``.
        limits: how much a client may ask; None for the defaults.
        hosts: names that clients may call the service by, which keeps web pages that have their
            own name point here from asking it; ``*`` for any.
    """
    limits = limits or Limits()
    batcher = Batcher(predict, limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        await batcher.stop()

    app = FastAPI(
        title="rlprompt",
        version=__version__,
        description="Learned prompts at work: texts in, labels and calibrated probabilities out.",
        lifespan=lifespan,
        # FastAPI's own pages load their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(BodyGuard, max_body=limits.max_body)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    _handle_errors(app)

    @app.post("/classify", responses=PROBLEMS)
    async def classify(asked: Question, request: Request) -> Answer:
        """Label texts of a task: labels and calibrated probabilities, in the order of the texts."""
        check(asked.task, asked.texts, tasks, limits)
        found = await _unless_gone(request, batcher.classify(asked.task, asked.texts))
        labels = [Label(label=each.label, probabilities=each.probabilities) for each in found]
        return Answer(task=asked.task, predictions=labels)

    @app.get("/tasks")
    async def list_tasks() -> list[TaskInfo]:
        """List the tasks that texts can be labelled for."""
        return [
            TaskInfo(
                name=name,
                labels=list(task.labels),
                fields=list(task.template.fields),
                template=task.template.source,
                prompt=task.text,
            )
            for name, task in tasks.items()
        ]

    @app.get("/healthz")
    async def healthz() -> Health:
        """Say that the service answers, and how many texts wait."""
        return Health(status="ok", lm=lm, tasks=len(tasks), queued=batcher.queued)

    @app.get("/", include_in_schema=False)
    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        address = str(request.base_url).rstrip("/")
        return HTMLResponse(page(app.openapi(), next(iter(tasks)), address), headers=HEADERS)

    return app


async def _unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Awaits work, and drops it when the client goes away."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise HTTPException(CLIENT_GONE, "The client went away.")
        return working.result()
    finally:
        working.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _handle_errors(app: FastAPI) -> None:
    """Answers every error with a sentence under ``detail``."""

    @app.exception_handler(RequestValidationError)
    async def unread(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        # Without the input, which may be long, or no text at all.
        place = ".".join(str(part)[:80] for part in first["loc"])
        return JSONResponse({"detail": f"{place}: {first['msg']}. {SHAPE}"}, 422)

    @app.exception_handler(RLPromptError)
    async def refused(_: Request, error: RLPromptError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    @app.exception_handler(Busy)
    async def busy(_: Request, error: Busy) -> JSONResponse:
        headers = {"Retry-After": str(error.retry_after)}
        return JSONResponse({"detail": str(error)}, 503, headers)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        # Starlette hands the error on to the server, which logs it.
        return JSONResponse({"detail": "A text could not be labelled: see the service's log."}, 500)
