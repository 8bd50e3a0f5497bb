"""Owns the bridge from the web port to Django: what a page needs, and what must never reach a page."""

from __future__ import annotations

import http.client

import pytest

from tests.contract.conftest import Receivers
from tests.contract.transports import raw_head, send, send_raw, span, traces

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; the receivers are processes of their own

FORM = "application/x-www-form-urlencoded"


def get(receivers: Receivers, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", receivers.web, timeout=30)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def test_pages_are_answered_by_django(receivers: Receivers) -> None:
    status, headers, body = get(receivers, "/healthz")
    assert (status, body) == (200, b'{"status": "alive"}')
    assert headers["content-type"] == "application/json"
    status, headers, _ = get(receivers, "/?q=a%20b")
    assert status == 302
    assert headers["location"].startswith("/login?next=/%3Fq%3Da%2520b")


def test_head_has_no_body(receivers: Receivers) -> None:
    status, headers, body = get(receivers, "/healthz", "HEAD")
    assert (status, body) == (200, b"")
    assert headers["content-type"] == "application/json"


def test_a_form_arrives_whole(receivers: Receivers) -> None:
    """Without the token the login refuses the form: so it was read, and by Django."""
    answer = send(receivers.web, "/login", b"username=a&password=b", key=None, content_type=FORM)
    assert answer.status == 403


def test_a_form_that_is_too_large_is_413_and_one_that_broke_off_is_400(receivers: Receivers) -> None:
    assert send(receivers.web, "/login", b"a=" + b"x" * 5_000_000, key=None, content_type=FORM).status == 413
    answer = send_raw(receivers.web, raw_head("/login", "none", "Content-Length: 100", content_type=FORM) + b"a=b", end=True)
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("path", ["/", "/login", "/sessions/x", "/%76%31/traces/", "//v1/traces"])
def test_no_exporter_is_ever_redirected_to_a_login_wherever_it_points(receivers: Receivers, path: str) -> None:
    answer = send(receivers.web, path, traces(span()), key=receivers.keys["good"])
    assert answer.status in (200, 404)
    assert answer.headers["content-type"] == "application/x-protobuf"


def test_a_host_that_is_not_ours_is_refused(receivers: Receivers) -> None:
    status, _, _ = get(receivers, "/login", host="evil.example")
    assert status == 400
