"""Owns the checks of `/find`: links by identifiers of the sender's lead to the session, to the very step, or to a page that says no."""

from __future__ import annotations

import pytest
from django.test import Client

from auditlog.item import STRING, Context, Span
from tests.db.api.conftest import World
from tests.db.api.test_filters import SESSION, TRACE, calls


@pytest.mark.parametrize(
    ("parameter", "value", "step"),
    [
        ("session_id", SESSION, ""),
        ("trace_id", TRACE, ""),
        ("trace_id", TRACE.upper(), ""),
        ("response_id", "chatcmpl-Nwrefund01", "#step-5"),
        ("value", "cr_55120", "#step-6"),
    ],
)
def test_an_identifier_leads_to_the_page(refund: World, operator: Client, parameter: str, value: str, step: str) -> None:
    answer = operator.get("/find", {parameter: value})
    assert (answer.status_code, answer["Location"]) == (302, f"/sessions/{refund.key_of(SESSION)}{step}")
    assert operator.get(answer["Location"].partition("#")[0]).status_code == 200


def test_a_trace_of_many_leads_to_its_first_step(world: World, operator: Client) -> None:
    said = [("session.id", STRING, "two"), ("gen_ai.operation.name", STRING, "execute_tool"), ("gen_ai.tool.name", STRING, "pay")]
    world.bench.send([Span(Context(), trace * 16, b"s" * 8, "pay", 10**18 + trace[0], 10**18 + 200, said) for trace in (b"1", b"2")])
    world.bench.derive()
    answer = operator.get("/find", {"trace_id": (b"2" * 16).hex()})
    assert answer["Location"] == f"/sessions/{world.key_of('two')}#step-2"


def test_several_lead_to_the_search_with_the_filter(refund: World, operator: Client) -> None:
    answer = operator.get("/find", {"value": "ACME-2024"})
    assert (answer.status_code, answer["Location"]) == (302, "/?value=ACME-2024")
    page = operator.get(answer["Location"]).content.decode()
    assert "a call says <b>" in page and f"/sessions/{refund.key_of(SESSION)}" in page


def test_a_step_on_a_later_page_is_linked_there(world: World, operator: Client) -> None:
    world.bench.send(calls(250))
    world.bench.derive()
    (last,) = world.api.json("actions", limit=1)["results"]  # all at one instant, so the highest step comes first
    assert last["step"] == 249 and last["page"].endswith(f"?page=2#step-{last['step'] + 1}")
    page = operator.get(last["page"].removeprefix("http://testserver").partition("#")[0]).content.decode()
    assert f'id="step-{last["step"] + 1}"' in page


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("session_id=nobody", 404, "Nothing in this project has this session ID"),
        ("trace_id=" + "0" * 31 + "1", 404, "Nothing in this project has this trace ID"),
        ("response_id=nope", 404, "Nothing in this project has this response ID"),
        ("value=nope", 404, "Nothing in this project has this value"),
        ("trace_id=zz", 400, "is no trace ID"),
        ("", 400, "Say what to find"),
        ("value=a&session_id=b", 400, "Say what to find"),
        ("value=a&value=b", 400, "is given twice"),
        ("call=x", 400, "There is no parameter"),
    ],
)
def test_what_leads_nowhere_says_so(refund: World, operator: Client, query: str, status: int, says: str) -> None:
    answer = operator.get(f"/find?{query}")
    assert answer.status_code == status and says in answer.content.decode()


def test_a_link_leads_a_stranger_to_the_login_and_back(refund: World) -> None:
    answer = Client().get("/find?value=cr_55120")
    assert (answer.status_code, answer["Location"]) == (302, "/login?next=/find%3Fvalue%3Dcr_55120")


@pytest.mark.parametrize(
    "text", ["ACME-2024", "user-4711", SESSION, TRACE, "chatcmpl-Nwrefund01", "cr_55120", "Duplicate charge", "rule 3b holds"]
)
def test_the_box_of_the_search_page_finds_it(refund: World, operator: Client, text: str) -> None:
    page = operator.get("/", {"q": text}).content.decode()
    assert f'href="/sessions/{refund.key_of(SESSION)}"' in page


def test_a_filter_of_amounts_in_the_address_reads_as_a_sentence(refund: World, operator: Client) -> None:
    page = operator.get("/?amount_min=400&tool=issue_credit&verdict=complete").content.decode()
    assert "amount ≥ <b>" in page and "called <b>" in page and "trail is <b>" in page and refund.key_of(SESSION) in page
    assert "No session matches" in operator.get("/?amount_min=401").content.decode()
    assert operator.get("/?amount_min=lots").status_code == 400
