"""Owns the numbered checks of PostgreSQL's settings: which lose what was acknowledged, which weaken its recovery, and what mends each.

Pure: a mapping of what the server says (`auditlog.store.server` asks it) becomes findings. An error means that something acknowledged
may be lost; while there is one of `REFUSED`, ingest stores nothing. A warning means that a loss would go unnoticed, or would be larger
than it has to be. Sources: PostgreSQL's manual, "Reliability and the Write-Ahead Log", "Write Ahead Log" and "Developer Options".
docs/operate/postgresql.md lists the same numbers; docs/adr/011 says why ingest answers 503.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

OLDEST: Final = 15  # major version

ERROR, WARNING = "E", "W"


class Fact(NamedTuple):
    """A setting as `pg_settings` has it, in its base unit, and where it comes from, which decides how it is changed."""

    value: str
    source: str = "configuration file"  # or: default, command line, database, user, database user, client, ...
    context: str = "sighup"  # postmaster: changes with a restart only
    login: str = "auditlog_ingest"  # who asked (session_user)
    database: str = "auditlog"


Facts = Mapping[str, Fact]


class Finding(NamedTuple):
    id: str  # auditlog.E001
    message: str  # which setting, its value, and what follows
    hint: str  # what to run

    @property
    def error(self) -> bool:
        return self.id.startswith(f"auditlog.{ERROR}")


class Check(NamedTuple):
    """`wrong` gets the setting's value and all facts. A setting that this server or role does not show is not judged."""

    number: str
    setting: str
    wrong: Callable[[str, Facts], bool]
    means: str
    right: str = ""  # the value that `hint` sets
    fix: Callable[[Facts], str] | None = None  # where setting that value is not the answer
    refused: bool = True  # an error of what the service mends itself, or that is not ingest's, does not stop ingest

    @property
    def id(self) -> str:
        return f"auditlog.{self.number}"

    def finding(self, facts: Facts) -> Finding | None:
        fact = facts.get(self.setting)
        if fact is None or not self.wrong(fact.value, facts):
            return None
        hint = self.fix(facts) if self.fix else command(self.setting, self.right, fact)
        return Finding(self.id, f"{self.setting} is {fact.value or 'empty'}: {self.means}", hint)


def command(name: str, value: str, fact: Fact) -> str:
    """What to run so that a setting is right, by where the wrong value comes from: ALTER SYSTEM cannot reach behind a role's own."""
    name = name.removeprefix(WEB)
    where = {
        "user": f'ALTER ROLE "{fact.login}"',
        "database": f'ALTER DATABASE "{fact.database}"',
        "database user": f'ALTER ROLE "{fact.login}" IN DATABASE "{fact.database}"',
    }.get(fact.source)
    if where:
        return f"{where} RESET {name};"
    if fact.source == "command line":
        return f"Give `-c {name}={value}` where PostgreSQL is started with `-c {name}={fact.value}`, and restart it."
    if fact.source == "client":
        return f"Take {name} out of the `options` of this role's URL and out of PGOPTIONS, and restart the service."
    if fact.context == "postmaster":
        return f"ALTER SYSTEM SET {name} = '{value}'; then restart PostgreSQL."
    return f"ALTER SYSTEM SET {name} = '{value}'; SELECT pg_reload_conf();"


def _is(*values: str) -> Callable[[str, Facts], bool]:
    return lambda value, _: value in values


def _below(number: int) -> Callable[[str, Facts], bool]:
    return lambda value, _: int(value) < number


def _has_standby(facts: Facts) -> bool:
    names = facts.get("synchronous_standby_names")
    return names is not None and names.value != ""


def _of_commit(level: str, *, standby: bool) -> Callable[[str, Facts], bool]:
    return lambda value, facts: value == level and _has_standby(facts) is standby


def _archives_nowhere(value: str, facts: Facts) -> bool:
    return value != "off" and all(name in facts and not facts[name].value for name in ("archive_command", "archive_library"))


def _misses_the_disk(value: str, facts: Facts) -> bool:
    """The manual's "Reliability": on these systems other methods leave data in the drive's cache."""
    platform = facts["platform"].value if "platform" in facts else ""
    right = {"darwin": ("fsync_writethrough",), "windows": ("fsync", "fdatasync", "fsync_writethrough")}.get(platform)
    return right is not None and value not in right


def _logged(facts: Facts) -> str:
    return " ".join(f"ALTER TABLE {table} SET LOGGED;" for table in facts["unlogged"].value.split(", "))


def _writable(facts: Facts) -> str:
    if facts["in_recovery"].value == "on":
        return "Point the service's URLs at the primary: `postgresql://…@one,two/auditlog?target_session_attrs=read-write` finds it."
    return command("default_transaction_read_only", "off", facts["default_transaction_read_only"])


WEB: Final = "web "  # prefix of a fact that the role of the pages told, not that of ingest

CHECKS: Final = (
    Check("E001", "fsync", _is("off"), "a crash of the machine loses or destroys what was acknowledged", "on"),
    Check("E002", "synchronous_commit", _is("off"), "success is told before anything is on disk; ingest turns it on in each of its "
          "transactions, other writers of this role do not", "on", refused=False),
    Check("E003", "synchronous_commit", _of_commit("local", standby=True), "success does not wait for the synchronous standby, so that a "
          "failover loses what was acknowledged", "on"),
    Check("E004", "full_page_writes", _is("off"), "a crash in the middle of a page's writing destroys what the page held", "on"),
    Check("E005", "data_sync_retry", _is("on"), "after a failed fsync it goes on, though the kernel may have dropped the data", "off"),
    Check("E006", "zero_damaged_pages", _is("on"), "a page that cannot be read is emptied without a word", "off"),
    Check("E007", "ignore_checksum_failure", _is("on"), "damaged pages are read, and written back under a checksum that fits", "off"),
    Check("E008", "ignore_invalid_pages", _is("on"), "recovery drops changes of pages that it does not find", "off"),
    Check("E009", "unlogged", lambda value, _: value != "", "a crash empties these tables", fix=_logged),
    Check("E010", "transaction_read_only", _is("on"), "nothing can be stored here", fix=_writable),
    Check("E011", "server_version_num", _below(OLDEST * 10_000), f"versions before {OLDEST} are not supported",
          fix=lambda _: f"Upgrade with pg_upgrade to PostgreSQL {OLDEST} or newer."),
    Check("E012", f"{WEB}synchronous_commit", _is("off"), "a crash may bring back a key that was revoked or a member who was removed", "on",
          refused=False),
    Check("E013", "server_encoding", lambda value, _: value != "UTF8", "names and words of other letters cannot be stored",
          fix=lambda facts: "Dump, and restore into another database: createdb --encoding=UTF8 --template=template0 auditlog8"),
    Check("W001", "data_checksums", _is("off"), "a bit that flips on the disk is not noticed until somebody verifies the trail",
          fix=lambda _: 'Stop PostgreSQL, then: pg_checksums --enable --pgdata "$PGDATA"'),
    Check("W002", "wal_level", _is("minimal"), "neither a standby nor recovery to a point in time is possible", "replica"),
    Check("W003", "archive_mode", _is("off"), "the loss of the disk is a loss of everything since the last backup",
          fix=lambda facts: command("archive_mode", "on", facts["archive_mode"]) + " Set archive_command to what your backup tool names "
          "(pgBackRest: pgbackrest --stanza=auditlog archive-push %p)."),
    Check("W004", "archive_mode", _archives_nowhere, "nothing takes the files, so that they fill the disk",
          fix=lambda facts: command("archive_command", "pgbackrest --stanza=auditlog archive-push %p", facts["archive_command"])),
    Check("W005", "synchronous_standby_names", _is(""), "no second machine has what was acknowledged; the loss of this one loses what is "
          "not archived", fix=lambda facts: "With a standby whose application_name is standby1: "
          + command("synchronous_standby_names", "ANY 1 (standby1)", facts["synchronous_standby_names"])),
    Check("W006", "synchronous_commit", _of_commit("local", standby=False), "as good as on while there is no synchronous standby, and a "
          "loss (E003) from the day there is one", "on"),
    Check("W007", "synchronous_commit", _of_commit("remote_write", standby=True), "the standby has it in memory only: if both machines "
          "lose power, and the primary its disk, it is gone", "on"),
    Check("W008", "wal_sync_method", _misses_the_disk, "this system keeps what is flushed in the drive's cache", fix=lambda facts: command(
        "wal_sync_method", "fsync_writethrough", facts["wal_sync_method"])),
    Check("W009", "max_wal_size", _below(2048), "(MB) under load one checkpoint follows the other, and whole pages are written each time",
          "2GB"),
    Check("W010", "idle_in_transaction_session_timeout", _is("0"), "a transaction that somebody leaves open holds back the reading of all "
          "newer batches", "10min"),
    Check("W011", "statement_timeout", lambda value, _: 0 < int(value) < 600_000, "(ms) it ends rebuilds and backups; ingest and pages set "
          "their own", "0"),
    Check("W012", "autovacuum", _is("off"), "transaction numbers run out, and then the server stops taking writes", "on"),
    Check("W013", "max_locks_per_transaction", _below(256), "a question over many buckets needs more locks and fails", "256"),
)  # fmt: skip

# Facts that are no setting of PostgreSQL, and those that only a fix asks for.
SETTINGS: Final = sorted(
    {check.setting for check in CHECKS if not check.setting.startswith(WEB)} - {"unlogged"}
    | {"archive_command", "archive_library", "default_transaction_read_only"}
)  # fmt: skip

REFUSED: Final = frozenset(check.id for check in CHECKS if check.number.startswith(ERROR) and check.refused)

# Inside each transaction of the writer: what a reload may change under an open connection. It names nothing; `server.refusal` does.
SAFE: Final = (
    "(current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on' AND current_setting('zero_damaged_pages') = 'off' "
    "AND current_setting('ignore_checksum_failure') = 'off' "
    "AND (current_setting('synchronous_commit') <> 'local' OR current_setting('synchronous_standby_names') = ''))"
)
# Success means flushed, also where somebody turned that off; within the transaction, because behind a pooler the next one may be in
# another session. What waits for more (a standby) stays as it is.
FLUSH: Final = "CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END"


def findings(facts: Facts) -> list[Finding]:
    """What is wrong with a server, errors first, each with its number."""
    return [finding for check in CHECKS if (finding := check.finding(facts)) is not None]


def refused(found: list[Finding]) -> list[Finding]:
    """Those on which ingest stores nothing."""
    return [finding for finding in found if finding.id in REFUSED]
