"""The service as a process: its socket, its end."""

import ipaddress
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from rlprompt.core.errors import ConfigError

#: Connections at a time, and with them bodies in memory; beyond, the answer is 503.
MAX_CONNECTIONS = 512
#: Seconds that requests get to end when the service stops.
GRACE = 120


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def names_of(host: str) -> tuple[str, ...]:
    """Returns the names that clients may call a service by that listens at ``host``."""
    return ("127.0.0.1", "localhost", "[::1]", host) if is_loopback(host) else ("*",)


def listen(host: str, port: int) -> socket.socket:
    """Binds a socket.

    Raises:
        ConfigError: the port is in use or not allowed, or there is no such address here.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"There is no address {host!r} here: {error.strerror}.") from error
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        # At once, so that another service cannot bind the port while the LM is loaded.
        bound.listen(socket.SOMAXCONN)
    except OSError as error:
        bound.close()
        raise ConfigError(
            f"Cannot listen at {host}:{port}: {error.strerror}. Give another --port (0 for any "
            "that is free) or --host."
        ) from error
    return bound


def run(app: FastAPI, bound: socket.socket) -> None:
    """Answers requests until SIGTERM or SIGINT; then finishes what is queued and returns."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=GRACE,
    )
    with _signals_are_no_end():
        uvicorn.Server(config).run(sockets=[bound])


@contextmanager
def _signals_are_no_end() -> Iterator[None]:
    """Uvicorn raises the signal that stopped it once more, for whoever ran it: here it is done."""
    asked = (signal.SIGTERM, signal.SIGINT)
    before = {each: signal.signal(each, lambda *_: None) for each in asked}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
