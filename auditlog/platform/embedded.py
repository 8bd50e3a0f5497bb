"""Owns the embedded PostgreSQL: where its files lie, who it runs as, how it is made, started, found again and stopped.

Real PostgreSQL with fsync and data checksums, reached through a Unix socket only. initdb and postgres refuse root, so
as root both run as an unprivileged user; where that user cannot reach the data folder (a parent of mode 0700), binaries
and data lie under /var/lib/auditlog instead, and nobody's permissions are changed.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psycopg

from auditlog.platform import postgres, process
from auditlog.platform.postgres import Installation, PostgresError
from auditlog.secrets import private_file

USER: Final = "auditlog"
DATABASE: Final = "auditlog"
PORT: Final = 5432  # names the socket file only; there is no TCP
PATIENCE: Final = 10.0  # seconds that a lock file of a server killed a moment ago may stand in the way
ELSEWHERE: Final = Path("/var/lib/auditlog")
SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "max_connections": "60",
    "max_locks_per_transaction": "256",  # a query over many buckets locks each partition and its indexes
    "jit": "off",
    "idle_in_transaction_session_timeout": "10min",  # an open transaction holds back the reading of what was committed after it began
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d %a ",
    # The text of a statement and the detail of an error quote what was searched for or stored; a log holds no content.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


def unprivileged_user() -> pwd.struct_passwd | None:
    """Whom PostgreSQL runs as: nobody else when we are not root, else the first of these that exists."""
    if os.geteuid() != 0:
        return None
    for name in ("auditlog", "postgres", "nobody", "daemon"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        if user.pw_uid != 0:
            return user
    raise PostgresError(
        "PostgreSQL refuses to run as root, and there is no user auditlog, postgres or nobody. Run: useradd --system auditlog"
    )


class Embedded:
    """One embedded PostgreSQL. `start()` returns once it answers; `url` is the owner's conninfo."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.child: subprocess.Popen[bytes] | None = None
        self._user = unprivileged_user()
        folder.mkdir(mode=0o711 if self._user else 0o700, parents=True, exist_ok=True)
        self.base = self._base()
        self.data = self.base / "postgres"
        if self._user and self.data.exists() and (owner := self.data.stat().st_uid) not in (0, self._user.pw_uid):
            self._user = pwd.getpwuid(owner)  # made by an ordinary user, or before the preferred user existed
        self.log = folder / "logs" / "postgres.log"

    # -- where

    def _base(self) -> Path:
        """The folder of the data directory: ours, or the one under /var/lib/auditlog that an earlier start recorded."""
        record = self.folder / "postgres-elsewhere"
        if record.exists():
            return Path(record.read_text().strip())
        if self._user is None or _reaches(self._user, self.folder):
            return self.folder
        if (self.folder / "postgres" / "PG_VERSION").exists():
            raise PostgresError(
                f"The data lies in {self.folder / 'postgres'}, which the user {self._user.pw_name} cannot reach any more: "
                "a folder above it does not let others pass (chmod o+x), or run as the user who owns it."
            )
        place = ELSEWHERE / secrets.token_hex(6)
        ELSEWHERE.mkdir(mode=0o755, parents=True, exist_ok=True)
        place.mkdir(mode=0o711)
        private_file(record, str(place).encode())
        return place

    def installation(self) -> Installation:
        """The binaries, copied to where their user reaches them if it must be so."""
        chosen = postgres.choose(self.data)
        if self._user is None or _runs(self._user, chosen):
            return chosen
        copy = self._copied(chosen)
        if not _runs(self._user, copy):
            raise PostgresError(f"The user {self._user.pw_name} cannot run {copy.program('postgres')}: is {ELSEWHERE} mounted noexec?")
        return copy

    def _copied(self, chosen: Installation) -> Installation:
        """A copy that keeps the place of the libraries: the programs look for them three folders up, beside their package."""
        place = self.base if self.base != self.folder else ELSEWHERE
        root = place / f"binaries-{chosen.major}-{chosen.source}"
        package = chosen.bin.parent.parent
        if not root.exists():
            place.mkdir(mode=0o755, parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=place))
            shutil.copytree(chosen.bin.parent, draft / package.name / chosen.bin.parent.name, symlinks=True)
            libraries = package.with_name(package.name + ".libs")
            if libraries.is_dir():
                shutil.copytree(libraries, draft / libraries.name, symlinks=True)
            draft.chmod(0o755)
            (draft / package.name).chmod(0o755)
            try:
                draft.rename(root)
            except OSError:  # another start was first
                shutil.rmtree(draft)
        return Installation(root / package.name / chosen.bin.parent.name / "bin", chosen.major, chosen.source)

    def socket_folder(self) -> Path:
        """A short path (a socket's may have 107 bytes), the same at every start, so that a URL stays true over restarts."""
        record = self.folder / "socket-folder"
        owner = self._user.pw_uid if self._user else os.geteuid()
        if record.exists():
            known = Path(record.read_text().strip())
            try:
                known.mkdir(mode=0o700)  # /tmp is emptied when the machine starts
                os.chown(known, owner, -1)
            except FileExistsError:
                pass
            found = known.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == owner and stat.S_IMODE(found.st_mode) == 0o700:
                return known
            record.unlink()  # somebody else took the name
        made = Path(tempfile.mkdtemp(prefix="auditlog-", dir="/tmp"))
        os.chown(made, owner, -1)
        private_file(record, str(made).encode())
        return made

    @property
    def url(self) -> str:
        password = private_file(self.folder / "postgres.password", secrets.token_urlsafe(24).encode()).decode()
        return f"postgresql://{USER}:{quote(password)}@/{DATABASE}?host={quote(str(self.socket_folder()), safe='')}&port={PORT}"

    # -- making

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Only one process at a time makes or starts this server; the lock goes with the process that holds it."""
        with (self.folder / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make(self, installation: Installation) -> None:
        """initdb into a draft that is renamed when it is whole: a kill in the middle leaves no half data directory."""
        draft = self.base / f"postgres.{secrets.token_hex(4)}"
        draft.mkdir(mode=0o700)
        password = self.base / f".{draft.name}.password"
        private_file(password, private_file(self.folder / "postgres.password", secrets.token_urlsafe(24).encode()))
        if self._user:
            os.chown(draft, self._user.pw_uid, self._user.pw_gid)
            os.chown(password, self._user.pw_uid, self._user.pw_gid)
        # The wheel has no ICU; the builtin provider (17 and newer) folds case of all Unicode whatever the machine has.
        locale = (
            ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"] if installation.major >= 17 else ["--locale=C.UTF-8"]
        )
        command = [installation.program("initdb"), "-D", str(draft), f"--username={USER}", f"--pwfile={password}", "--auth=scram-sha-256"]
        command += ["--encoding=UTF8", "--data-checksums", *locale]
        try:
            status, output = process.run(command, user=self._user, env=self._environment(), cwd=Path("/"))
            if status != 0:
                raise PostgresError(f"initdb failed ({status}):\n{output.strip()}")
            draft.rename(self.data)
        finally:
            password.unlink(missing_ok=True)
            shutil.rmtree(draft, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        # PG* variables of whoever starts us would change what the server and initdb do
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return kept | {"LC_ALL": "C", "TZ": "UTC"}

    # -- running

    def start(self) -> bool:
        """Makes sure that the server answers. True: it is our child; False: another process of ours runs it."""
        with self._alone():
            if self.answers():
                return False
            installation = self.installation()
            if postgres.data_major(self.data) is None:
                self._make(installation)
            deadline = time.monotonic() + PATIENCE
            while True:
                if self._try(installation):
                    self._create_database()
                    self._publish()
                    return True
                if self.answers():
                    return False
                # A server killed a moment ago leaves postmaster.pid and perhaps dying backends: PostgreSQL itself judges when
                # they are gone. Removing the file by hand could let two servers write one data directory.
                if time.monotonic() > deadline:
                    raise PostgresError(f"PostgreSQL does not start:\n{tail(self.log)}")
                time.sleep(0.3)

    def spawn(self, installation: Installation) -> subprocess.Popen[bytes]:
        options = SETTINGS | {"unix_socket_directories": str(self.socket_folder())}
        command = [installation.program("postgres"), "-D", str(self.data), "-p", str(PORT)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        self.log.parent.mkdir(mode=0o700, exist_ok=True)
        with self.log.open("ab") as log:
            # cwd: the user it runs as may be unable to enter ours, which postgres takes for a broken installation
            self.child = process.start(command, user=self._user, env=self._environment(), log=log, cwd=Path("/"))
        return self.child

    def _try(self, installation: Installation) -> bool:
        child = self.spawn(installation)
        deadline = time.monotonic() + 300  # recovery after a crash replays at most max_wal_size
        while child.poll() is None and time.monotonic() < deadline:
            if self.answers():
                return True
            time.sleep(0.05)
        child.kill()
        child.wait()
        self.child = None
        return False

    def answers(self) -> bool:
        try:
            self._connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self, database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url.replace(f"@/{DATABASE}?", f"@/{database}?"), connect_timeout=5, autocommit=True)

    def _create_database(self) -> None:
        with self._connect("postgres") as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def _publish(self) -> None:
        """For commands in other shells (auditlog.store.connect)."""
        file = self.folder / "database-url"
        file.unlink(missing_ok=True)
        private_file(file, self.url.encode())

    def stop(self) -> None:
        """Fast shutdown: open transactions roll back, a checkpoint is written. Only if it is our child."""
        child, self.child = self.child, None
        if child is None or child.poll() is not None:
            return
        for number, patience in ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
            child.send_signal(number)
            try:
                child.wait(patience)
                break
            except subprocess.TimeoutExpired:
                continue
        try:
            self.socket_folder().rmdir()  # the next start makes it again, under the name that was recorded
        except OSError:
            pass  # not empty: PostgreSQL had to be killed


def _reaches(user: pwd.struct_passwd, folder: Path) -> bool:
    """Whether the user may pass to the folder, asked of the kernel as that user (ACLs and mounts included)."""
    return process.run(["test", "-x", str(folder)], user=user, cwd=Path("/"))[0] == 0


def _runs(user: pwd.struct_passwd, installation: Installation) -> bool:
    try:
        return process.run([installation.program("initdb"), "--version"], user=user, cwd=Path("/"))[0] == 0
    except (OSError, subprocess.SubprocessError):
        return False


def tail(path: Path, lines: int = 12) -> str:
    """The last lines of a log file, for a message."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return "(it wrote nothing)"
    return "\n".join(text.splitlines()[-lines:]) or "(it wrote nothing)"


__all__ = ["Embedded", "PostgresError", "tail", "unprivileged_user"]
