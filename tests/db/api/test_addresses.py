"""Owns the checks that hold on every address there is: a walk through the URLconf, in which a new address fails until it has a class."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from auditlog import models
from auditlog.api.views import ReadView
from auditlog.governance import Actor
from auditlog.retention import erasures, holds, reclassify
from auditlog.retention.erasures import Asked
from auditlog.search import agents, evidence, locate, quarantine, sessions
from auditlog.secrets import unwrap
from auditlog.store.writer import Project
from tests import corpus
from tests.db.api import test_filters as filters
from tests.db.api.conftest import PASSWORD, REFUND, Api, World
from tests.db.derived import NOW, Bench

SESSION = "sess-openinference-chat_refund"

# What an address is. API: one project's evidence, for a key. COMMON: says the same to every key. PAGE: one project's evidence, for a
# person. OPEN: for anybody, and says nothing of any project. SERVICE: of all projects together (tests/platform/test_own_telemetry). OWN: a
# person's account, keys, members and saved searches, holds and records (test_access, test_settings, test_saved, test_access_log). LOG: the
# sealed log as files, for keys and members, and where the operator says so for everybody (test_log).
# EXPORT: one project's, for a key with that scope (tests/db/disclosure).
# ADMIN: one project's, for a key with that scope (tests/db/api/test_erasures).
API, COMMON, PAGE, OPEN, OWN, SERVICE, LOG = "api", "common", "page", "open", "own", "service", "log"
EXPORT, ADMIN = "export", "admin"
CLASSES = {
    "healthz": OPEN,
    "readyz": OPEN,
    "metrics": SERVICE,
    **dict.fromkeys(("log-checkpoint", "log-tile"), LOG),
    "login": OPEN,
    "logout": OPEN,
    "api-sessions": API,
    "api-session": API,
    "api-timeline": API,
    "api-actions": API,
    "api-events": API,
    "api-event": API,
    "api-event-raw": API,
    "api-agents": API,
    "api-event-proof": API,
    "api-checkpoints": COMMON,
    "api-access-log": API,
    "api-holds": API,
    "api-hold": API,
    "api-retention-classes": COMMON,
    "api-retention-preview": API,
    **dict.fromkeys(("api-retention-rules", "api-clock-events", "api-reclassifications", "api-reclassification"), API),
    **dict.fromkeys(("api-erasures", "api-erasure", "api-erasure-preview"), ADMIN),
    **dict.fromkeys(("api-exports", "api-export", "api-export-releases", "api-export-download"), EXPORT),
    "api-status": API,
    "api-schema": COMMON,
    "api-docs": COMMON,
    "search": PAGE,
    "results-csv": PAGE,
    "results-json": PAGE,
    **dict.fromkeys(("searches", "saved", "saved-remove"), OWN),
    "find": PAGE,
    "session": PAGE,
    "why": PAGE,
    "instructions": PAGE,
    "request": PAGE,
    **dict.fromkeys(("pin", "unpin"), OWN),
    "event": PAGE,
    "agents": PAGE,
    "log": PAGE,
    "quarantine": PAGE,
    "dossier": PAGE,
    "dossier-pdf": PAGE,
    **dict.fromkeys(("retention", "retention-preview", "rules", "rule-remove", "clocks", "hold-release"), OWN),
    **dict.fromkeys(("longer", "longer-end"), OWN),
    **dict.fromkeys(("erasures", "erasure", "erasure-decide"), OWN),
    **dict.fromkeys(("access", "access-csv", "access-json"), OWN),
    **dict.fromkeys(("exports", "export-turn", "export-release", "export-download"), OWN),
    **dict.fromkeys(("purpose", "ask", "settings", "password", "keys", "key", "key-rotate", "key-revoke"), OWN),
    **dict.fromkeys(("members", "member", "member-remove", "member-link", "welcome"), OWN),
}
NO_SUCH_PATH = "api/v1/^.*$"


def patterns(resolver: Any = None, before: str = "") -> Iterator[tuple[str, URLPattern]]:
    for one in (resolver or get_resolver()).url_patterns:
        if isinstance(one, URLResolver):
            yield from patterns(one, before + str(one.pattern))
        else:
            yield before + str(one.pattern), one


def test_every_address_has_a_class() -> None:
    named = {route: pattern.name for route, pattern in patterns() if route != NO_SUCH_PATH}
    assert {route: name for route, name in named.items() if name not in CLASSES} == {}, "say in CLASSES what this address is"
    assert set(named.values()) == set(CLASSES)
    for route, pattern in patterns():
        if CLASSES.get(pattern.name or "") in (API, COMMON, EXPORT, ADMIN):
            assert issubclass(getattr(pattern.callback, "cls", object), ReadView), f"{route} does not start from the caller's project"


def some_hold(project_id: int) -> int:
    conn = evidence.raw_connection()
    return holds.place(conn, Actor("person", "1", "ana"), project_id, "Case 7", "Subpoena", {"session_id": SESSION}).id


def some_reclassification(project_id: int) -> int:
    conn = evidence.raw_connection()
    return reclassify.make(conn, Actor("person", "1", "ana"), project_id, 1, "Contract", {"session_id": SESSION}).id


def some_erasure(project_id: int) -> int:
    asked = Asked({"session_id": SESSION}, "Letter 12", "GDPR, Art. 17", "letter 12", NOW, NOW + timedelta(30))
    return erasures.request(evidence.raw_connection(), Actor("person", "1", "ana"), project_id, asked).id


def addresses(world: World, *kinds: str) -> list[str]:
    """Every address of these kinds, with objects of the project that has some."""
    key = world.key_of(SESSION)
    event = world.api.json("events", session=key)["results"][0]["id"]
    hold, erasure = str(some_hold(world.project.pk)), str(some_erasure(world.project.pk))
    longer = str(some_reclassification(world.project.pk))
    world.bench.derive()  # a preview asks what has been seen of both
    found = []
    for route, pattern in patterns():
        if CLASSES.get(pattern.name or "") in kinds:
            address = "/" + route.replace("<str:key>", key).replace("<str:public_id>", event).replace("<int:number>", "1")
            address = address.replace("<str:hold>", hold).replace("<str:class_no>", "1").replace("<str:erasure>", erasure)
            address = address.replace("<str:reclassification>", longer)
            assert "<" not in address, f"say what stands for the names in {route}"
            found.append(address + "?session_id=" + SESSION if pattern.name == "find" else address)
    assert found
    return found


def get(address: str, key: str | None) -> Any:
    return Client().get(address, headers={} if key is None else {"Authorization": f"Bearer {key}"})


def nothing(answer: Any) -> bool:
    """Not found, or an empty list, or a status without anything in it."""
    body = json.loads(answer.content)
    if answer.status_code == 404:
        return bool(body["error"]["code"] == "not_found")
    return answer.status_code == 200 and body.get("results", []) == [] and body.get("next") is None and body.get("events", 0) == 0


def test_a_key_of_another_project_gets_nothing_on_any_address(refund: World) -> None:
    for address in addresses(refund, API):
        assert get(address, refund.read_key).status_code == 200, address
        assert nothing(get(address, refund.other_key)), address


def test_a_key_of_another_project_gets_nothing_by_any_filter(refund: World) -> None:
    other = Api(refund.other_key)
    everything = refund.api.json("events")["results"]
    real = {"KEY": refund.key_of(SESSION), "BATCH": everything[0]["batch"]}
    for path, rows in (("sessions", filters.SESSIONS), ("actions", filters.ACTIONS), ("events", filters.EVENTS)):
        for given, hits in rows:
            asked = {name: real.get(value, value) for name, value in given.items()}
            if hits:
                assert refund.api.json(path, **asked)["results"], (path, asked)
                assert nothing(other.get(path, **asked)), (path, asked)


def test_a_key_that_may_only_send_reads_nothing_anywhere(refund: World) -> None:
    for address in addresses(refund, API, COMMON):
        answer = get(address, refund.ingest_key)
        assert (answer.status_code, json.loads(answer.content)["error"]["code"]) == (403, "scope_missing"), address


def test_without_a_key_or_with_a_wrong_one_nothing_is_answered(refund: World) -> None:
    wrong = refund.read_key[:-1] + ("a" if refund.read_key[-1] != "a" else "b")
    for address in addresses(refund, API, COMMON):
        for key, code in ((None, "key_missing"), (wrong, "key_unknown"), ("nonsense", "key_unknown")):
            answer = get(address, key)
            if key is None and address == "/api/v1/docs":
                assert answer["Location"] == "/login?next=/api/v1/docs"  # a person's page
                continue
            assert (answer.status_code, json.loads(answer.content)["error"]["code"]) == (401, code), address
            assert answer["WWW-Authenticate"].startswith("Bearer")


def test_pages_are_for_people_of_the_project_only(refund: World, operator: Client) -> None:
    User.objects.create_user("stranger", password=PASSWORD)
    stranger = Client()
    assert stranger.login(username="stranger", password=PASSWORD)
    for address in addresses(refund, PAGE):
        assert operator.get(address).status_code in (200, 302), address
        assert stranger.get(address).status_code == 403, address
        answer = get(address, refund.read_key)  # a key opens no page
        assert answer.status_code == 302 and answer["Location"].startswith("/login?next="), address


def test_a_person_sees_nothing_of_another_project(refund: World, operator: Client) -> None:
    """The same capture, sent to the other project: same identifiers, other keys."""
    row = models.Project.objects.get(pk=refund.other.pk)
    refund.bench.close()  # one pass at a time
    bench = Bench(refund.bench.owner, Project(row.pk, unwrap(bytes(row.secret_wrapped)), 1, "month"))
    try:
        bench.send(corpus.items(REFUND))
        bench.derive()
    finally:
        bench.close()
    other = Api(refund.other_key)
    (theirs,) = other.json("sessions")["results"]
    event = other.json("events")["results"][0]["id"]
    (mine,) = refund.api.json("sessions")["results"]
    assert theirs["key"] != mine["key"]
    assert operator.get(f"/sessions/{theirs['key']}").status_code == 404
    assert operator.get(f"/events/{event}").status_code == 404
    page = operator.get("/", {"q": "cr_55120"}).content.decode()
    assert mine["key"] in page and theirs["key"] not in page
    assert mine["key"] in operator.get("/find", {"value": "cr_55120"})["Location"]


WORST = ["%00", "%ED%A0%80", "%FF%FE", "x" * 10_000, "'%20OR%201=1--", "9" * 400, "1e400", "NaN", "9999-12-31", "((((("]
HOSTILE = [
    *WORST, "a%00b", "%F0%9F%92%A9", "%27);DROP%20TABLE%20event;--", "%25", "_%25_", "%5C", "\\u0000", "%00" * 3_000, "-1", "Infinity",
    "0x10", "2026-99-99", "0001-01-01T00:00:00%2B23:59", "trace:" + "z" * 32, ":", "a:", "..%2F..%2Fetc%2Fpasswd", "{{7*7}}",
    "%0d%0aSet-Cookie:x=1", "%E2%80%AE", "!!!", "a%20%26%20|", "null",
]  # fmt: skip
FREE = {"q", "value", "subject", "from", "cursor"}  # parameters that are looked into: these get every value, the others the worst
OF_PAGES = {
    "search": {*sessions.PARAMETERS, "cursor", "limit", "tz", "view", "live", "since", "when"},
    **{name: {*sessions.PARAMETERS, "cursor", "limit", "tz", "view", "when"} for name in ("results-csv", "results-json")},
    "agents": {*agents.PARAMETERS, "tz"},
    "log": {"cursor", "limit", "tz"},
    "quarantine": {*quarantine.PARAMETERS, "cursor", "limit", "tz"},
    "find": {*locate.PARAMETERS, "tz"},
    "session": {"page", "tz"},
    "why": {"tz"},
    "instructions": {"with", "tz"},
    "request": {"tz"},
    "dossier": {"step", "tz"},
    "dossier-pdf": {"step", "tz"},
    "event": {"tz"},
}


def parameters_of(route: str, pattern: URLPattern) -> set[str]:
    return set(pattern.callback.cls.parameters if route.startswith("api/") else OF_PAGES[pattern.name or ""])  # type: ignore[attr-defined]


def test_no_value_of_any_parameter_is_a_failure_of_ours(refund: World, operator: Client) -> None:
    key = refund.key_of(SESSION)
    event = refund.api.json("events", session=key)["results"][0]["id"]
    for route, pattern in patterns():
        if CLASSES.get(pattern.name or "") in (API, PAGE):
            path = "/" + route.replace("<str:key>", key).replace("<str:public_id>", event).replace("<int:number>", "1")
            headers = {"Authorization": f"Bearer {refund.read_key}"} if route.startswith("api/") else {}
            for name in sorted(parameters_of(route, pattern) | {"unknown"}):
                for value in HOSTILE if name in FREE else WORST:
                    answer = operator.get(f"{path}?{name}={value}", headers=headers)
                    assert answer.status_code in (200, 302, 400, 404), (path, name, value[:40], answer.status_code)


def test_no_name_in_an_address_is_a_failure_of_ours(refund: World, operator: Client) -> None:
    headers = {"Authorization": f"Bearer {refund.read_key}"}
    for route, pattern in patterns():
        if CLASSES.get(pattern.name or "") in (API, PAGE) and "<" in route:
            for value in HOSTILE:
                address = "/" + route.replace("<str:key>", value).replace("<str:public_id>", value).replace("<int:number>", "1")
                answer = operator.get(address, headers=headers if route.startswith("api/") else {})
                assert answer.status_code == 404, (address[:80], answer.status_code)
