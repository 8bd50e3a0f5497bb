"""Owns that every answer of the web port has a strict policy, be it a page, an error, a file, or what Django never sees."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import BrowserContext

from tests.browser import cases
from tests.service import Service

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


def ask(service: Service, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", service.http, timeout=30)
    try:
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read().decode())
    finally:
        connection.close()


def broken_off(service: Service) -> Answer:
    """A form that ends before it is complete: the bridge answers by itself."""
    with socket.create_connection(("127.0.0.1", service.http), timeout=20) as connection:
        connection.sendall(
            b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\na=b"
        )
        connection.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read().decode())


def asking(
    method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None, key: str = ""
) -> Callable[[Service], Answer]:
    def asked(service: Service) -> Answer:
        authorization = {"Authorization": f"Bearer {service.first_run[key]}"} if key else {}
        return ask(service, method, path, (headers or {}) | authorization, body)

    return asked


ANSWERS: dict[str, tuple[int, Callable[[Service], Answer]]] = {
    "the login": (200, asking("GET", "/login")),
    "a redirect to it": (302, asking("GET", "/?customer_id=ACME-2024")),
    "a page that does not exist": (404, asking("GET", "/nowhere")),
    "a method that is not allowed": (405, asking("GET", "/logout")),
    "a foreign host name": (400, asking("GET", "/login", {"Host": "evil.example"})),
    "a host name that is none": (400, asking("GET", "/login", {"Host": "a b<script>"})),
    "a form without its token": (403, asking("POST", "/login", FORM, b"username=a&password=b")),
    "a foreign form": (403, asking("POST", "/logout", FORM | {"Origin": "https://evil.example"}, b"")),
    "a form that is too large": (413, asking("POST", "/login", FORM, b"a=" + b"x" * 5_000_000)),
    "a form that broke off": (400, broken_off),
    "a static script": (200, asking("GET", "/static/page.js")),
    "a static image": (200, asking("GET", "/static/icon.svg")),
    "a static file that does not exist": (404, asking("GET", "/static/nothing.js")),
    "the process lives": (200, asking("GET", "/healthz")),
    "the service is ready": (200, asking("GET", "/readyz")),
    "the API without a key": (401, asking("GET", "/api/v1/sessions")),
    "the API": (200, asking("GET", "/api/v1/sessions", key="read_key")),
    "a parameter of the API that is wrong": (400, asking("GET", "/api/v1/sessions?nothing=1", key="read_key")),
    "an address of the API that does not exist": (404, asking("POST", "/api/v1/nothing", JSON, b"{}")),
    "a method that the API does not know": (405, asking("DELETE", "/api/v1/sessions", key="read_key")),
    "the reference": (200, asking("GET", "/api/v1/docs", key="read_key")),
    "ingest": (200, asking("POST", "/api/v1/events", JSON, b'{"events": []}', key="ingest_key")),
    "ingest without a key": (401, asking("POST", "/api/v1/events", JSON, b"{}")),
    "ingest asked by a browser": (405, asking("GET", "/v1/traces")),
    "an address of ingest that does not exist": (404, asking("GET", "/v1/%3Cscript%3E")),
}


def directives(answer: Answer) -> dict[str, list[str]]:
    return {name: sources for name, *sources in (part.split() for part in answer.headers["content-security-policy"].split(";"))}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_forbids_scripts_but_those_of_its_nonce(name: str, service: Service) -> None:
    status, asked = ANSWERS[name]
    answer = asked(service)
    assert answer.status == status, answer.body[:300]
    policy = directives(answer)
    scripts = policy.get("script-src", policy["default-src"])
    assert all(re.fullmatch(r"'nonce-[A-Za-z0-9+/=]{24}'|'none'", source) for source in scripts)
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert policy["frame-ancestors"] == ["'none'"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    if status != 302 and not (name.startswith("a static") and status == 200):
        assert "no-store" in answer.headers["cache-control"]


@pytest.mark.parametrize("name", [name for name, (status, _) in ANSWERS.items() if status in (400, 403, 404)])
def test_an_error_is_a_page_of_ours_or_says_in_plain_words_or_json_what_happened(name: str, service: Service) -> None:
    answer = ANSWERS[name][1](service)
    kind = answer.headers["content-type"].split(";")[0]
    if kind == "text/html":
        assert "<style" not in answer.body and re.search(r"static/page\.[0-9a-f]{12}\.css", answer.body) and "<h1>" in answer.body
        (nonce,) = re.findall(r'<script nonce="([^"]+)" src="/static/page\.[0-9a-f]{12}\.js" defer></script>', answer.body)
        assert directives(answer)["script-src"] == [f"'nonce-{nonce}'"] and answer.body.count("<script") == 1
    else:
        assert kind in ("application/json", "application/x-protobuf", "text/plain")


def test_no_nonce_is_ever_used_twice(service: Service, operator: BrowserContext) -> None:
    key = cases.key_of(service, 2)
    paths = (
        "/",
        "/",
        "/login",
        "/nowhere",
        "/nowhere",
        f"/sessions/{key}",
        f"/sessions/{key}",
        "/sessions/none",
        "/api/v1/docs",
        "/?trace_id=zz",
    )
    answers: list[Any] = [operator.request.get(path, max_redirects=0) for path in paths]
    nonces = [
        re.findall(r"script-src 'nonce-([^']+)'", answer.headers["content-security-policy"]) for answer in answers if answer.status != 302
    ]
    assert all(len(one) == 1 for one in nonces) and len({one[0] for one in nonces}) == len(nonces) == len(paths) - 1


def test_a_page_with_evidence_is_kept_by_no_cache(service: Service, operator: BrowserContext) -> None:
    key = cases.key_of(service, 2)
    event = service.get(f"/api/v1/events?session={key}")["results"][0]["id"]
    paths: tuple[str, ...] = (
        "/",
        "/?q=ACME",
        f"/sessions/{key}",
        f"/events/{event}",
        "/nowhere",
        "/find?value=nothing",
        "/results.csv",
        "/results.json",
    )
    paths += ("/results.csv", "/results.json", "/searches")
    paths += (f"/api/v1/events/{event}", f"/api/v1/events/{event}/raw", f"/api/v1/sessions/{key}/timeline")
    for path in paths:
        assert "no-store" in operator.request.get(path).headers["cache-control"], path
