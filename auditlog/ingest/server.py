"""Owns how an HTTP port is served: Granian with RSGI, its worker processes, what ends with what, and what stopping means.

One body never holds a thread while it arrives; docs/adr/004-http-front.md says why RSGI and what it costs.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

import uvloop
from granian import Granian, loops
from granian.constants import HTTPModes, Interfaces

from auditlog.platform import logs, process, telemetry

STOP_WITHIN: Final = 12  # seconds after SIGTERM; in-flight requests are answered long before
_GRACE: Final = 1.0  # seconds that a body still has to arrive after SIGTERM

_arriving: Final[set[asyncio.Timeout]] = set()  # one for each body that is on its way in this process


@contextlib.asynccontextmanager
async def arriving(seconds: float) -> Any:
    """Around the reading of a body: TimeoutError after `seconds`, or soon after SIGTERM, so that stalled clients cannot hold up the end."""
    async with asyncio.timeout(seconds) as timeout:
        _arriving.add(timeout)
        try:
            yield
        finally:
            _arriving.discard(timeout)


class _Loop(uvloop.Loop):
    """uvloop that also tells the bodies which are on their way when the process is asked to end."""

    def add_signal_handler(self, sig: int, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        super().add_signal_handler(sig, self._stop, callback, *args)

    def _stop(self, callback: Callable[..., Any], *args: Any) -> None:
        soon = self.time() + _GRACE
        for timeout in _arriving:
            when = timeout.when()
            if when is None or when > soon:
                timeout.reschedule(soon)
        callback(*args)


def _build_loop() -> asyncio.AbstractEventLoop:
    loop = _Loop()
    asyncio.set_event_loop(loop)
    return loop


def tune() -> None:
    """A request makes ten thousands of objects and drops them at once: looking for cycles among them every 700 is a waste."""
    gc.set_threshold(50_000, 20, 50)


def refuse_taken_port(host: str, port: int) -> None:
    """Granian binds with SO_REUSEPORT: a second one would start without a word and take half of the traffic. So we ask first."""
    family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, number) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of a predecessor in TIME_WAIT do not count
        try:
            probe.bind(address)
        except OSError as error:
            sys.exit(f"{host}:{port} cannot be used: {error.strerror}. Another process has it; end that one, or set another address.")


def serve(role: str, build: Callable[[], Any], address: tuple[str, int], workers: int) -> None:
    """Serves until SIGTERM or SIGINT. role: its name in metrics; `build` makes the RSGI application, in each worker process."""
    logs.configure()
    telemetry.check()
    host, port = address
    refuse_taken_port(host, port)
    main = os.getpid()

    def load(*_: object) -> Callable[..., Any]:
        process.die_with_parent(main)  # nothing goes on serving after kill -9 of the main process
        os.environ.pop(process.READY_FD, None)
        tune()
        logs.configure()
        telemetry.start(role)
        return build()  # type: ignore[no-any-return]

    loops.register("auditlog")(_build_loop)
    server = Granian(
        "auditlog",
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        workers=workers,
        loop="auditlog",  # type: ignore[arg-type]  # the registry takes any name; the enum has only its own
        http=HTTPModes.http1,  # a body that was cut off can be told only over HTTP/1 (see otlp_http); OTLP over HTTP/2 is gRPC's
        websockets=False,
        backlog=1024,
        respawn_failed_workers=True,
        respawn_interval=0.1,
        workers_kill_timeout=STOP_WITHIN,
        log_enabled=False,
    )
    server.on_startup(process.ready)
    server.serve(target_loader=load, wrap_loader=False)
