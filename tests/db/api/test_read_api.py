"""Owns the checks of the read API: what is found, in which form, by whom, and what is refused."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from auditlog import governance, models
from auditlog.errors import Problem
from auditlog.item import INT, STRING, Context, Item, Rest, Span, Unreadable
from tests import corpus
from tests.db.api.conftest import World
from tests.db.api.test_access import recorded

SESSION = "sess-openinference-chat_refund"
TRACE = "3a27c8bdf49b571d7d2b1e50eea2bb86"


def spans(count: int) -> list[Item]:
    start = 1_700_000_000_000_000_000
    return [
        Span(
            Context(),
            n.to_bytes(16),
            n.to_bytes(8),
            "x",
            start + n * 10**9,
            start + n * 10**9 + 5,
            [("session.id", STRING, f"s-{n}"), ("n", INT, n)],
        )
        for n in range(1, count + 1)
    ]


def test_a_session_has_the_form_of_the_contract(refund: World) -> None:
    (found,) = refund.api.json("sessions", session_id=SESSION)["results"]
    assert found["session_id"] == SESSION and found["trace_ids"] == [TRACE]
    assert found["agent"] == {"name": "refund-agent", "version": "1.4.2"}
    assert found["user_ids"] == ["user-4711"] and found["customer_ids"] == ["ACME-2024"]
    assert found["totals"]["tool_calls"] == 2 and found["verdict"] == "complete"
    assert refund.api.json(f"sessions/{found['key']}") == found


def test_the_timeline_tells_why(refund: World) -> None:
    timeline = refund.api.json(f"sessions/{refund.key_of(SESSION)}/timeline")
    kinds = [step["kind"] for step in timeline["steps"]]
    credit = next(n for n, step in enumerate(timeline["steps"]) if step.get("tool", {}).get("name") == "issue_credit")
    assert kinds[credit - 1] == "reasoning" and "rule 3b" in timeline["steps"][credit - 1]["text"]
    assert timeline["steps"][credit]["tool"]["arguments"]["amount_usd"] == 400


def test_the_original_comes_back_as_it_was_sent(refund: World) -> None:
    page = refund.api.json("events", session=refund.key_of(SESSION))
    assert len(page["results"]) == len(corpus.items("openinference/chat_refund")) and page["next"] is None
    names = set()
    for event in page["results"]:
        answer = refund.api.get(f"events/{event['id']}/raw")
        document = json.loads(answer.content)
        names.add(document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"])
        assert answer["Content-Disposition"].startswith("attachment") and answer["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer["Content-Security-Policy"]
        assert refund.api.json(f"events/{event['id']}")["digest"] == event["digest"]
    assert names == {item.name for item in corpus.items("openinference/chat_refund") if isinstance(item, Span)}


def test_what_json_cannot_carry_comes_back_as_its_bytes(world: World) -> None:
    world.bench.send([Unreadable(1, "protobuf", b"<script>\xff\x00", "item_undecodable", "not a span")])
    world.bench.derive()
    (event,) = world.api.json("events", item="unreadable")["results"]
    answer = world.api.get(f"events/{event['id']}/raw")
    assert answer.content == b"<script>\xff\x00" and answer["Content-Type"] == "application/octet-stream"
    assert world.api.json("status")["quarantined"] == 1


def test_pages_of_a_list_neither_skip_nor_repeat(world: World) -> None:
    world.bench.send(spans(23))
    world.bench.derive()
    for path in ("sessions", "events"):
        seen: list[str] = []
        answer = world.api.json(path, limit=5)
        while True:
            assert len(answer["results"]) <= 5
            seen += [row.get("key") or row["id"] for row in answer["results"]]
            if answer["next"] is None:
                break
            answer = json.loads(world.api.client.get(answer["next"], headers=world.api.headers).content)
        assert len(seen) == len(set(seen)) == 23, path


@pytest.mark.parametrize(
    ("path", "parameters", "named"),
    [
        ("sessions", {"bogus": "1"}, "bogus"),
        ("sessions", {"from": "yesterday"}, "from"),
        ("sessions", {"trace_id": "xyz"}, "trace_id"),
        ("sessions", {"subject": "4711"}, "subject"),
        ("sessions", {"limit": "0"}, "limit"),
        ("sessions", {"limit": "1000"}, "limit"),
        ("sessions", {"cursor": "AAAA"}, "cursor"),
        ("sessions", {"agent": ["a", "b"]}, "agent"),
        ("events", {"item": "governance"}, "item"),
        ("events", {"batch": "-1"}, "batch"),
        ("status", {"x": "1"}, "x"),
        ("sessions", {"verdict": "good"}, "verdict"),
        ("sessions", {"min_cost": "NaN"}, "min_cost"),
        ("sessions", {"min_tool_calls": "1.5"}, "min_tool_calls"),
        ("sessions", {"tool_schema": "abc"}, "tool_schema"),
        ("sessions", {"agent": ""}, "agent"),
        ("actions", {"amount_min": "1e9"}, "amount_min"),
        ("actions", {"amount_max": "a lot"}, "amount_max"),
        ("actions", {"outcome": "done"}, "outcome"),
        ("actions", {"q": "words"}, "q"),
        ("actions", {"cursor": "WyIyMDI2LTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwiYSJd"}, "cursor"),
        ("events", {"cursor": "WyIyMDI2LTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwiYSJd"}, "cursor"),
    ],
)
def test_what_cannot_be_read_is_a_400_that_names_the_parameter(world: World, path: str, parameters: dict[str, str], named: str) -> None:
    answer = world.api.get(path, **parameters)
    error = json.loads(answer.content)["error"]
    assert (answer.status_code, error["code"], error["detail"]["parameter"]) == (400, "parameter_invalid", named)


def test_identifiers_with_nul_and_surrogates_are_found_and_shown(world: World) -> None:
    name = "a\0b\u202ec"
    world.bench.send([Span(Context(), b"t" * 16, b"s" * 8, "x", 10**18, 10**18, [("session.id", STRING, name)])])
    world.bench.derive()
    (found,) = world.api.json("sessions", session_id=name)["results"]
    assert found["session_id"] == name


def test_a_key_that_joined_a_session_still_leads_to_it(world: World) -> None:
    first = Span(Context(), b"t" * 16, b"1" * 8, "x", 10**18, 10**18, [])
    world.bench.send([first])
    world.bench.derive()
    (alone,) = world.api.json("sessions")["results"]
    assert alone["session_id"] == f"trace:{(b't' * 16).hex()}"
    world.bench.send([Span(Context(), b"t" * 16, b"2" * 8, "y", 10**18, 10**18, [("session.id", STRING, "named")])])
    world.bench.derive()
    assert world.api.json(f"sessions/{alone['key']}")["session_id"] == "named"
    assert world.api.json("sessions", session_id=alone["session_id"])["results"][0]["session_id"] == "named"


def test_pending_batches_are_exact(world: World) -> None:
    assert world.api.json("status")["pending_batches"] == 0
    for item in spans(3):
        world.bench.send([item])
    status = world.api.json("status")
    assert status["pending_batches"] == 3 and status["derive_lag_seconds"] > 0
    world.bench.derive()
    status = world.api.json("status")
    assert (status["pending_batches"], status["derive_lag_seconds"], status["events"]) == (0, 0.0, 3)


def test_a_batch_that_is_to_be_tried_again_is_pending(world: World) -> None:
    """What failed lies behind the watermark, and is counted all the same until it is consumed."""
    world.load("openinference/chat_refund")
    world.load("openai-agents-v2/halluc")
    ((number,),) = world.bench.owner.execute("SELECT min(batch_no) FROM batch WHERE project_id = %s", (world.project.pk,)).fetchall()
    world.bench.owner.execute(
        "WITH d AS (DELETE FROM derived WHERE batch_no = %s RETURNING edition) "
        "INSERT INTO derive_failure (edition, batch_no, project_id, attempts, error, failed_at) "
        "SELECT edition, %s, %s, 1, 'x', now() FROM d",
        (number, number, world.project.pk),
    )
    world.bench.owner.commit()
    assert world.api.json("status")["pending_batches"] == 1
    world.bench.derive()
    assert world.api.json("status")["pending_batches"] == 0


def test_a_rest_event_comes_back_byte_for_byte(world: World) -> None:
    raw = b'{"kind" : "tool_call","at":"2026-03-01T10:00:00Z", "session_id":"s"}'
    members = [("kind", b'"tool_call"'), ("at", b'"2026-03-01T10:00:00Z"'), ("session_id", b'"s"')]
    gaps = [b'{"kind" : ', b',"at":', b', "session_id":', b"}"]
    world.bench.send([Rest(gaps, members, session_id="s", time=10**18)])
    world.bench.derive()
    (event,) = world.api.json("events", session=world.key_of("s"))["results"]
    assert world.api.get(f"events/{event['id']}/raw").content == raw


# -- who may: see also test_addresses --------------------------------------------------------------------------------------------


def test_revoked_and_expired_keys_stop_at_once(world: World) -> None:
    row = models.ApiKey.objects.get(project=world.project, name="read")
    assert world.api.get("status").status_code == 200
    row.expires_at = timezone.now() - timedelta(seconds=1)
    row.save()
    assert json.loads(world.api.get("status").content)["error"]["code"] == "key_expired"
    row.revoked_at = timezone.now() + timedelta(days=1)  # by somebody whose clock is ahead of ours
    row.save()
    assert json.loads(world.api.get("status").content)["error"]["code"] == "key_revoked"


def test_the_last_use_of_a_key_is_kept(world: World) -> None:
    world.api.json("status")
    assert models.ApiKey.objects.get(project=world.project, name="read").last_used_at is not None
    assert models.ApiKey.objects.get(project=world.other).last_used_at is None


def test_that_a_key_reads_is_recorded_once_a_day(world: World) -> None:
    key = models.ApiKey.objects.get(project=world.project, name="read")
    for last in (None, timezone.now() - timedelta(minutes=2), timezone.now() - timedelta(days=1)):  # the same day, however it is known
        models.ApiKey.objects.filter(pk=key.pk).update(last_used_at=last)
        world.api.json("status")
    uses = [event for event in recorded(world, "key.use") if event["actor"]["id"] == key.public_id]
    assert [event["about"] for event in uses] == [{"day": timezone.now().date().isoformat()}]


def test_a_path_that_is_not_there_is_json_and_never_a_redirect(world: World) -> None:
    for path in ("nope", "sessions/", "events/x/raw/", "sessions/abc"):
        answer = world.api.get(path)
        assert answer.status_code == 404 and json.loads(answer.content)["error"]["code"] == "not_found", path


def test_a_list_of_sessions_asks_the_database_a_fixed_number_of_times(world: World, django_assert_max_num_queries: object) -> None:
    world.bench.send(spans(30))
    world.bench.derive()
    world.api.json("status")
    with django_assert_max_num_queries(9):  # type: ignore[operator]
        assert len(world.api.json("sessions", limit=30)["results"]) == 30


def test_where_the_use_of_a_key_cannot_be_recorded_what_needs_no_record_is_answered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise Problem("store_unavailable", "no space left")

    monkeypatch.setattr(governance._recorder._writer, "write", away)
    key = models.ApiKey.objects.get(project=world.project, name="read")
    assert world.api.get("status").status_code == 200 and world.api.get("sessions").status_code == 503
    key.refresh_from_db()
    assert key.last_used_at is None, "the next use tries again"
