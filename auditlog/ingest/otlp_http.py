"""Owns ingest over HTTP as an RSGI application: head, body, a thread for the work, answer. `python -m auditlog.ingest.otlp_http`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from auditlog import conf, tracing
from auditlog.errors import Problem
from auditlog.ingest import outcome, receive, server, work
from auditlog.ingest.auth import LOOK_UP_WITHIN, Caller, Keys, away
from auditlog.ingest.compression import too_large
from auditlog.ingest.gate import Gate, Place
from auditlog.ingest.quota import Quotas

_HELD_BODIES: Final = 4  # bodies of the largest size that a process holds at once, in bytes; more are answered 503
_REQUESTS: Final = 256  # of known keys that a process works on at once; more are answered 503
_DRAIN: Final = 4  # a refused body is read up to this many times the limit, so that the sender sees the answer instead of EPIPE


class Ingest:
    """The RSGI application of the ingest paths. One per process."""

    def __init__(self, keys: Keys | None = None, headers: Sequence[tuple[str, str]] = ()) -> None:
        self._keys = keys or Keys()
        self._headers = headers  # of every answer, beside its own
        self._limit = int(conf.get("AUDITLOG_MAX_BODY"))
        self._body_timeout = float(conf.get("AUDITLOG_BODY_TIMEOUT"))
        self._gate = Gate(_REQUESTS, self._limit * _HELD_BODIES)
        self._quotas = Quotas()
        self._work = work.Work()

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        await self.answer(scope, protocol)

    async def answer(self, scope: Any, protocol: Any) -> None:
        route = receive.route_of(scope.path)
        with tracing.request(f"POST {route}", scope.headers.get) as told:
            told.attributes["http.route"] = route
            result = await self._answer(scope, protocol)
            told.answered(result.status, result.code)

    async def _answer(self, scope: Any, protocol: Any) -> outcome.Answer:
        content_type = scope.headers.get("content-type")
        media = receive.answer_media(scope.path, content_type)
        body = _Body(self, scope.headers.get("content-length"), protocol)
        try:
            result = await self._result(scope, body)
        except Exception as error:  # noqa: BLE001, the last line of defence, as in receive: 503 and not 500
            problem = receive.as_problem(error)
            result = receive.refuse(problem, media, rest_form=scope.path.startswith(receive.REST_PATH))
            await body.drain()
        # A body that is not whole is the end of its connection: told so, the server closes it instead of waiting for the rest.
        headers = [*result.headers, *self._headers] if body.whole else [*result.headers, *self._headers, ("connection", "close")]
        protocol.response_bytes(result.status, headers, result.body)
        return result

    async def _result(self, scope: Any, body: _Body) -> outcome.Answer:
        head = receive.admit(scope.method, scope.path, scope.headers.get)
        caller = await self._caller(head.key)
        self._quotas.check(caller.key_id)
        place = self._gate.enter(caller.project.project_id)
        try:
            content = await body.read(place)
            now = datetime.now(UTC)
            future = self._work.submit(lambda writer: receive.receive(writer, caller, head, content, self._limit, now, self._quotas), place)
        except BaseException:  # cancelled as well: whoever is inside must leave
            place.leave()
            raise
        try:
            # Cancelled at the time-out while it waits for a thread, it is never begun; begun, it may still commit: a resend is a duplicate.
            return await asyncio.wait_for(asyncio.wrap_future(future), work.ANSWER_WITHIN)
        except TimeoutError:
            raise work.too_slow() from None

    async def _caller(self, key: str) -> Caller:
        caller = self._keys.remembered(key, "ingest")
        if caller is not None:
            return caller
        found = asyncio.shield(asyncio.wrap_future(self._keys.look_up(key)))  # shielded: others may wait for the same
        try:
            return self._keys.judge(await asyncio.wait_for(found, LOOK_UP_WITHIN), key, "ingest")
        except TimeoutError:
            raise away() from None


class _Body:
    """The body of one request: read with a time-out and a cap, whole or not at all."""

    def __init__(self, owner: Ingest, length: str | None, protocol: Any) -> None:
        self._owner = owner
        self._length = int(length) if length is not None and length.isascii() and length.isdigit() else None
        self._chunks = aiter(protocol)  # once: Granian gives the body only once, and `async for` would ask again
        self._seen = 0
        self._ended = False
        self.whole = False

    async def read(self, place: Place) -> bytes:
        """The body. Raises Problem: too large, too slow, shorter than announced, or no room for it."""
        limit = self._owner._limit
        if self._length is not None and self._length > limit:
            raise too_large(limit)
        place.hold(self._length or 0)
        parts: list[bytes] = []
        empty = 0
        try:
            async with server.arriving(self._owner._body_timeout):
                while (chunk := await self._next()) is not None:
                    size = len(chunk)
                    if not size:
                        empty += 1
                        continue
                    self._seen += size
                    if self._seen > limit:
                        raise too_large(limit)
                    if self._seen > (self._length or 0):
                        place.hold(self._seen)
                    parts.append(chunk)
        except TimeoutError:
            self._ended = True  # nothing more comes, there is nothing to drain
            raise Problem("overloaded", "The body did not arrive in time; send the batch again.") from None
        self._ended = True
        # Granian reports a body that broke off like one that ended, but for one more empty chunk (HTTP/1; a contract test watches it).
        if empty > 1 or (self._length is not None and self._seen != self._length):
            raise Problem("body_truncated", f"The body ended after {self._seen} bytes, before it was complete. Send it again whole.")
        self.whole = True
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _next(self) -> bytes | None:
        try:
            # Not anext(self._chunks, None): with the awaitables of Granian 2.8 that form crashes CPython 3.11 (segmentation fault).
            return await self._chunks.__anext__()  # type: ignore[no-any-return]
        except StopAsyncIteration:
            return None

    async def drain(self) -> None:
        """Reads on after a refusal, up to a bound: a sender whose writing fails never reads the answer, and would repeat for ever."""
        if self._ended:
            return
        most = self._owner._limit * _DRAIN
        try:
            async with server.arriving(self._owner._body_timeout):
                while (chunk := await self._next()) is not None:
                    self._seen += len(chunk)
                    if self._seen > most:
                        return
        except TimeoutError:
            return


def main() -> None:
    server.serve("otlp-http", Ingest, conf.get("AUDITLOG_OTLP_HTTP"), conf.get("AUDITLOG_WORKERS"))


if __name__ == "__main__":
    main()
