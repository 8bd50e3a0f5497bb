"""Owns what a page weighs before anything stored is on it: HTML, styles, script and icon together, as they are, not compressed."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from tests.db.api.conftest import World
from tests.db.api.talks import talk

MOST = 100_000  # bytes


def weight(client: Client, path: str) -> dict[str, int]:
    """Bytes of the page and of every file that it loads."""
    page = client.get(path, follow=True)
    assert page.status_code == 200, path
    found = {path: len(page.content)}
    for file in set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page.content.decode())):
        answer = client.get(file)
        found[file] = len(b"".join(answer))
        answer.close()
    return found


@pytest.mark.parametrize("page", ["login", "search", "decision", "event"])
def test_a_page_weighs_less_than_a_hundred_kilobytes_before_its_content(world: World, operator: Client, page: str) -> None:
    path = {"login": "/login", "search": "/"}.get(page)
    if path is None:
        world.bench.send(talk("s", 1, "Hello."))
        world.bench.derive()
        key = world.key_of("s")
        path = f"/sessions/{key}" if page == "decision" else f"/events/{world.api.json('events', session=key)['results'][0]['id']}"
    found = weight(Client() if page == "login" else operator, path)
    assert len(found) >= 5 and all(size > 100 for size in found.values()), found  # two styles, a script, an icon at least
    assert sum(found.values()) < MOST, found
