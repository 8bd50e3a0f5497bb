"""Owns the measurement of the largest: one span of many megabytes, then one session of very many events, through a running service.

    python -m bench.large [--mib 60] [--events 100000] [--batch 512] [--json out.json]

Each is sent over OTLP/HTTP, waited for until pass, summary and words are done, and read back: what was sent is what is stored, how long
the background pass worked, the most memory that each process took, and what the pages and the API took of it. Memory is the peak of
resident memory since the step before (VmHWM, set back between steps); CPU is that of the pass alone.
"""

from __future__ import annotations

import argparse
import http.client
import http.cookiejar
import json
import random
import re
import secrets
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from bench.derive import drained, left
from bench.generate import BASE_NS, body
from bench.ingest import cpu, family, send
from tests.service import Service

WATCHED = ("web", "otlp-http", "derive")
SECOND = 10**9


def span(session: str, trace: bytes, number: int, name: str, **attributes: str) -> Span:
    at = BASE_NS + number * SECOND
    made = Span(trace_id=trace, span_id=number.to_bytes(8), name=name, start_time_unix_nano=at, end_time_unix_nano=at + SECOND // 2)
    for key, value in {"session_id": session, **attributes}.items():
        made.attributes.add(key=key.replace("__", ".").replace("session_id", "session.id")).value.string_value = value
    return made


def large(session: str, mib: int) -> bytes:
    """One request of one span: a tool read a file of so many MiB, of words that do not repeat much."""
    chance = random.Random(session)
    text = " ".join(chance.choices([f"{number:06x}" for number in chance.sample(range(16**6), 20_000)], k=mib * 2**20 // 7))
    return body([span(session, secrets.token_bytes(16), 1, "execute_tool read_file", gen_ai__operation__name="execute_tool",
                      gen_ai__tool__name="read_file", gen_ai__tool__call__id="c1", gen_ai__tool__call__arguments='{"path": "needle.txt"}',
                      gen_ai__tool__call__result=text)])  # fmt: skip


def many(session: str, events: int, batch: int) -> Iterator[tuple[int, bytes]]:
    """(spans, request): two spans a turn in traces of a hundred turns; each request tells what was said since the one before."""
    made: list[Span] = []
    for number in range(1, events + 1):
        trace = (number // 200 + 1).to_bytes(16)
        turn = number // 2
        call = {"type": "tool_call", "id": f"c{turn}", "name": "look_up", "arguments": {"order": f"A-{turn:06d}", "amount_usd": turn}}
        result = json.dumps({"order": f"A-{turn:06d}", "notes": f"turn {turn}: the order arrived late and the customer asks for credit"})
        if number % 2:
            asked = [{"role": "user", "parts": [{"type": "text", "content": f"Please look after order A-{turn:06d} of ours"}]}]
            answered = [{"role": "assistant", "parts": [call], "finish_reason": "tool_call"}]
            made.append(span(session, trace, number, "chat m", gen_ai__operation__name="chat", gen_ai__request__model="m",
                             gen_ai__input__messages=json.dumps(asked), gen_ai__output__messages=json.dumps(answered)))  # fmt: skip
        else:
            made.append(span(session, trace, number, "execute_tool look_up", gen_ai__operation__name="execute_tool",
                             gen_ai__tool__name="look_up", gen_ai__tool__call__id=f"c{turn - 1}",
                             gen_ai__tool__call__arguments=json.dumps({"order": f"A-{turn - 1:06d}", "amount_usd": turn - 1}),
                             gen_ai__tool__call__result=result))  # fmt: skip
        if len(made) == batch:
            yield len(made), body(made)
            made = []
    if made:
        yield len(made), body(made)


class Watch:
    """Peak memory of each role since `again`, in MiB, and CPU of the pass."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.again()

    def again(self) -> None:
        self.pids = {role: self.service.pid(role) for role in WATCHED}
        for role in WATCHED:
            for process in family(self.service.pid(role)):
                Path(f"/proc/{process.pid}/clear_refs").write_text("5")
        self.cpu = cpu(family(self.service.pid("derive")))

    def told(self) -> dict[str, Any]:
        assert self.pids == {role: self.service.pid(role) for role in WATCHED}, "a process was started anew"
        peaks = {role: max(self._peak(process) for process in family(self.service.pid(role))) for role in WATCHED}
        return {"peak_mib": peaks, "derive_cpu_seconds": round(cpu(family(self.service.pid("derive"))) - self.cpu, 1)}

    def _peak(self, process: psutil.Process) -> int:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        return int(found[1]) // 1024 if found else 0


class Pages:
    """The operator's browser, as far as it asks for pages."""

    def __init__(self, service: Service) -> None:
        self.root = f"http://127.0.0.1:{service.http}"
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        page = self.opener.open(f"{self.root}/login").read().decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token
        first = service.first_run
        given = {"csrfmiddlewaretoken": token[1], "username": first["username"], "password": first["password"]}
        request = urllib.request.Request(f"{self.root}/login", urllib.parse.urlencode(given).encode(), {"Referer": f"{self.root}/login"})
        self.opener.open(request).read()

    def get(self, path: str, key: str = "") -> dict[str, Any]:
        """Seconds, status and bytes of one page or answer."""
        request = urllib.request.Request(self.root + path, headers={"Authorization": f"Bearer {key}"} if key else {})
        began = time.perf_counter()
        try:
            with self.opener.open(request, timeout=600) as answer:
                status, content = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        return {"seconds": round(time.perf_counter() - began, 2), "status": status, "kb": len(content) // 1000, "content": content}


def derived(service: Service, watch: Watch) -> dict[str, Any]:
    began = time.perf_counter()
    with service.connect() as conn:
        conn.autocommit = True
        while left(conn)[0]:
            time.sleep(0.1)
        # What came while the session was summarised would wait for twenty times as long as that took (derive.sql.STALE).
        conn.execute("UPDATE session SET summary_seconds = 0")
        drained(conn)
        row = conn.execute("SELECT (SELECT count(*) FROM derive_failure), (SELECT count(*) FROM session WHERE error <> '')").fetchone()
    assert row == (0, 0)
    return {"derive_seconds": round(time.perf_counter() - began, 1), **watch.told()}


def read(service: Service, pages: Pages, session: str, needle: str, watch: Watch) -> dict[str, Any]:
    """What pages and API make of a session."""
    watch.again()
    key = service.first_run["read_key"]
    (found,) = service.get(f"/api/v1/sessions?session_id={session}")["results"]
    place = f"/sessions/{found['key']}"
    asked = {
        "search by session": pages.get(f"/?session_id={session}"),
        "search by words": pages.get(f"/?q={needle}"),
        "page of the decision": pages.get(place),
        "page 100 of it": pages.get(f"{place}?page=100"),
        "timeline over the API": pages.get(f"/api/v1{place}/timeline", key),
        "its events": pages.get(f"/api/v1/events?session={found['key']}&limit=100", key),
    }
    timeline = json.loads(asked["timeline over the API"]["content"])
    shown = {name: {what: value for what, value in one.items() if what != "content"} for name, one in asked.items()}
    shown["search by words"]["found"] = found["key"].encode() in asked["search by words"]["content"]
    cut = [gap["message"] for gap in timeline.get("completeness", {}).get("gaps", ()) if gap["code"] == "session_cut"]
    said = b"Not shown:" in asked["page of the decision"]["content"]
    of_reading = {"cut": cut, "cut_said_on_page": said, "steps": len(timeline.get("steps", ())), "peak_mib": watch.told()["peak_mib"]}
    return {"read": {**shown, **of_reading}}


def of_one_span(service: Service, pages: Pages, watch: Watch, mib: int) -> dict[str, Any]:
    session = secrets.token_hex(6)
    sent = large(session, mib)
    seconds = send(service, [(1, sent)], connections=1)
    told = {"mib": round(len(sent) / 2**20, 1), "send_seconds": round(seconds, 2), **derived(service, watch)}
    (found,) = service.get(f"/api/v1/sessions?session_id={session}")["results"]
    (event,) = service.get(f"/api/v1/events?session={found['key']}")["results"]
    raw = json.loads(pages.get(f"/api/v1/events/{event['id']}/raw", service.first_run["read_key"])["content"])
    request = ExportTraceServiceRequest.FromString(sent)
    values = {pair.key: pair.value.string_value for pair in request.resource_spans[0].scope_spans[0].spans[0].attributes}
    (stored,) = raw["resourceSpans"][0]["scopeSpans"][0]["spans"]
    told["verbatim"] = {pair["key"]: pair["value"]["stringValue"] for pair in stored["attributes"]} == values
    return told | read(service, pages, session, "needle.txt", watch)


def of_many(service: Service, pages: Pages, watch: Watch, events: int, batch: int) -> dict[str, Any]:
    session = secrets.token_hex(6)
    requests = list(many(session, events, batch))
    watch.again()
    seconds = send(service, requests)
    with service.connect() as conn:
        stored = conn.execute("SELECT count(*) FROM event WHERE item = 1").fetchone()
    told = {"events": sum(count for count, _ in requests), "send_seconds": round(seconds, 1), "stored_spans": stored[0] if stored else None}
    return told | derived(service, watch) | read(service, pages, session, f"A-{events // 8:06d}", watch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=60)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--json")
    given = parser.parse_args()
    service, results = Service(), dict[str, Any]()
    try:
        service.start()
        pages, watch = Pages(service), Watch(service)
        if given.mib:
            results["one span"] = of_one_span(service, pages, watch, given.mib)
        if given.events:
            results["many events"] = of_many(service, pages, watch, given.events, given.batch)
        print(json.dumps(results, indent=1))
    finally:
        service.remove()
    if given.json:
        Path(given.json).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
