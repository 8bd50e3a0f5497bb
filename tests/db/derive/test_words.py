"""Owns the checks of words in the database: every script is found by what people type, and an index of before is written again."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from auditlog.derive import said
from tests.db.derive.test_found import chat, matching
from tests.db.derived import Bench
from tests.unit.derive.test_words import FOUND, MISSED

pytestmark = pytest.mark.django_db
TURN: Any = importlib.import_module("auditlog.migrations.0011_words").Migration.operations[-1].sql


def test_what_is_said_in_any_script_is_found_in_postgresql_as_in_python(bench: Bench) -> None:
    for n, (text, queries) in enumerate(FOUND + MISSED):
        hits = n < len(FOUND)
        bench.wipe()
        bench.send([chat(1, text, "-", session__id="s")])
        bench.derive()
        for query in queries:
            assert matching(bench, query) == hits, (text, query)


def test_a_phrase_stands_in_one_text_and_never_across_two(bench: Bench) -> None:
    bench.send([chat(1, "please refund", "order credited", session__id="s")])
    bench.derive()
    assert matching(bench, '"please refund"') == matching(bench, '"order credited"') == matching(bench, "refund order") == 1
    assert matching(bench, '"refund order"') == 0


def test_the_texts_beside_the_words_are_what_was_said(bench: Bench) -> None:
    bench.send([chat(1, "Ünï\0code “x”", "ok", session__id="s")])
    bench.derive()
    ((stored,),) = bench.rows("SELECT texts FROM search_text")
    assert [text for _, _, text, _, _ in said.texts(stored)] == ["Ünï\0code “x”", "ok"]


def test_a_session_indexed_before_is_indexed_again_behind_what_comes_in_and_the_newest_first(bench: Bench) -> None:
    for n in range(3):
        bench.send([chat(1, f"word{n}", "ok", bytes(15) + bytes([n + 1]), session__id=f"s{n}")])
    bench.derive()
    bench.owner.execute("UPDATE session SET sort_at = sort_at + interval '1 day' WHERE convert_from(session_id, 'UTF8') = 's1'")
    bench.owner.execute("UPDATE search_text SET tsv = to_tsvector('simple', 'old'), digest = gen_random_uuid(), texts = NULL")
    bench.owner.execute("UPDATE session SET text_due = now() WHERE convert_from(session_id, 'UTF8') = 's2'")  # just summarised
    bench.owner.execute(TURN)
    due = bench.rows("SELECT convert_from(session_id, 'UTF8') FROM session WHERE text_due IS NOT NULL ORDER BY text_due")
    assert [name for (name,) in due] == ["s2", "s1", "s0"]
    bench.send([chat(2, "late", "ok", bytes(15) + b"\1", session__id="s0")])
    bench.derive()
    assert [matching(bench, f"word{n}") for n in range(3)] == [1, 1, 1] and matching(bench, "old") == 0
    assert bench.rows("SELECT count(*) FROM search_text WHERE texts IS NULL") == [(0,)]
