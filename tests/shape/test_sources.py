"""The table of sources says of every captured source what it loses, and the table of gaps names every gap that there is."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from auditlog.reconstruct.gaps import CODES
from tests.corpus import case, names

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/reference/sources.md").read_text()
ROWS = {found[1]: line for line in PAGE.splitlines() if (found := re.match(r"\| `([a-z0-9_-]+)` \|", line)) and line.count("|") == 5}
SOURCES = sorted({name.split("/")[0] for name in names()})


def test_the_table_has_every_captured_source_and_no_other() -> None:
    assert sorted(ROWS) == SOURCES


@pytest.mark.parametrize("source", SOURCES)
def test_a_row_counts_what_the_payloads_do_not_carry(source: str) -> None:
    facts = [f for name in names() if name.split("/")[0] == source for f in case(name)["facts"] if f["value"] is not None]
    total, carried = Counter(f["kind"] for f in facts), Counter(f["kind"] for f in facts if f["carried"])
    lost = ROWS[source].split("|")[3]
    assert set(re.findall(r"`(\w+)` (\d+)/(\d+)", lost)) == {
        (kind, str(carried[kind]), str(count)) for kind, count in total.items() if carried[kind] < count
    }


def test_every_code_of_a_gap_is_explained() -> None:
    code = "".join(path.read_text() for path in (ROOT / "auditlog/reconstruct").glob("*.py"))
    given = set(re.findall(r'(?:gap\(\s*|yield\s*\(?\s*)"([a-z]+(?:_[a-z]+)*)"', code)) - {"arguments", "result"}
    assert len(given) > 20
    # Not found by reconstructing: that a session is too large for it, and that a part of it was disposed of.
    assert given | {"session_cut", "content_disposed"} == set(CODES)
    assert set(CODES) <= set(re.findall(r"`([a-z_]+)`", PAGE))
