"""Bodies that are too large or too slow are refused before they are read."""

import asyncio

from fastapi import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Seconds that a client may pause within a body.
PATIENCE = 30.0


class BodyGuard:
    """ASGI middleware: 413 for more than ``max_body`` bytes, 408 for a body that does not come."""

    def __init__(self, app: ASGIApp, max_body: int) -> None:
        """Keeps what it is given.

        Args:
            app: what gets the requests.
            max_body: bytes of a body, at most.
        """
        self._app = app
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = f"The body is too large: send at most {self._max_body} bytes."
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._max_body:
            await JSONResponse({"detail": refusal}, 413)(scope, receive, send)
            return
        size, reading = 0, True

        async def guarded() -> Message:
            nonlocal size, reading
            if not reading:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), PATIENCE)
            except TimeoutError as error:
                raise HTTPException(408, "The body did not come in time.") from error
            size += len(message.get("body", b""))
            reading = message.get("more_body", False)
            if size > self._max_body:
                raise HTTPException(413, refusal)
            return message

        await self._app(scope, guarded, send)
