"""Owns the checks of the decision page beyond one screen: long sessions, Why, versions of instructions, and requests to send again."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
from django.test import Client

from auditlog.derive import timeline as derived
from auditlog.ingest import rest
from auditlog.search import explain
from auditlog.web import present
from auditlog.web.models import Pin
from tests.db.api.conftest import REFUND, World, person
from tests.db.api.talks import talk
from tests.db.api.test_access import recorded


def said(page: Any) -> str:
    assert page.status_code == 200, page.content[:300]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.content.decode())).split())


def numbers(page: Any) -> list[int]:
    return [int(n) for n in re.findall(r'id="step-(\d+)"', page.content.decode())]


def test_a_long_session_is_read_page_by_page_without_being_put_together(
    world: World, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.bench.send(talk("long", 220, "Hello."))
    world.bench.derive()
    key = world.key_of("long")
    whole = world.api.json(f"sessions/{key}/timeline")
    monkeypatch.setattr(explain, "build", None)
    kept = world.api.json(f"sessions/{key}/timeline")
    assert kept == whole and len(whole["steps"]) == 440
    assert [numbers(operator.get(f"/sessions/{key}?page={n}")) for n in (1, 2, 3)] == [
        list(range(1, 201)), list(range(201, 401)), list(range(401, 441)),
    ]  # fmt: skip
    assert numbers(operator.get(f"/sessions/{key}?page=99")) == list(range(401, 441))


def test_what_was_kept_is_what_is_put_together_from_the_evidence(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.bench.send(talk("long", 120, "Hello \0 \x1b[2J <b>."))
    world.bench.derive()
    key = world.key_of("long")
    kept = world.api.json(f"sessions/{key}/timeline")
    world.bench.owner.execute("UPDATE session SET parts = 0")
    assert world.api.json(f"sessions/{key}/timeline") == kept


def test_a_session_that_grew_is_shown_whole_and_a_very_long_one_says_up_to_when(
    world: World, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = talk("long", 120, "Hello.")
    world.bench.send(items[:-2])
    world.bench.derive()
    world.bench.send(items[-2:])
    world.bench.new_pass().drain()  # bound, not yet summarised
    key = world.key_of("long")
    assert max(numbers(operator.get(f"/sessions/{key}?page=2"))) == 240
    assert len(world.api.json(f"sessions/{key}/timeline")["steps"]) == 240
    monkeypatch.setattr(explain, "_ANEW", 2)
    page = operator.get(f"/sessions/{key}?page=2")
    assert max(numbers(page)) < 240 and "Records came after" in said(page)
    world.bench.derive()
    assert "Records came after" not in said(operator.get(f"/sessions/{key}?page=2"))


def test_a_session_that_became_short_or_was_taken_in_leaves_no_pages_behind(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.bench.send(talk("long", 120, "Hello."))
    world.bench.derive()
    assert world.bench.rows("SELECT count(*) FROM timeline_part") == [(3,)]
    assert world.bench.rows("SELECT parts FROM session WHERE parts > 0") == [(3,)]
    monkeypatch.setattr(derived, "MOST_EVENTS", 20)
    monkeypatch.setattr(derived, "_AHEAD", 20)
    world.bench.owner.execute("UPDATE session SET stale_since = now()")
    world.bench.derive()
    assert world.bench.rows("SELECT count(*) FROM timeline_part") == [(0,)]


def test_the_next_steps_come_as_rows_alone_and_a_link_leads_to_the_page_of_its_step(world: World, operator: Client) -> None:
    world.bench.send(talk("long", 120, "Hello."))
    world.bench.derive()
    key = world.key_of("long")
    rest = operator.get(f"/sessions/{key}?page=2", headers={"HX-Request": "true"})
    assert numbers(rest) == list(range(201, 241)) and "<html" not in rest.content.decode()
    assert f'href="/sessions/{key}?page=2#step-201"' in rest.content.decode()
    first = operator.get(f"/sessions/{key}").content.decode()
    assert 'href="#step-7"' in first and 'hx-get="?page=2"' in first and 'hx-get="?page=3"' not in rest.content.decode()


def test_why_names_the_reasoning_the_place_of_each_value_and_the_missing_approval(world: World, operator: Client) -> None:
    world.load(REFUND)
    key = world.only_key()
    steps = world.api.json(f"sessions/{key}/timeline")["steps"]
    credit = next(s for s in steps if s["kind"] == "tool_call" and s["tool"]["name"] == "issue_credit")
    page = operator.get(f"/sessions/{key}/why/{credit['n'] + 1}")
    text = said(page)
    reasoning = next(s for s in reversed(steps[: credit["n"]]) if s["kind"] == "reasoning")
    assert " ".join(reasoning["text"].split())[:200] in text
    assert "no approval was recorded before this step" in text and "appears nowhere before this call" in text
    assert re.search(r"<mark>\s*400", page.content.decode())
    assert "<mark>" in page.content.decode().split("Instruction in force")[1]
    part = operator.get(f"/sessions/{key}/why/{credit['n'] + 1}", headers={"HX-Request": "true"})
    assert "<html" not in part.content.decode() and "issue_credit" not in said(part)[:40]


def test_why_shows_a_long_reasoning_in_part_and_says_so(world: World, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    world.load(REFUND)
    key = world.only_key()
    steps = world.api.json(f"sessions/{key}/timeline")["steps"]
    credit = next(s for s in steps if s["kind"] == "tool_call" and s["tool"]["name"] == "issue_credit")
    text = next(s for s in reversed(steps[: credit["n"]]) if s["kind"] == "reasoning")["text"]
    monkeypatch.setattr(present, "SHOWN", 20)
    page = operator.get(f"/sessions/{key}/why/{credit['n'] + 1}").content.decode().split('<blockquote class="reasoning">')[1]
    shown = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.split("</blockquote>")[0])).split())
    assert f"Shown are the first 20 of {len(text):,} characters" in shown
    assert " ".join(text[:20].split()) in shown and " ".join(text[20:60].split()) not in shown


def test_why_is_for_those_who_read_content_and_of_steps_that_there_are(world: World, operator: Client) -> None:
    world.load(REFUND)
    key = world.only_key()
    assert operator.get(f"/sessions/{key}/why/999").status_code == 404
    assert operator.get(f"/sessions/{key}/why/0").status_code == 404
    viewer = person(world.project, "viewer", "viewer")
    for path in ("why/1", "instructions", "calls/1/request"):
        assert viewer.get(f"/sessions/{key}/{path}").status_code == 403
    stranger = person(world.other, "stranger", "investigator")
    for path in ("why/1", "instructions", "calls/1/request"):
        assert stranger.get(f"/sessions/{key}/{path}").status_code == 404


def test_a_model_call_comes_as_a_request_that_can_be_sent_again(world: World, operator: Client) -> None:
    world.load(REFUND)
    key = world.only_key()
    made = world.api.json(f"sessions/{key}/timeline")
    answer = operator.get(f"/sessions/{key}/calls/2/request")
    assert answer["Content-Disposition"].startswith("attachment")
    found = json.loads(answer.content)
    body = found["body"]
    assert found["endpoint"] == "/v1/chat/completions" and "need not repeat" in found["note"]
    assert body["messages"][0] == {"role": "system", "content": made["system_prompts"][0]["text"]}
    assert [tool["function"]["name"] for tool in body["tools"]] == [tool["name"] for tool in made["tools_offered"]]
    calls = [call for message in body["messages"] for call in message.get("tool_calls", ())]
    results = [message["tool_call_id"] for message in body["messages"] if message["role"] == "tool"]
    assert calls and [call["id"] for call in calls] == results
    assert operator.get(f"/sessions/{key}/calls/99/request").status_code == 404
    assert operator.get(f"/sessions/{key}/calls/0/request").status_code == 404


def test_why_names_an_approval_that_came_before_and_not_one_that_came_after(world: World, operator: Client) -> None:
    common = {"session_id": "a", "agent": {"name": "refunds"}}
    events = [
        {"kind": "approval", "at": f"2026-03-01T10:0{n}:00Z", "approval": {"decision": "approved", "by": by, "reason": "checked"}} | common
        for n, by in ((0, "m.keller"), (4, "p.late"))
    ]
    tool = {"call_id": "c1", "name": "issue_credit", "arguments": {"amount_usd": 400}, "result": "ok"}
    events.append({"kind": "tool_call", "at": "2026-03-01T10:02:00Z", "tool": tool} | common)
    world.bench.send(rest.read(json.dumps({"events": events}).encode(), "application/json").items)
    world.bench.derive()
    page = said(operator.get(f"/sessions/{world.only_key()}/why/2"))
    assert "by m.keller" in page and "p.late" not in page and "no approval was recorded" not in page


def version_of(text: str, session: str, at: int) -> dict[str, Any]:
    return {"kind": "model_call", "at": f"2026-03-0{at}T10:00:00Z", "session_id": session, "agent": {"name": "refunds"}, "model": "m",
            "system": text, "input": [{"role": "user", "content": "hi"}], "output": [{"role": "assistant", "content": "ho"}]}  # fmt: skip


def test_versions_of_an_instruction_are_listed_with_when_they_were_used_and_compared(world: World, operator: Client) -> None:
    events = [version_of("Refund at most 100 dollars.", "a", 1), version_of("Refund at most 400 dollars.", "b", 2)]
    events.append(version_of("Refund at most 400 dollars. Ask first.", "b", 3))
    events.append(version_of("Sell as much as you can.", "c", 2) | {"agent": {"name": "sales"}})
    world.bench.send(rest.read(json.dumps({"events": events}).encode(), "application/json").items)
    world.bench.derive()
    key = world.key_of("b")
    page = operator.get(f"/sessions/{key}/instructions")
    text, source = said(page), page.content.decode()
    assert "Version 2 in force from step" in text and "Version 3 in force from step" in text and "Version 1" not in text
    assert "Sell as much" not in text and source.count("first session") == 3
    assert re.search(r"<ins>[^<]*Ask first\.</ins>", source)
    (version,) = re.findall(r"\?with=([0-9a-f]{64})", source)
    compared = operator.get(f"/sessions/{key}/instructions?with={version}").content.decode()
    assert "<del>100</del>" in compared and "<ins>400</ins>" in compared
    assert operator.get(f"/sessions/{key}/instructions?with={'0' * 64}").status_code == 404
    assert "first used" in said(operator.get(f"/sessions/{key}"))


def test_instructions_of_an_agent_whose_name_no_column_can_hold_are_shown(world: World, operator: Client) -> None:
    events = [version_of("Refund.", "a", 1) | {"agent": {"name": "re\0funds"}}]
    world.bench.send(rest.read(json.dumps({"events": events}).encode(), "application/json").items)
    world.bench.derive()
    assert "Version 1" in said(operator.get(f"/sessions/{world.only_key()}/instructions"))


def pinning(world: World, client: Client, number: int) -> tuple[str, dict[str, str]]:
    """Where the second passage of the instruction can be pinned to that step, and with what."""
    address = f"/sessions/{world.only_key()}/why/{number}"
    source = client.get(address).content.decode()
    (version,) = re.findall(r'name="prompt" value="([0-9a-f]{64})"', source)
    return address, {"prompt": version, "passage": re.findall(r'name="passage" value="(\d+)"', source)[1]}


def test_an_investigator_pins_a_passage_with_name_and_time_and_it_is_kept_without_its_words(world: World) -> None:
    world.load(REFUND)
    ines = person(world.project, "ines", "investigator")
    address, chosen = pinning(world, ines, 6)
    assert ines.post(f"{address}/pin", chosen).status_code == 302
    assert ines.post(f"{address}/pin", chosen).status_code == 302  # twice is once
    page = ines.get(address)
    assert page.content.decode().count("pinned by") == 1 and "ines" in said(page)
    assert "pinned by" not in said(ines.get(f"/sessions/{world.only_key()}/why/3"))  # it belongs to the step
    (pin,) = Pin.objects.all()
    text = world.api.json(f"sessions/{world.only_key()}/timeline")["system_prompts"][0]["text"]
    assert " ".join(text[pin.start : pin.end].split()) in said(page) and pin.end > pin.start > 0
    actions = [about["action"] for about in recorded(world)]
    assert actions.count("passage.pin") == 2
    assert ines.post(f"{address}/pins/{pin.pk}/remove").status_code == 302
    assert "pinned by" not in said(ines.get(address)) and not Pin.objects.exists()


def test_pinning_needs_the_role_a_post_and_a_passage_that_there_is(world: World, operator: Client) -> None:
    world.load(REFUND)
    ines = person(world.project, "ines", "investigator")
    address, chosen = pinning(world, ines, 6)
    examiner = person(world.project, "ed", "examiner")
    assert 'name="passage"' not in examiner.get(address).content.decode()
    stranger = person(world.other, "olga", "investigator")
    for who, status in ((examiner, 403), (person(world.project, "vi", "viewer"), 403), (stranger, 404)):
        assert who.post(f"{address}/pin", chosen).status_code == status
    assert ines.get(f"{address}/pin").status_code == 405
    for wrong in ({"passage": "1"}, {"prompt": "0" * 64}, {"passage": "x"}):
        assert ines.post(f"{address}/pin", chosen | wrong).status_code == 400
    assert not Pin.objects.exists()
    ines.post(f"{address}/pin", chosen)
    pin = Pin.objects.get()
    assert stranger.post(f"{address}/pins/{pin.pk}/remove").status_code == 404
    assert examiner.post(f"{address}/pins/{pin.pk}/remove").status_code == 403
    assert Pin.objects.exists()
