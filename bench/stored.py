"""Owns a database full of sessions to read: loaded through the writer, derived by the code of the pass, on every core.

Sessions differ as real ones do: one to twelve model calls, one in fifty has twenty, one has a hundred and fifty (301 steps), one never
ends (30,006 events); 40 agents, 20,000 customers of whom a few come often, 50,000 users, credits of many amounts, spread over half a year.
One process binds; summaries and words are divided among processes by the session's key, which the service does not do: its rows are the
same, only sooner there.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from auditlog.ingest.decode import decode
from auditlog.item import SPAN, Item
from auditlog.item import Span as ItemSpan
from auditlog.platform.embedded import Embedded
from auditlog.store.connect import connect
from auditlog.store.writer import Project, Writer
from bench.generate import BASE_NS, TOOLS, Agent, Load, Session, Span, Text, agents, body, interleaved
from tests.db.api.talks import talk

ROOT = Path(__file__).parents[1]
PROCESSES = os.cpu_count() or 1
BATCH = 512
DAY_NS = 86400 * 10**9
DAYS = 180
FIRST_NS = BASE_NS - 120 * DAY_NS
PER_SESSION = 12.1  # events on average; how many sessions make so many events
LONG_TURNS, TWENTY, TEN = 150, 20, 10
ENDLESS = 3_334  # conversations of one session: 30,006 events


def turns_of(number: int, rng: random.Random) -> int:
    """Model calls of a session."""
    if number == 7:
        return LONG_TURNS
    if number % 50 in (1, 2):
        return TWENTY if number % 50 == 1 else TEN
    return rng.choices(range(1, 13), (9, 12, 13, 12, 11, 9, 8, 7, 6, 5, 4, 4))[0]


class Varied(Session):
    """A session of somebody among many, with amounts and IDs to be found by."""

    def __init__(self, number: int, load: Load, agent: Agent, text: Text, dumps: Any) -> None:
        super().__init__(number, load, agent, text, dumps)
        self.at = FIRST_NS + number * DAYS * DAY_NS // load.sessions
        self.turns = turns_of(number, self.rng)
        self.doubles = 0.0 if number == 7 or number % 50 in (1, 2) else 0.1
        self.customer, self.user = f"cust-{int(20_000 * self.rng.random() ** 2):05d}", f"user-{self.rng.randrange(50_000):05d}"

    def _call(self) -> dict[str, Any]:
        name = self.rng.choice(TOOLS)
        arguments: dict[str, Any] = {"customer_id": self.customer}
        if name == "issue_credit":
            arguments |= {"amount_usd": self.rng.choice((25, 40, 400, round(self.rng.expovariate(1 / 120), 2))), "reason": self.text(60)}
        elif name in ("send_email", "escalate_case"):
            arguments |= {"subject": self.text(40), "text": self.text(300)}
        else:
            arguments |= {"order_id": self.order, "query": self.text(30)}
        return {"type": "tool_call", "id": f"call_{self.rng.getrandbits(64):016x}", "name": name, "arguments": arguments}

    def _result(self, call: dict[str, Any]) -> str:
        number = self.rng.getrandbits(32)
        if call["name"] == "issue_credit":
            found: dict[str, Any] = {"credit_id": f"cr_{number:08x}", "amount": call["arguments"]["amount_usd"], "currency": "USD"}
        elif call["name"] in ("send_email", "escalate_case"):
            found = {"id": f"case_{number:08x}", "status": "sent"}
        else:
            charges = [self._charge(), self._charge()]
            found = {"order_id": self.order, "status": "late", "charges": charges, "notes": self.text(self.rng.randint(200, 900))}
        return str(self.dumps(found))

    def _charge(self) -> dict[str, Any]:
        return {"invoice_id": f"INV-{self.rng.randrange(10**7)}", "amount": self.rng.randrange(5, 900), "currency": "USD"}


def spans(load: Load, part: int, parts: int) -> Iterator[tuple[datetime, Span]]:
    """This part of the sessions' spans with the time of receipt, in order of arrival."""

    def dumps(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    received = datetime.now(UTC) - timedelta(days=30)  # half a year from then on: seven partitions, and a store opens none far in the past
    known, text = agents(dumps, 40), Text(random.Random())
    for first in range(part * load.group, load.sessions, parts * load.group):
        queues = []
        for number in range(first, min(first + load.group, load.sessions)):
            text.rng = random.Random(f"{load.seed}:{number}")
            queues.append(list(Varied(number, load, known[number % len(known)], text, dumps).spans()))
        for span in interleaved(queues):
            yield received + timedelta(microseconds=(span.end_time_unix_nano - FIRST_NS) // 1000), span


def load_part(project: Project, load: Load, part: int, parts: int) -> None:
    writer = Writer(lambda: connect("ingest"))
    source = spans(load, part, parts)
    while batch := list(itertools.islice(source, load.batch)):
        items = decode(body([span for _, span in batch]), SPAN, "protobuf")
        writer.write(project, items, key_id=None, protocol=1, received_at=batch[0][0])
    writer.close()


def load_endless(project: Project, received: datetime) -> None:
    """One session of ENDLESS conversations in traces of their own, nine events each: what runs for weeks under one ID."""
    writer = Writer(lambda: connect("ingest"))
    items: list[Item] = []
    for number in range(ENDLESS):
        for item in talk(f"endless-{number}", 5):
            assert isinstance(item, ItemSpan)
            item.attributes = [(key, kind, "endless" if key == "session.id" else value) for key, kind, value in item.attributes]
            item.start, item.end = item.start + number * 20 * 10**9, item.end + number * 20 * 10**9
            items.append(item)
    for start in range(0, len(items), BATCH):
        writer.write(project, items[start : start + BATCH], key_id=None, protocol=1, received_at=received)
    writer.close()


def bind() -> None:
    import django

    django.setup()
    from auditlog.derive.consume import Pass, declaring
    from auditlog.derive.projects import ProjectSecrets
    from auditlog.store.reader import Reader

    with connect("derive", autocommit=True) as conn:
        Pass(conn, declaring(Reader(conn, ProjectSecrets(conn)))).drain()


def summarise_part(part: int, parts: int) -> None:
    """This part of the summaries and words, by the key of the session."""
    import django

    django.setup()
    from auditlog.derive import sql, summary, text
    from auditlog.derive.projects import ProjectSecrets
    from auditlog.derive.timeline import Timelines
    from auditlog.store.reader import Reader

    mine = f"AND abs(hashtext(key)) %% {parts} = {part} "
    sql.STALE = sql.STALE.replace("ORDER BY", mine + "ORDER BY")  # type: ignore[misc, assignment]
    text._DUE = text._DUE.replace("ORDER BY", mine + "ORDER BY")  # type: ignore[misc, assignment]
    with connect("derive", autocommit=True) as conn:
        timelines, texts = Timelines(Reader(conn, ProjectSecrets(conn))), text.Texts()
        row = conn.execute(sql.EDITION, ("current",)).fetchone()
        assert row
        while summary.summarise(conn, row[0], timelines, texts) + text.index_texts(conn, row[0], texts, timelines):
            pass


def together(work: Any, *arguments: Any) -> float:
    """Runs work(*arguments, part, parts) in a process per core; seconds."""
    began = time.perf_counter()
    fresh = multiprocessing.get_context("spawn")  # a fork would share connections
    made = [fresh.Process(target=work, args=(*arguments, part, PROCESSES)) for part in range(PROCESSES)]
    for one in made:
        one.start()
    for one in made:
        one.join()
    if any(one.exitcode for one in made):
        raise SystemExit(f"{work.__name__} failed")
    return time.perf_counter() - began


def start(folder: Path) -> Embedded:
    """PostgreSQL of this folder, set up; the environment of this process leads to it."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)
    for name in [name for name in os.environ if name.startswith("AUDITLOG_")] + ["DATABASE_URL"]:
        os.environ.pop(name, None)
    os.environ |= {"AUDITLOG_DATA": str(folder), "AUDITLOG_DEMO": "0", "DJANGO_SETTINGS_MODULE": "auditlog.settings"}
    server = Embedded(folder)
    server.start()
    subprocess.run([sys.executable, str(ROOT / "manage.py"), "setup"], cwd=ROOT, check=True, capture_output=True)
    os.environ["AUDITLOG_DATABASE_ROLE"] = "web"
    return server


def fill(project: Project, events: int) -> dict[str, Any]:
    """Loads, derives and analyses; what it took."""
    load = Load(max(50, int(events / PER_SESSION)), batch=BATCH)
    told: dict[str, Any] = {"load_seconds": round(together(load_part, project, load))}
    load_endless(project, datetime.now(UTC))
    began = time.perf_counter()
    bind()
    told["bind_seconds"] = round(time.perf_counter() - began)
    analyse()
    told["summaries_and_words_seconds"] = round(together(summarise_part))
    analyse()
    return told


def analyse() -> None:
    """What autovacuum does within a minute or two."""
    with connect("owner", autocommit=True) as conn:
        conn.execute("VACUUM ANALYZE")


def count(conn: psycopg.Connection[Any], table: str) -> int:
    row = conn.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row
    return int(row[0])
