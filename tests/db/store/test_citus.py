"""Owns what the tables owe to a cluster: keys that hold the distribution column, no foreign keys or joins across, append-only by rights.

Nothing here runs Citus; the printed statements are read and compared with the catalogue of a real database.
"""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, NamedTuple

import psycopg
import pytest
from django.core.management import CommandError, call_command

from auditlog import conf
from auditlog.platform import citus
from auditlog.platform.citus import PLAN, Distributed, Local, Reference
from auditlog.store.connect import connect

pytestmark = pytest.mark.django_db
EVIDENCE: Final = ("event", "content", "batch", "part", "bucket")
PRINTED: Final = re.compile(
    r"SELECT create_(?:reference_table\('(\w+)'\)|distributed_table\('(\w+)', '(\w+)', colocate_with => '(\w+)'\));"
)

# What does not meet a cluster's needs, each with its reason; docs/operate/scale.md says the same in words.
FOREIGN_KEYS: Final = {("part", "batch"): "both on the coordinator, written in one statement"}
JOINS: Final = {
    ("auditlog/derive/sql.py", "event", "derived"): "REPEATED: was this event consumed before, in another bucket?",
    ("auditlog/derive/withdraw.py", "event", "trace"): "which traces are said to lie where nothing of theirs is; they lie beside it",
    ("auditlog/derive/withdraw.py", "event", "quarantined"): "likewise",
    ("auditlog/derive/withdraw.py", "event", "access_log"): "likewise",
    ("auditlog/retention/execute.py", "event", "trace"): "which of the events that go have a copy in another bucket; likewise",
    ("auditlog/retention/execute.py", "event", "edition"): "of the current edition: one row",
}


class Printed(NamedTuple):
    column: str
    beside: str


def printed() -> dict[str, Printed | None]:
    """What the command prints, read back: table to its column, None for a table that is copied to every machine."""
    out = io.StringIO()
    call_command("citus_setup", stdout=out)
    lines = [line for line in out.getvalue().splitlines() if not line.startswith("--")]
    found = [PRINTED.fullmatch(line) for line in lines]
    assert lines and all(found), lines
    return {m[1] or m[2]: None if m[1] else Printed(m[3], m[4]) for m in found if m}


@pytest.fixture(scope="module")
def catalogue(django_db_setup: None, django_db_blocker: Any) -> Iterator[psycopg.Connection[Any]]:
    with django_db_blocker.unblock(), connect("owner", autocommit=True) as conn:
        yield conn


def tables(conn: psycopg.Connection[Any]) -> set[str]:
    return {row[0] for row in conn.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition"
    )}  # fmt: skip


def test_every_table_is_distributed_copied_or_stays_on_the_coordinator_with_a_reason(catalogue: psycopg.Connection[Any]) -> None:
    assert tables(catalogue) == set(PLAN)
    assert set(printed()) == {table for table, place in PLAN.items() if not isinstance(place, Local)}
    assert all(len(place.reason) > 10 for place in PLAN.values() if isinstance(place, Local | Reference))


def test_every_unique_key_of_a_distributed_table_holds_its_column_which_is_never_empty(catalogue: psycopg.Connection[Any]) -> None:
    for table, place in printed().items():
        if place is None:
            continue
        keys = catalogue.execute(
            "SELECT ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)) "
            "FROM pg_index i WHERE i.indrelid = %s::regclass AND i.indisunique", (table,)
        ).fetchall()  # fmt: skip
        assert keys, table
        for (columns,) in keys:
            assert place.column in columns, f"{table}: {columns}"
        assert catalogue.execute(
            "SELECT attnotnull FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s", (table, place.column)
        ).fetchone() == (True,)
        assert catalogue.execute(
            "SELECT count(*) FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'x'", (table,)
        ).fetchone() == (0,), table  # an exclusion constraint would have to hold it, too


def test_what_lies_together_has_columns_of_one_type_and_comes_after_its_root(catalogue: psycopg.Connection[Any]) -> None:
    found = printed()

    def kind(table: str, column: str) -> Any:
        return catalogue.execute(
            "SELECT format_type(atttypid, atttypmod), attcollation FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s",
            (table, column),
        ).fetchone()

    for table, place in found.items():
        if place is not None and place.beside != "none":
            root = found[place.beside]
            assert root is not None and root.beside == "none" and list(found).index(place.beside) < list(found).index(table)
            assert kind(table, place.column) == kind(place.beside, root.column), table


def test_no_foreign_key_leads_from_or_to_a_distributed_table_and_none_deletes_by_itself(catalogue: psycopg.Connection[Any]) -> None:
    keys = catalogue.execute(
        "SELECT conrelid::regclass::text, confrelid::regclass::text, confdeltype FROM pg_constraint "
        "WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND conparentid = 0"
    ).fetchall()
    assert {rule for _, _, rule in keys} == {"a"}  # NO ACTION: who deletes has to say of each row that it goes
    for source, target, _ in keys:
        assert not isinstance(PLAN[source], Distributed | Reference) and not isinstance(PLAN[target], Distributed), (source, target)
    ours = {(source, target) for source, target, _ in keys if source in EVIDENCE or isinstance(PLAN[source], Distributed)}
    assert ours == set(FOREIGN_KEYS)


def test_no_trigger_rule_or_policy_stands_on_evidence(catalogue: psycopg.Connection[Any]) -> None:
    """COPY into a distributed table runs none of the one, and is refused by the other."""
    for table in ("event", "content"):
        row = catalogue.execute(
            "SELECT relhasrules, relrowsecurity, EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT tgisinternal) "
            "FROM pg_class c WHERE oid = %s::regclass", (table,)
        ).fetchone()  # fmt: skip
        assert row == (False, False, False), table


@pytest.mark.parametrize("role", ["ingest", "web", "derive"])
def test_evidence_is_append_only_by_rights_in_every_partition_and_column(role: str, catalogue: psycopg.Connection[Any]) -> None:
    allowed = {("ingest", "bucket", "idle", "UPDATE")}  # what FOR SHARE asks for
    for table, column, right in catalogue.execute("""
        SELECT c.oid::regclass::text, a.attname, r.name FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        CROSS JOIN (VALUES ('UPDATE'), ('REFERENCES')) AS r (name)
        WHERE (c.oid = ANY(%(tables)s::regclass[]::oid[]) OR c.oid IN (SELECT relid FROM pg_partition_tree('event'))
               OR c.oid IN (SELECT relid FROM pg_partition_tree('content')))
          AND c.relkind IN ('r', 'p') AND has_column_privilege(%(role)s, c.oid, a.attnum, r.name)
        UNION ALL
        SELECT c.oid::regclass::text, '', r.name FROM pg_class c CROSS JOIN (VALUES ('DELETE'), ('TRUNCATE'), ('TRIGGER')) AS r (name)
        WHERE (c.oid = ANY(%(tables)s::regclass[]::oid[]) OR c.oid IN (SELECT relid FROM pg_partition_tree('event'))
               OR c.oid IN (SELECT relid FROM pg_partition_tree('content')))
          AND c.relkind IN ('r', 'p') AND has_table_privilege(%(role)s, c.oid, r.name)""",
        {"tables": list(EVIDENCE), "role": f"auditlog_{role}"},
    ).fetchall():  # fmt: skip
        assert (role, table, column, right) in allowed, (table, column, right)


@cache
def texts() -> tuple[tuple[str, str], ...]:
    return tuple(_texts())


def _texts() -> Iterator[tuple[str, str]]:
    """Every text of the code that may be about evidence, with what is put into it left out."""
    for path in sorted((conf.ROOT / "auditlog").rglob("*.py")):
        if not re.search(r"(FROM|JOIN) (event|content)\b", path.read_text()):
            continue
        inner: set[int] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                inner |= {id(part) for part in node.values}
                yield str(path.relative_to(conf.ROOT)), "".join(p.value if isinstance(p, ast.Constant) else "?" for p in node.values)  # type: ignore[misc]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
                yield str(path.relative_to(conf.ROOT)), node.value


def test_events_and_content_are_joined_with_no_other_table() -> None:
    known = "|".join(sorted(PLAN, key=len, reverse=True))
    joined, statements = set(), 0
    for path, text in texts():
        named = set(re.findall(rf"(?:\bFROM|\bJOIN|,)\s+({known})\b(?=\s|$|\))", text)) if re.search(r"\b(FROM|JOIN)\b", text) else set()
        for table in named & {"event", "content"}:
            statements += 1
            joined |= {(path, table, other) for other in named - {table}}
    assert statements > 8  # it sees the reader's, the writer's and the searches'
    assert joined == set(JOINS)


def test_what_was_stored_is_counted_by_what_the_statement_gave_back_and_never_by_counting_evidence() -> None:
    for path, text in texts():
        if path.startswith(("auditlog/store/", "auditlog/ingest/", "auditlog/derive/")):
            assert not re.search(r"count\((\*|1)\)[^;]*\bFROM (event|content)\b(?!_)", text), f"{path}: {text[:80]}"


def test_run_says_what_is_missing_where_there_is_no_citus(migrated: None) -> None:
    with pytest.raises(CommandError, match=r"has no extension citus, so nothing was distributed\. Install Citus"):
        call_command("citus_setup", "--run")


def test_run_distributes_what_is_not_distributed_yet(catalogue: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """With functions and a list under Citus' names in the place of Citus: the statements are what they take, a second run does nothing."""
    catalogue.execute("CREATE TABLE pg_dist_partition (logicalrelid regclass, partkey text, beside text)")
    catalogue.execute("""
        CREATE FUNCTION create_distributed_table(regclass, name, colocate_with text) RETURNS void LANGUAGE sql
        AS 'INSERT INTO pg_dist_partition SELECT $1, (SELECT attname FROM pg_attribute WHERE attrelid = $1 AND attname = $2), $3'""")
    catalogue.execute("""
        CREATE FUNCTION create_reference_table(regclass) RETURNS void LANGUAGE sql AS 'INSERT INTO pg_dist_partition VALUES ($1)'""")
    monkeypatch.setattr(citus, "require", lambda conn: None)
    try:
        out = io.StringIO()
        call_command("citus_setup", "--run", stdout=out)
        assert out.getvalue().split() == [word for table in citus.statements() for word in ("distributed:", table)]
        moved = dict(catalogue.execute("SELECT logicalrelid::text, partkey FROM pg_dist_partition").fetchall())
        assert moved == {table: place and place.column for table, place in printed().items()}
        call_command("citus_setup", "--run", stdout=(again := io.StringIO()))
        assert again.getvalue() == "Everything was distributed already.\n"
    finally:
        catalogue.execute("DROP FUNCTION create_distributed_table; DROP FUNCTION create_reference_table; DROP TABLE pg_dist_partition")
