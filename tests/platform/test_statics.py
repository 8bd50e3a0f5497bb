"""Owns the files that pages load: over a running service, and what happens where their copies are missing or made twice."""

from __future__ import annotations

import gzip
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.template import Context, Template
from django.test import Client, override_settings

from auditlog import conf
from auditlog import settings as own
from auditlog.platform import statics
from tests.service import Service

NAMED = re.compile(r'(?:href|src)="(/static/[^"]+)"')
HASHED = re.compile(r"/static/[\w./-]+\.[0-9a-f]{12}\.(css|js|svg)")


class Browser:
    """Somebody who has logged in to a running service."""

    def __init__(self, service: Service) -> None:
        self.base = service.first_run["url"]
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        token = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', self.get("/login")[2].decode())
        assert token
        form = {"username": "operator", "password": service.first_run["password"], "csrfmiddlewaretoken": token[1]}
        self.opener.open(f"{self.base}/login", urllib.parse.urlencode(form).encode(), timeout=30).close()

    def get(self, path: str, **headers: str) -> tuple[int, Any, bytes]:
        request = urllib.request.Request(self.base + path, headers=headers)
        try:
            with self.opener.open(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    made = Service()
    try:
        yield made.start()
    finally:
        made.remove()


@pytest.fixture(scope="module")
def browser(service: Service) -> Browser:
    return Browser(service)


def test_every_file_of_every_page_has_a_hashed_name_and_may_be_kept_for_ever_and_comes_compressed(browser: Browser) -> None:
    files = set()
    for path in ("/login", "/", "/sessions/nope", "/events/nope", "/api/v1/docs"):
        _, headers, page = browser.get(path)
        named = NAMED.findall(page.decode())
        assert len(named) >= 3 and "no-store" in headers["Cache-Control"], path
        files.update(named)
    assert len(files) >= 5
    for file in files:
        assert HASHED.fullmatch(file), file
        status, headers, plain = browser.get(file)
        assert status == 200 and headers["Content-Encoding"] is None
        assert "immutable" in headers["Cache-Control"] and int(headers["Cache-Control"].split("max-age=")[1].split(",")[0]) >= 31_536_000
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Vary"] == "Accept-Encoding"
        _, headers, packed = browser.get(file, **{"Accept-Encoding": "gzip, deflate, br"})
        assert headers["Content-Encoding"] == "gzip" and int(headers["Content-Length"]) == len(packed) < len(plain)
        assert gzip.decompress(packed) == plain


def test_the_file_of_another_version_is_not_found_and_that_is_all(browser: Browser, service: Service) -> None:
    status, _, page = browser.get("/static/page.0123456789ab.css")
    assert status == 404 and "Not found" in page.decode()
    assert "Traceback" not in page.decode() + (service.data / "logs" / "web.log").read_text()


# -- without a service


def templates() -> list[Path]:
    return sorted((conf.ROOT / "templates").rglob("*.html"))


def test_every_file_that_a_template_names_is_there() -> None:
    named = {name for path in templates() for name in re.findall(r"{% static ['\"]([^'\"]+)", path.read_text())}
    assert len(named) >= 6
    for name in named:
        assert re.search(r"\.[0-9a-f]{12}\.", statics.Hashed().url(name)), name


def test_a_missing_file_fails_a_test_and_costs_an_operator_nothing_but_its_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Template("{% load static %}{% static 'nowhere.css' %}")
    with pytest.raises(ValueError, match="nowhere"):
        page.render(Context())
    monkeypatch.setattr(statics.Hashed, "lenient", True)
    assert page.render(Context()) == "/static/nowhere.css"


@pytest.mark.filterwarnings("ignore:No directory at")
def test_where_nothing_may_be_written_the_originals_are_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError  # not by taking rights away: root has them all

    monkeypatch.setattr("tempfile.mkdtemp", refused)
    monkeypatch.setattr(statics.Hashed, "lenient", True)
    with override_settings(STATIC_ROOT=tmp_path / "static" / "x"):
        assert not statics.collect()
        assert statics.Hashed().url("page.css") == "/static/page.css"
        answer = Client().get("/static/page.css")
        assert answer.status_code == 200 and "immutable" not in answer["Cache-Control"]
        assert b"".join(answer) == (conf.ROOT / "static" / "page.css").read_bytes()
        answer.close()


def test_two_starts_at_once_make_one_folder_and_leave_no_draft(tmp_path: Path) -> None:
    with override_settings(STATIC_ROOT=tmp_path / "static" / "x"):
        together, made = threading.Barrier(4), []

        def start() -> None:
            together.wait()
            made.append(statics.collect())

        threads = [threading.Thread(target=start) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(made) == [False, False, False, True]
        assert [path.name for path in (tmp_path / "static").iterdir()] == ["x"]
        assert (tmp_path / "static" / "x" / "staticfiles.json").exists()


def test_the_folder_is_named_after_its_contents_and_kept_with_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert own._static_root() == settings.STATIC_ROOT and settings.STATIC_ROOT.parent == conf.get("AUDITLOG_DATA") / "static"
    monkeypatch.setattr(own, "STATICFILES_DIRS", [tmp_path])
    (tmp_path / "a.css").write_text("a { color: red }")
    red = own._static_root()
    (tmp_path / "a.css").write_text("a { color: tan }")
    assert own._static_root() != red
    (tmp_path / "a.css").write_text("a { color: red }")
    assert own._static_root() == red
