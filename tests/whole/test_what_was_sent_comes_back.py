"""Owns the checks, on the running service, that whatever was sent comes back equal: the captured corpus, and random requests."""

import contextlib
import gzip
import http.client
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from auditlog import secrets as master
from auditlog.errors import Problem
from auditlog.ingest.decode import decode
from auditlog.item import LOG, SPAN, Item, Unreadable
from auditlog.proof import canonical, merkle
from auditlog.retention.erasure import erase_field
from auditlog.store import unpack
from auditlog.store.reader import Reader
from auditlog.verify.batches import check_batch
from tests import strategies
from tests.service import Service

CASES = sorted((Path(__file__).parents[1] / "fixtures" / "otlp").rglob("case.json"))
SIGNALS = {"/v1/traces": SPAN, "/v1/logs": LOG}


def corpus() -> list[tuple[str, str, bytes]]:
    """(path, content type, body as sent, gzipped) of every captured request."""
    found = []
    for case in CASES:
        for body in json.loads(case.read_text())["bodies"]:
            found.append((body["path"], body["content_type"], (case.parent / body["file"]).read_bytes()))
    return found


def post(service: Service, path: str, content_type: str, body: bytes, **headers: str) -> tuple[int, str, bytes]:
    """(status, receipt, body of the answer)."""
    connection = http.client.HTTPConnection("127.0.0.1", service.otlp, timeout=30)
    headers |= {"Content-Type": content_type, "Authorization": f"Bearer {service.first_run['ingest_key']}"}
    with contextlib.closing(connection):
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers.get("x-auditlog-receipt", ""), answer.read()


def parts(receipt: str) -> tuple[str, str, int]:
    """(batch, root, count) of a receipt as the header carries it."""
    named = dict(part.split("=") for part in receipt.split(";"))
    return named["batch"], named["root"], int(named["count"])


def raw(service: Service, event: str) -> bytes:
    request = urllib.request.Request(
        f"http://127.0.0.1:{service.http}/api/v1/events/{event}/raw", headers={"Authorization": f"Bearer {service.first_run['read_key']}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()  # type: ignore[no-any-return]


def listed(service: Service, batch: str) -> list[dict[str, Any]]:
    """All events of a batch through the read API, page by page."""
    path: str | None = f"/api/v1/events?batch={batch}"
    events: list[dict[str, Any]] = []
    while path:
        page = service.get(path)
        events += page["results"]
        path = page["next"] and page["next"].replace(f"http://127.0.0.1:{service.http}", "")
    return events


def evidence(service: Service) -> dict[str, int]:
    """Rows of every evidence table."""
    with service.connect() as conn:
        tables = ("event", "content", "bucket", "batch", "part")
        return {table: int(conn.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]) for table in tables}


def project_of(service: Service) -> tuple[int, bytes]:
    with service.connect() as conn:
        row = conn.execute("SELECT id, secret_wrapped FROM project").fetchone()
    assert row
    return row[0], master.unwrap(bytes(row[1]), (service.data / "master.key").read_bytes())


def comparable(item: Item) -> Any:
    """The position in the request is not part of what was sent. As text, because NaN is not equal to itself."""
    return item.raw if isinstance(item, Unreadable) else repr(item)


def test_every_captured_body_is_accepted_and_every_item_comes_back_equal(whole: Service) -> None:
    bodies = corpus()
    assert len(bodies) == 364
    sent = 0
    for path, content_type, body in bodies:
        status, receipt, answer = post(whole, path, content_type, body, **{"Content-Encoding": "gzip"})
        assert status == 200
        assert answer in (b"", b"{}")  # nothing was rejected, nothing to remark
        encoding = "json" if "json" in content_type else "protobuf"
        items = decode(gzip.decompress(body), SIGNALS[path], encoding)
        batch, root, count = parts(receipt)
        assert count == len(items)
        events = listed(whole, batch)
        back = [one for event in events for one in decode(raw(whole, event["id"]), SIGNALS[path], "json")]
        assert len(back) == len(items)
        assert all(item in back for item in items)
        assert merkle.batch_root(bytes.fromhex(event["digest"]) for event in events).hex() == root
        sent += len(items)
    assert sent == 2113
    before = evidence(whole)
    for path, content_type, body in bodies:
        assert post(whole, path, content_type, body, **{"Content-Encoding": "gzip"})[0] == 200
    after = evidence(whole)
    assert {name: after[name] - before[name] for name in after} == {"event": 0, "content": 0, "bucket": 0, "batch": 364, "part": 364}


@pytest.mark.conformance(94)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(message=strategies.trace_requests() | strategies.log_requests(), spoil=st.booleans(), lot=st.integers(0, 2**16))
def test_a_random_request_is_stored_and_rebuilt_and_its_roots_recompute(whole: Service, message: Any, spoil: bool, lot: int) -> None:
    # Drawn before anything is sent, lot too: what was sent by an example before is stored already, and must not change what is drawn.
    signal = SPAN if isinstance(message, ExportTraceServiceRequest) else LOG
    body = message.SerializeToString()
    if spoil:  # one text that is no UTF-8: its item is kept as bytes, its neighbours as items
        body = body.replace(b"session.id", b"session\xff\xfe\xfd")
    path = "/v1/traces" if signal == SPAN else "/v1/logs"
    status, receipt, _ = post(whole, path, "application/x-protobuf", body)
    try:
        items = decode(body, signal, "protobuf")
    except Problem:  # what was spoilt is not in an item, and there is none that could be kept
        assert (status, strategies.singles(message, signal)) == (400, [])
        return
    assert status == 200
    if not items:
        assert receipt == ""
        return
    batch, root, count = parts(receipt)
    assert count == len(items)
    project, secret = project_of(whole)
    with whole.connect() as conn:
        assert check_batch(conn, int(batch), lambda _: secret) == []
        found = Reader(conn, lambda _: secret).events_of_batches([int(batch)])
        stored = [comparable(event.item) for event in found]
        assert all(one in [comparable(item) for item in items] for one in stored)
        if len(found) == len(items):  # else some were sent by an example before and belong to its batch
            assert sorted(map(repr, stored)) == sorted(repr(comparable(item)) for item in items)
            assert merkle.batch_root(event.digest for event in found).hex() == root
        erase_a_field_and_look_again(conn, project, secret, int(batch), found, lot)
        conn.rollback()


def erase_a_field_and_look_again(conn: Any, project: int, secret: bytes, batch: int, found: list[Any], lot: int) -> None:
    """Everything else still verifies, and no event's digest has changed."""
    if not found:
        return
    event = found[lot % len(found)]
    row = conn.execute(
        "SELECT skeleton, vals FROM event WHERE trace_key = %s AND event_id = %s", (event.trace_key, event.event_id)
    ).fetchone()
    committed = list(unpack.parse(bytes(row[0]), bytes(row[1])).commitments)
    if not committed:
        return
    field = committed[lot // len(found) % len(committed)]
    erase_field(conn, project, secret, event.id, field)
    assert check_batch(conn, batch, lambda _: secret) == []
    row = conn.execute(
        "SELECT skeleton, vals FROM event WHERE trace_key = %s AND event_id = %s", (event.trace_key, event.event_id)
    ).fetchone()
    verdicts = unpack.check(unpack.parse(bytes(row[0]), bytes(row[1])))
    assert verdicts.pop(field) == "withheld"
    assert set(verdicts.values()) <= {"intact"}
    assert canonical.digest(bytes(row[0])) == event.digest


@pytest.mark.parametrize("text", ['"\\ud800"', '"a\\udfffb"'])
def test_half_a_surrogate_pair_in_json_is_kept_as_it_was_sent(whole: Service, text: str) -> None:
    good = '{"traceId":"%032x","spanId":"%016x","name":"good","startTimeUnixNano":"1","endTimeUnixNano":"2"}' % (7, len(text))
    bad = '{"traceId":"%032x","spanId":"%016x","name":%s}' % (8, 8, text)
    body = '{"resourceSpans":[{"scopeSpans":[{"spans":[%s, %s]}]}]}' % (good, bad)
    status, receipt, answer = post(whole, "/v1/traces", "application/json", body.encode())
    assert status == 200
    assert json.loads(answer)["partialSuccess"]["rejectedSpans"] in (1, "1")
    events = {event["item"]: event["id"] for event in listed(whole, parts(receipt)[0])}
    assert raw(whole, events["unreadable"]) == bad.encode()
    assert decode(raw(whole, events["span"]), SPAN, "json")[0].name == "good"  # type: ignore[union-attr]
