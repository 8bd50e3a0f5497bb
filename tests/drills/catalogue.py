"""Owns the table of drills: what happens, what must hold and why it does, what was seen when the protection was taken away.

python -m tests.drills.catalogue     writes the table into docs/operate/durability.md
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).resolve().parent
PAGE: Final = HERE.parents[1] / "docs" / "operate" / "durability.md"


class Drill(NamedTuple):
    """`removed`: the protection by the name that `unprotected` knows; `seen`: what the drill then said."""

    fault: str
    injected: str
    holds: str
    protection: str
    removed: str
    without: str
    seen: str


DRILLS: Final[dict[str, Drill]] = {
    "kills": Drill(
        "any process is killed, again and again",
        "`kill -9` of OTLP/HTTP, gRPC, web, derive and PostgreSQL, in an order and at moments of chance, under OpenTelemetry's exporters",
        "acknowledged ⊆ stored, nothing twice, derived data equal to a rebuild",
        "success is answered after COMMIT; an event's identity is computed from what was sent",
        "commit first", "success is answered first, a thread writes behind it", "1,725 of 8,225 acknowledged spans lost in 15 kills",
    ),
    "postmaster": Drill(
        "PostgreSQL is killed under writers",
        "`kill -9` of the postmaster, three times, under six writers",
        "acknowledged ⊆ stored",
        "each transaction of a writer insists on `synchronous_commit`",
        "flush", "`synchronous_commit = off`", "160 of 1,505 acknowledged spans lost, 32 receipts that named nothing",
    ),
    "no flush": Drill(
        "the disk no longer flushes, as before a loss of power",
        "every `fsync` and `fdatasync` of PostgreSQL answers EIO (strace)",
        "nothing is acknowledged meanwhile; all of it once a flush succeeds",
        "PostgreSQL ends when a flush of its log fails, and nobody is answered before it",
        "fsync", "`fsync = off`", "8 of 8 batches acknowledged while no flush succeeded",
    ),
    "disk full": Drill(
        "the disk of the events is full",
        "their partition on a file system of 24 MiB, filled to the last byte",
        "503 with Retry-After, never 500; the service can be asked for its status; all goes on by itself",
        "whatever the database refuses is answered 503",
        "503", "it is answered 500, which exporters do not repeat", "6 answers of 500",
    ),
    "WAL full": Drill(
        "the disk of the write-ahead log is full for 40 seconds",
        "`pg_wal` on a file system of 128 MiB, filled to the last byte: PostgreSQL ends and cannot start",
        "503 with Retry-After; all goes on by itself",
        "the supervisor starts PostgreSQL until it serves again",
        "restart", "PostgreSQL that does not start three times is given up", "453 answers of 503, then none: the whole service had ended",
    ),
    "stopped": Drill(
        "the database is stopped for 5 seconds",
        "fast shutdown, under four senders",
        "no 200 for what is not stored, no 500",
        "whatever the database refuses is answered 503",
        "503", "it is answered 500", "102 answers of 500",
    ),
    "stopped for long": Drill(
        "the database is stopped for a minute",
        "the same, for 60 seconds",
        "the same, and every process finds its way back",
        "the same",
        "503", "the same", "1,178 answers of 500",
    ),
    "cut": Drill(
        "the connection is cut between COMMIT and the answer",
        "a proxy that lets no answer pass, and cuts once the batch is committed",
        "the resend is acknowledged and stores nothing",
        "the primary key of events",
        "primary key", "no primary key", "25 of 25 spans stored twice",
    ),
    "slow": Drill(
        "the database takes 5 seconds for each batch",
        "a trigger that sleeps, 16 senders at once",
        "everybody is answered within the 10 seconds that an exporter waits, 200 or 503",
        "a request waits 6 seconds at most",
        "time-out", "a request waits for as long as it takes", "12 of 16 senders had no answer within 10 seconds",
    ),
    "conflicts": Drill(
        "a deadlock and a serialization failure",
        "a trigger that raises 40P01, then 40001",
        "the sender is told success at its first try",
        "a conflict is tried again inside",
        "retry", "one try", "503",
    ),
    "open transaction": Drill(
        "a transaction is left open",
        "a batch that has its number waits to commit while five with later numbers do",
        "the background pass waits, `pending_batches` and `derive_lag_seconds` say so, and then nothing is missed",
        "it reads below the snapshot's horizon",
        "horizon", "it reads everything that is committed", "1 batch never seen, and `pending_batches` 0",
    ),
    "open transaction, log": Drill(
        "a transaction is left open",
        "the same, while the sealer works",
        "the sealer waits, `unsealed_batches` and `seal_lag_seconds` say so, and then no part is missed and all are in order",
        "it reads below the snapshot's horizon",
        "seal horizon", "it reads everything that is committed", "1 part never sealed",
    ),
    "sealer": Drill(
        "the sealer is killed at every step, and there are two of them",
        "its connection is cut when it writes leaves, then when it writes a checkpoint, then `kill -9` four times; a second sealer "
        "beside it, under senders",
        "each part is one leaf, in order, dense; every checkpoint is signed over the leaves that it names",
        "a round is one transaction",
        "one transaction", "each statement commits for itself", "226 parts not in the log: leaves without a checkpoint, `root_differs`",
    ),
    "old backup": Drill(
        "an old backup is restored",
        "PostgreSQL's folder copied, three batches later put back in its place; nine more batches are sent",
        "the sealer signs nothing and says why, until somebody accepts it with a reason",
        "what was signed last stands in a file beside the key",
        "signed", "the sealer does not ask", "2 checkpoints of another history signed beyond the 3 parts that were lost",
    ),
    "no partition": Drill(
        "a period has no partition",
        "the first batches of a class and period that nobody prepared, eight at once",
        "all are stored; one partition; an error in the log",
        "the writer makes it on the spot",
        "partition", "it does not", "8 of 8 senders refused",
    ),
    "clock": Drill(
        "a receiver's clock is a day behind, then a day ahead",
        "one more receiver under libfaketime, which is sent old and new batches",
        "each event once, in whatever order; a revoked key stays revoked",
        "identity and order do not depend on a clock; revocation is for good",
        "revocation", "revoked from a moment on, by the receiver's clock", "a revoked key answered 200 where the clock is a day behind",
    ),
    "bombs": Drill(
        "a thousand decompression bombs",
        "a gigabyte in 30 KB, a thousand times from 16 senders",
        "413; no process holds more than 700 MiB; two other senders are served meanwhile",
        "unpacking stops at the limit",
        "limit", "bodies are unpacked whole", "4,343 MiB in one process; with it 328",
    ),
    "changed": Drill(
        "a superuser changes what is stored",
        "200 changes of one batch: bits flipped in values, skeletons and content, a column rewritten, rows deleted",
        "each is found; the event is named where values, columns or content contradict it, else the batch",
        "commitments, digests and the batch's root, computed again",
        "digests", "the commitments of fields are not compared", "27 of 200 changes not found",
    ),
    "purge": Drill(
        "holds are placed while a scheduled deletion runs, which is killed",
        "`manage.py dispose --execute`, killed with -9 six times at random, its last transaction slowed down; thirty holds over the "
        "API meanwhile, and two senders",
        "what was there when its hold was answered is there afterwards; nothing else stays; all of the log verifies",
        "holding and deleting take one lock, under which what is held is asked again",
        "hold lock", "it is not taken", "4 of 20 sessions lost records that were held and there",
    ),
    "bit on disk": Drill(
        "a bit flips on the disk",
        "one bit of a row's file, while PostgreSQL is stopped",
        "an error that names the page; the row is never read as evidence",
        "PostgreSQL's data checksums",
        "checksums", "`pg_checksums --disable`", "the row is read without an error, and verification finds 2 contradictions",
    ),
    "failover": Drill(
        "the machine is lost while its standby lags",
        "a synchronous standby whose receiver is stopped for two seconds; then `kill -9` of the primary, and the standby is promoted",
        "acknowledged ⊆ stored there",
        "`synchronous_standby_names`: COMMIT waits for the standby, and so does the answer",
        "synchronous standby", "an asynchronous standby", "1,300 of 1,875 acknowledged spans lost, 260 receipts that named nothing",
    ),
    "cancelled": Drill(
        "somebody cancels a COMMIT that waits for the standby",
        "`pg_cancel_backend` of all that wait, until every sender has its answer",
        "nothing is acknowledged that the standby does not have",
        "a COMMIT that succeeds with a warning is asked for again",
        "warning", "the warning is not listened to", "4 of 4 batches acknowledged that the standby did not have",
    ),
}  # fmt: skip

# Faults for which there is nothing yet that could fail, or no way here to make them.
NOT_YET: Final[dict[str, str]] = {
    "the broker is lost or a worker is killed in the middle of an export": "no drill under load; tests kill the worker of an export after "
    "each file ([exports](../../tests/db/disclosure/test_work.py)), and the broker's jobs ([jobs](../../tests/platform/test_jobs.py)); a "
    "million events were exported by a worker that was killed five times ([bench](../bench/README.md))",
    "an old backup is restored together with `log.signed`": "receipts and checkpoints that somebody else holds contradict "
    "it (the drills compare receipts); without either nothing does",
    "loss of power that drops or tears what was written and not flushed": "needs a file system that forgets (LazyFS, dm-flakey); "
    "\"no flush\" shows that nothing is acknowledged before a flush, not that PostgreSQL's recovery repairs torn pages",
    "transaction numbers that wrap around, bloated indexes": "PostgreSQL's autovacuum keeps both; nothing here watches it yet",
    "PostgreSQL's own clock jumps": "only a receiver's does; nothing that is acknowledged depends on it",
}  # fmt: skip


class Test(NamedTuple):
    file: str
    name: str
    long: bool


def drilled() -> dict[str, Test]:
    """The test of each drill, by the name that its marker bears."""
    found = {}
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) in ("drill", "pytest.mark.drill"):
                    name = ast.literal_eval(mark.args[0])
                    found[name] = Test(path.name, node.name, any(keyword.arg == "long" for keyword in mark.keywords))
    return found


def table() -> str:
    known = drilled()
    lines = ["| fault | made by | what holds | because | without it | |", "|---|---|---|---|---|---|"]
    for name, drill in DRILLS.items():
        link = f"[{name}](../../tests/drills/{known[name].file}){' (long)' if known[name].long else ''}"
        without = f"{drill.without}: **{drill.seen}**"
        lines.append(f"| {drill.fault} | {drill.injected} | {drill.holds} | {drill.protection} | {without} | {link} |")
    lines += ["", "### Not covered", "", "| fault | why |", "|---|---|", *(f"| {fault} | {why} |" for fault, why in NOT_YET.items())]
    return "\n".join(lines)


def with_table(text: str) -> str:
    """The page with its table as it is now."""
    return re.sub(r"(?s)(<!-- drills -->\n).*(<!-- /drills -->)", lambda found: f"{found[1]}{table()}\n{found[2]}", text)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
