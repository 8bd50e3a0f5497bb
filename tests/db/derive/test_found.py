"""Owns the checks of what sessions and actions are found by: values, amounts, terms, versions and words; and that no order changes it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditlog.derive import read, rebuild, text, timeline
from auditlog.derive.index import prompt_version
from auditlog.derive.keys import session_key, term_digest, value_digests
from auditlog.item import STRING, Attribute, Context, Item, Span
from auditlog.search import wording
from tests.db.derive.test_pass import TRACE, span
from tests.db.derived import NOW, Bench
from tests.service import ROOT

pytestmark = pytest.mark.django_db
PROMPT = "You handle refunds."


def call(number: int, name: str, arguments: Any, result: Any, trace: bytes = TRACE) -> Span:
    return span(
        number,
        trace,
        gen_ai__operation__name="execute_tool",
        gen_ai__tool__name=name,
        gen_ai__tool__call__id=f"call_{number:012d}",
        gen_ai__tool__call__arguments=json.dumps(arguments),
        gen_ai__tool__call__result=json.dumps(result),
    )


def chat(number: int, asked: str, answered: str, trace: bytes = TRACE, prompt: str = PROMPT, **said: str) -> Span:
    made = span(
        number,
        trace,
        gen_ai__operation__name="chat",
        gen_ai__request__model="m-asked",
        gen_ai__response__model="m-served",
        gen_ai__response__id=f"resp_{number}",
        gen_ai__system_instructions=json.dumps([{"type": "text", "content": prompt}]),
        gen_ai__input__messages=json.dumps([{"role": "user", "parts": [{"type": "text", "content": asked}]}]),
        gen_ai__output__messages=json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": answered}]}]),
        **said,
    )
    return made


def refund(trace: bytes = TRACE, session: str = "s") -> list[Item]:
    return [
        chat(1, "Please refund Zoë’s order", "I have credited it", trace, session__id=session, gen_ai__agent__name="refunds"),
        call(2, "issue_credit", {"amount": 400.0, "currency": "EUR", "order": "A-1"}, {"credit_id": "cr_55d0", "ok": True}, trace),
    ]


def sessions_with(bench: Bench, kind: str, value: str) -> int:
    digest = term_digest(bench.project.project_id, kind, value)
    return len(bench.owner.execute("SELECT FROM session_term WHERE digest = %s", (digest,)).fetchall())


def having(bench: Bench, value: str) -> list[tuple[Any, ...]]:
    digests = value_digests(bench.project.project_id, value)
    return bench.owner.execute("SELECT step, side, pointer FROM action_value WHERE digest = ANY(%s) ORDER BY 2", (digests,)).fetchall()


def matching(bench: Bench, query: str) -> int:
    asked = wording.read(query)
    assert asked is not None
    found = "SELECT count(DISTINCT session_key) FROM search_text WHERE tsv @@ %s::tsquery"
    return int(bench.owner.execute(found, (asked.query,)).fetchall()[0][0])


def test_a_call_is_found_by_any_scalar_and_by_its_amount(bench: Bench) -> None:
    bench.send(refund())
    bench.derive()
    ((step, tool, outcome, amount, currency, made),) = bench.rows("SELECT step, tool, outcome, amount, currency, object FROM action")
    assert (tool, outcome, amount, currency, made) == ("issue_credit", "returned", 400, "EUR", "cr_55d0")
    assert having(bench, "cr_55d0") == [(step, "result", "/credit_id")]
    assert having(bench, "400") == having(bench, "4e2") == having(bench, "400.00") == [(step, "arguments", "/amount")]
    assert having(bench, "CR_55D0") == having(bench, "cr_55d") == having(bench, "401") == []
    assert bench.rows("SELECT amount, currency, side, pointer FROM action_amount") == [(400, "EUR", "arguments", "/amount")]


def test_what_a_call_says_is_dated_with_its_session_even_where_that_began_earlier_than_was_known(bench: Bench) -> None:
    bench.send(refund())
    bench.derive()
    began = "SELECT DISTINCT s.sort_at = t.began_at FROM session s JOIN {} t ON t.session_key = s.key"
    tables = ("action", "action_value", "action_amount")
    assert [bench.rows(began.format(table)) for table in tables] == [[(True,)]] * 3
    before = bench.rows("SELECT began_at FROM action")
    bench.send([span(-500, gen_ai__agent__name="refunds")])
    bench.derive()
    assert bench.rows("SELECT began_at FROM action") < before
    assert [bench.rows(began.format(table)) for table in tables] == [[(True,)]] * 3


@pytest.mark.parametrize(
    ("kind", "hit"),
    [
        *(("agent", "refunds"), ("tool", "issue_credit"), ("model", "m-asked"), ("response_model", "m-served"), ("response_id", "resp_1")),
        *(("system_prompt", prompt_version(PROMPT)), ("call_id", "call_000000000002")),
    ],
)
def test_a_session_is_found_by_what_its_timeline_shows(bench: Bench, kind: str, hit: str) -> None:
    bench.send(refund())
    bench.derive()
    assert sessions_with(bench, kind, hit) == 1
    assert sessions_with(bench, kind, hit + "x") == 0


def test_a_version_was_used_from_its_first_to_its_last_session_also_when_one_leaves(bench: Bench) -> None:
    other = bytes(15) + b"\2"
    bench.send([chat(1, "a", "b", session__id="s"), chat(9, "c", "d", other, gen_ai__conversation__id="t")])
    bench.derive()
    spread = "SELECT version, extract(epoch FROM last_seen - first_seen)::int FROM version WHERE kind = 'system_prompt'"
    assert bench.rows(spread) == [(prompt_version(PROMPT), 8)]
    bench.send([span(10, other, session__id="s")])
    bench.derive()
    assert bench.rows(spread) == [(prompt_version(PROMPT), 0)]
    assert bench.rows("SELECT DISTINCT session_key FROM search_text") == [(session_key(bench.project.project_id, b"s"),)]


def test_words_are_found_without_case_and_accents_but_not_those_of_the_prompt(bench: Bench) -> None:
    bench.send(refund())
    bench.derive()
    assert matching(bench, "zoe REFUND") == matching(bench, "ZOË") == matching(bench, '"cr_55d0"') == matching(bench, "A-1") == 1
    assert matching(bench, "handle") == matching(bench, "nothing") == 0


def test_words_follow_the_switch_of_their_project(bench: Bench) -> None:
    number = bench.project.project_id
    bench.owner.execute(
        "INSERT INTO project (id, name, slug, secret_wrapped, class_no, period, created_at, text_index) "
        "VALUES (%s, 'x', %s, '', 1, 'month', now(), false)",
        (number, f"p-{number}"),
    )
    bench.send(refund())
    bench.derive()
    assert bench.rows("SELECT count(*) FROM search_text") == [(0,)]
    bench.owner.execute("UPDATE project SET text_index = true WHERE id = %s", (number,))
    assert text.index_again(bench.conn, 1, number) == 1
    bench.texts = text.Texts()  # as after a restart: read again from evidence
    bench.derive()
    assert matching(bench, "refund") == 1
    bench.owner.execute("DELETE FROM project WHERE id = %s", (number,))


def test_a_session_of_any_size_is_split_below_the_limit_of_the_index(bench: Bench) -> None:
    chance = random.Random(1)
    hosts = " ".join(f"{chance.randrange(16**3):x}.{chance.randrange(16**3):x}/{chance.randrange(16**2):x}" for _ in range(60_000))
    bench.send([chat(1, "needle " + hosts + " haystack " + "x" * 300_000, "y", session__id="s")])
    bench.derive()
    assert bench.rows("SELECT count(*) > 5, max(n) + 1 = count(*) FROM search_text") == [(True, True)]
    assert matching(bench, "needle") == matching(bench, "haystack") == 1


def test_a_huge_session_is_cut_and_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "MOST_EVENTS", 5)
    monkeypatch.setattr(timeline, "_AHEAD", 5)
    bench.send([call(n, "t", {"x": n}, n) for n in range(1, 9)])
    bench.derive()
    assert bench.rows("SELECT count(*) FROM action") == [(5,)]
    assert bench.rows("SELECT cut <> '', error, verdict FROM session") == [(True, "", "gaps")]


def test_sessions_that_are_too_much_to_read_together_are_read_in_smaller_groups(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.send([call(n, "t", {"x": n}, n, trace=bytes([n % 3 + 1]) * 16) for n in range(1, 10)])
    bench.derive()
    keys = [row[0] for row in bench.rows("SELECT key FROM session ORDER BY key")]
    found = read.facts_of_sessions(bench.owner.cursor(), 1, bench.project.project_id, [*keys, "of nobody"])
    assert sorted(found) == keys
    assert [found[key] for key in keys] == [read.session_facts(bench.owner.cursor(), 1, bench.project.project_id, key) for key in keys]
    loads: list[int] = []
    load = bench.reader.load

    def noted(rows: Any, *given: Any, **more: Any) -> Any:
        loads.append(len(rows))
        return load(rows, *given, **more)

    monkeypatch.setattr(bench.reader, "load", noted)
    for ahead, expected in ((10, [9]), (7, [3, 6]), (4, [3, 3, 3]), (3, [])):
        loads.clear()
        monkeypatch.setattr(timeline, "_AHEAD", ahead)
        timelines = timeline.Timelines(bench.reader)
        timelines.ahead(list(found.values()))
        assert (loads, [timelines.is_read(facts) for facts in found.values()]) == (expected, [bool(expected)] * 3)
        assert [len(timelines(facts)["steps"]) for facts in found.values()] == [3, 3, 3]


def test_an_event_received_in_two_buckets_is_counted_and_shown_once(bench: Bench) -> None:
    for together in (False, True):
        bench.wipe()
        later = NOW + timedelta(days=40)
        start = datetime(later.year, later.month, 1, tzinfo=UTC)
        end = (start + timedelta(days=32)).replace(day=1)
        bench.owner.execute("SELECT ensure_bucket(1, %s, %s)", (start, end))
        bench.send(refund())
        if not together:
            bench.derive()
        bench.send(refund(), received_at=later)
        bench.derive()
        assert bench.rows("SELECT count(*) FROM event") == [(4,)]
        assert bench.rows("SELECT events, batches FROM tally") == [(2, 2)]
        assert bench.rows("SELECT count(*) FROM action") == [(1,)]
        assert bench.rows("SELECT cardinality(buckets) FROM trace") == [(2,)]


def test_cycles_of_parents_and_clocks_a_year_off_end_in_a_summary(bench: Bench) -> None:
    first, second = call(1, "t", {}, 1), call(2, "t", {}, 2)
    first.parent_span_id, second.parent_span_id = second.span_id, first.span_id
    second.start -= 366 * 86400 * 10**9
    third = span(3, session__id="s\0" + "x" * 13_000)
    third.start = third.end = 2**64 - 1
    bench.send([first, second, third])
    bench.derive()
    assert bench.rows("SELECT error, traces, tool_calls FROM session") == [("", 1, 2)]


def test_both_of_two_contradicting_sessions_are_kept(bench: Bench) -> None:
    bench.send([span(1, session__id="a"), span(2, session__id="b")])
    bench.derive()
    assert bench.rows("SELECT session_id FROM session") == [(b"a",)]
    assert bench.rows("SELECT value FROM declared WHERE kind = 'session' ORDER BY 1") == [(b"a",), (b"b",)]


def test_killed_at_any_moment_a_new_process_ends_with_the_same_rows(bench: Bench) -> None:
    items = world()
    for start in range(0, len(items), 2):
        bench.send(items[start : start + 2])
    bench.derive()
    whole = bench.state()
    for table in rebuild.TABLES:
        bench.owner.execute(f"TRUNCATE {table}")
    bench.owner.execute("UPDATE edition SET watermark = 0, system_id = 0")
    bench.conn.close()
    command = [sys.executable, "-m", "tests.db.derive.worker", str(bench.project.project_id), bench.project.secret.hex()]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for moment in (9, 24, 33, 46):
        with subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(moment):
                process.stdout.readline()  # one statement each
            process.send_signal(signal.SIGKILL)
    bench.owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'auditlog derive%'")
    bench.derive()
    assert bench.state() == whole


def names(said: str) -> Attribute:
    return ("session.id", STRING, said)


def world() -> list[Item]:
    """Two traces of one session and one that is by itself, of each kind of item that binding and words depend on."""
    other, alone = bytes(15) + b"\2", bytes(15) + b"\3"
    late = Span(Context(), other, b"\0" * 7 + b"\x63", "root", 1_700_000_000_000_000_000, 1_700_000_009_000_000_000, [names("s")])
    return [
        *refund(),
        chat(4, "And Bob?", "He, too", other, prompt="You are another.", customer__id="ACME-2024"),
        call(5, "issue_credit", {"amount": "£12.50"}, {"credit_id": "cr_2"}, other),
        late,
        chat(6, "Alone", "Indeed", alone),
    ]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_permutation_repetition_and_cutting_derives_the_same_rows(bench: Bench, data: st.DataObject) -> None:
    items = world()
    bench.wipe()
    bench.send(items)
    bench.derive()
    whole = bench.state()
    assert len(whole["session"]) == 2 and len(whole["action"]) == 2 and len(whole["search_text"]) == 2
    bench.wipe()
    order = data.draw(st.permutations(items + data.draw(st.lists(st.sampled_from(items), max_size=3))))
    while order:
        cut = data.draw(st.integers(1, len(order)))
        bench.send(list({item.span_id: item for item in order[:cut] if isinstance(item, Span)}.values()))  # twice in one request is two
        order = order[cut:]
        if data.draw(st.booleans()):
            bench.derive()
    bench.derive()
    found = bench.state()
    for table, rows in whole.items():
        assert found[table] == rows, table
    assert set(whole) >= set(rebuild.TABLES) - {"derived", "part_leaves", "derive_failure", "quarantined"}  # by batch, or by cause
