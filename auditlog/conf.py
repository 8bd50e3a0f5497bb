"""Owns every setting that the environment may set: name, default, reading, and a sentence of documentation each.

Reading fails loudly: a value that cannot be understood names the variable, the value and what would be right.
`docs/reference/settings.md` lists the same names; a test compares the two.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

ROOT: Final = Path(__file__).resolve().parent.parent


class SettingError(Exception):
    """A setting that cannot be read: says which variable, which value and what to write instead."""


class Setting(NamedTuple):
    name: str
    default: str
    read: Callable[[str], Any]
    doc: str


def _text(value: str) -> str:
    return value


def _path(value: str) -> Path:
    path = Path(value).expanduser()
    return path if path.is_absolute() else ROOT / path


def _path_or_none(value: str) -> Path | None:
    return _path(value) if value else None


def _origin(value: str) -> str:
    if "+" in value or any(letter.isspace() or ord(letter) < 32 for letter in value):
        raise ValueError("must have no space and no plus sign")
    return value


def _count(value: str) -> int:
    number = int(value)
    if number < 1:
        raise ValueError("must be 1 or more")
    return number


def _rate(value: str) -> int:
    number = int(value)
    if number < 1_000_000:  # what is not a complete file yet is written again after an interruption, and has to end between two
        raise ValueError("must be 1000000 or more")
    return number


def _bucket(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc):
        raise ValueError("must be s3://bucket or s3://bucket/prefix")
    return value


def _count_or_none(value: str) -> int | None:
    return _count(value) if value else None


def _flag(value: str) -> bool:
    if value.lower() in ("1", "true", "yes", "on"):
        return True
    if value.lower() in ("0", "false", "no", "off", ""):
        return False
    raise ValueError("must be 1 or 0")


def _address(value: str) -> tuple[str, int]:
    host, colon, port = value.rpartition(":")
    if not colon or not host:
        raise ValueError("must be host:port, for instance 127.0.0.1:8000")
    number = int(port)
    if not 1 <= number <= 65535:
        raise ValueError("port must be 1 to 65535")
    return host.strip("[]"), number


def _witnesses(value: str) -> list[tuple[str, str]]:
    found = []
    for one in _names(value):
        key, space, url = one.partition(" ")
        host = urlsplit(url).hostname or ""
        if not space or not (url.startswith("https://") or (url.startswith("http://") and host in ("localhost", "127.0.0.1", "::1"))):
            raise ValueError("must be `name+id+key https://address`, several with commas; http:// is for localhost alone")
        found.append((key, url.rstrip("/")))
    return found


def _authorities(value: str) -> list[tuple[str, str, bytes]]:
    """(name, address, what is in the file of certificates)."""
    found = []
    for one in _names(value):
        name, url, file = [*one.split(" ", 2), "", ""][:3]
        parts = urlsplit(url)
        if not (re.fullmatch("[a-z0-9][a-z0-9.-]{0,62}", name) and parts.scheme in ("http", "https") and parts.hostname and file):
            raise ValueError("must be `name https://address file.pem`, several with commas; a name has a-z, 0-9, `.` and `-`")
        try:
            found.append((name, url, _path(file).read_bytes()))
        except OSError as error:
            raise ValueError(f"the file of certificates of {name} cannot be read ({type(error).__name__})") from error
    if len({name for name, *_ in found}) != len(found):
        raise ValueError("names an authority twice")
    return found


def _names(value: str) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()]


SETTINGS: Final[dict[str, Setting]] = {
    s.name: s
    for s in (
        Setting("AUDITLOG_DATA", "var", _path, "Folder of the embedded PostgreSQL, the keys and `first-run.json`."),
        Setting("DATABASE_URL", "", _text, "PostgreSQL to use (an owner's URL). Empty: an embedded PostgreSQL is started."),
        Setting("AUDITLOG_INGEST_DATABASE_URL", "", _text, "URL of the ingest role. Empty: the owner's URL with SET ROLE."),
        Setting("AUDITLOG_WEB_DATABASE_URL", "", _text, "URL of the web role. Empty: the owner's URL with SET ROLE."),
        Setting("AUDITLOG_DERIVE_DATABASE_URL", "", _text, "URL of the derive role. Empty: the owner's URL with SET ROLE."),
        Setting("AUDITLOG_SEALER_DATABASE_URL", "", _text, "URL of the sealer's role. Empty: the owner's URL with SET ROLE."),
        Setting("AUDITLOG_LOG_ORIGIN", "", _origin, "Name of the sealed log and its key. Empty: `auditlog/` and the cluster's identifier."),
        Setting("AUDITLOG_LOG_KEY", "", _path_or_none, "File of the log's private key. Empty: `log.key` in AUDITLOG_DATA."),
        Setting("AUDITLOG_LOG_PUBLIC", "0", _flag, "Show checkpoints and tiles of the log under `/log/v1/` to everybody, without a key."),
        Setting("AUDITLOG_ANCHOR_DIR", "", _path_or_none, "Folder into which checkpoints are copied, a file each. Empty: nowhere."),
        Setting(
            "AUDITLOG_WITNESSES", "", _witnesses, "Witnesses that cosign checkpoints: `name+id+key https://address`, several with commas."
        ),
        Setting(
            "AUDITLOG_TIMESTAMP_AUTHORITIES",
            "",
            _authorities,
            "Authorities that timestamp checkpoints (RFC 3161): `name https://address roots.pem`, several with commas.",
        ),
        Setting("AUDITLOG_UNSAFE_DATABASE", "0", _flag, "Store on a PostgreSQL whose settings lose data (docs/operate/postgresql.md)."),
        Setting("AUDITLOG_HTTP", "127.0.0.1:8000", _address, "Address of pages, read API and REST ingest."),
        Setting("AUDITLOG_OTLP_HTTP", "127.0.0.1:4318", _address, "Address of OTLP over HTTP."),
        Setting("AUDITLOG_OTLP_GRPC", "127.0.0.1:4317", _address, "Address of OTLP over gRPC."),
        Setting("AUDITLOG_WORKERS", "2", _count, "Processes that answer OTLP over HTTP."),
        Setting("AUDITLOG_DEMO", "1", _flag, "Load the demo sessions on the first start."),
        Setting("AUDITLOG_MAX_BODY", str(64 * 1024 * 1024), _count, "Largest request body after decompression, in bytes."),
        Setting("AUDITLOG_BODY_TIMEOUT", "10", _count, "Seconds that a client may take to send a request body."),
        Setting("AUDITLOG_QUOTA_ITEMS", "", _count_or_none, "Items that one key may store a second, on average. Empty: no quota."),
        Setting("AUDITLOG_QUOTA_BYTES", "", _count_or_none, "Bytes of request bodies that one key may store a second. Empty: no quota."),
        Setting("AUDITLOG_QUERY_TIMEOUT", "10", _count, "Seconds after which a search or a page gives up a query of the database."),
        Setting("AUDITLOG_EXPORTS", "", _path_or_none, "Folder of exports until they expire. Empty: `exports` in AUDITLOG_DATA."),
        Setting("AUDITLOG_EXPORT_DAYS", "30", _count, "Days after which the files of an export are removed; its record stays."),
        Setting(
            "AUDITLOG_EXPORT_STORE",
            "",
            _bucket,
            "Where finished exports are copied to: s3://bucket/prefix. Keys, region and endpoint: AWS_*. Empty: nowhere.",
        ),
        Setting("AUDITLOG_EXPORT_RATE", "20000000", _rate, "Bytes that an export writes a second, at most; 1000000 or more."),
        Setting("AUDITLOG_VERIFY_PAUSE", "100", _count, "Milliseconds that the daily verification rests after each portion."),
        Setting("AUDITLOG_BROKER_URL", "", _text, "Celery broker (amqp:// or redis://). Empty: PostgreSQL is the broker."),
        Setting("AUDITLOG_ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]", _names, "Host names under which the pages may be reached."),
        Setting("AUDITLOG_TLS", "0", _flag, "A proxy in front speaks TLS: cookies are sent over TLS only."),
        Setting("AUDITLOG_SESSION_IDLE", "3600", _count, "Seconds without a request after which a login ends."),
        Setting("AUDITLOG_SESSION_LENGTH", "43200", _count, "Seconds after which a login ends, whatever happened since."),
        Setting(
            "AUDITLOG_BACKUP_EXPIRY",
            "as your backups expire",
            _text,
            "When disposed evidence is gone from backups, as certificates say it.",
        ),
        Setting("AUDITLOG_SECRET_KEY", "", _text, "Secret of Django's sessions. Empty: made once and kept in AUDITLOG_DATA."),
    )
}


def get(name: str) -> Any:
    """The value of a setting, read from the environment now. Raises SettingError."""
    setting = SETTINGS[name]
    value = os.environ.get(name, setting.default)
    try:
        return setting.read(value)
    except ValueError as error:
        raise SettingError(f"{name}={value!r} cannot be read: {error}. {setting.doc}") from error
