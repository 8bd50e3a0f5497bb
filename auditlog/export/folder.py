"""Owns how an export folder comes to be: events, contents, parts with their paths, keys, papers, and the manifest last (docs/adr/013).

Constant memory; each query is a transaction of its own; whatever kills it, the same call goes on after the last complete file
(auditlog/export/files.py), and the finished folder has the same bytes as one that was never interrupted.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import psycopg

from auditlog import verify
from auditlog.errors import Problem
from auditlog.export import certificates, papers, timestamps
from auditlog.export.choice import Choice, Leaf, Row, Wish, Withheld, newest
from auditlog.export.files import MANIFEST, Chunks, Draft, Files
from auditlog.export.forms import write as forms
from auditlog.export.forms.sessions import Renderer
from auditlog.export.paths import Paths
from auditlog.item import Rest, Unreadable
from auditlog.otlp_json import Documents
from auditlog.proof import merkle
from auditlog.store import arrays, unpack
from auditlog.store.content import decode
from auditlog.store.pack import content_key
from auditlog.store.reader import Content, Reader, Secrets, Stored, parsed, public_id, restricted

FORMAT: Final = "auditlog-export/1"
VERIFIER: Final = Path(verify.__file__).with_name("standalone.py")
_AT_ONCE: Final = 1_000  # events whose content is in memory: more of them leave the processor's cache before their turn (docs/bench)
_CONTENTS: Final = 500  # read at once
_encode = msgspec.json.Encoder().encode

Tell = Callable[[int], None]
"""Called now and then with how many events were written by this call. What it raises ends the export; the next call goes on."""


class Exported(NamedTuple):
    """not_sealed: events in the scope that were left out because no checkpoint covers them yet."""

    events: int
    contents: int
    parts: int
    withheld: int
    bytes: int
    not_sealed: int


def export(
    conn: psycopg.Connection[Any], secrets: Secrets, wish: Wish, folder: Path, tell: Tell = lambda _: None, render: Renderer | None = None
) -> Exported:
    """Writes the folder, or the rest of it. `conn` reads, in autocommit. Raises Problem, OSError; calling again goes on.

    render: sets the pages, where the wish has the form html.
    """
    forms.check(wish.formats, render)  # before there is a folder
    with Files(folder) as files:
        return fill(conn, secrets, wish, files, tell, render)


def fill(
    conn: psycopg.Connection[Any], secrets: Secrets, wish: Wish, files: Files, tell: Tell = lambda _: None, render: Renderer | None = None
) -> Exported:
    """The same into a folder that the caller has opened, and may watch, of forms that there are (`forms.check`)."""
    begun = _begin(conn, files, wish)
    certificates.unchanged(conn, wish, begun["dispositions"])
    if begun["not_sealed"] is None:
        begun |= _covered(conn, files, wish)
        forms.choose(conn, files, wish)
        files.put("begun", begun)
        files.commit()
    choice = Choice(conn, files, wish, begun["size"])
    written = _events(conn, files, choice, secrets, wish, tell)
    _contents(conn, files)
    _parts(files, choice, Paths(conn, begun["size"]))
    files.step = lambda: tell(written)
    forms.write(conn, secrets, files, wish, begun, render)
    _papers(conn, files, wish, begun)
    certificates.unchanged(conn, wish, begun["dispositions"])
    return _manifest(files, wish, begun)


def _begin(conn: psycopg.Connection[Any], files: Files, wish: Wish) -> dict[str, Any]:
    """What was decided when the export began: the checkpoint and the moment. Raises Problem for a folder of another wish."""
    known = files.get("begun")
    if known is None:
        begun = {"made_at": timestamp_now(), "not_sealed": None}
        return begun | {"wish": msgspec.to_builtins(wish), "dispositions": [number for number, _ in certificates.of(conn, wish)]}
    if known["wish"] != msgspec.to_builtins(wish):
        raise Problem("parameter_invalid", f"{files.folder} was begun with another scope, recipient or purpose. Name another folder.")
    return dict(known)


def _covered(conn: psycopg.Connection[Any], files: Files, wish: Wish) -> dict[str, Any]:
    """The checkpoint that the export is of: the newest; or the newest that is timestamped, where nothing of the scope came after it."""
    grows = wish.trace_keys is None and wish.until is None
    heads = [newest(conn)] if grows else [*timestamps.newest(conn), newest(conn)]
    for head in heads:
        choice = Choice(conn, files, wish, head[0])
        if not (not_sealed := choice.begin()):
            break
    size, root, note = head
    begun = {"size": size, "root": root.hex(), "note": note, "not_sealed": not_sealed}
    return begun | {"timestamps": timestamps.choose(conn, size, choice.last())}


def timestamp(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def timestamp_now() -> str:
    return timestamp(datetime.now(UTC))


def _events(conn: psycopg.Connection[Any], files: Files, choice: Choice, secrets: Secrets, wish: Wish, tell: Tell) -> int:
    """Returns how many were written now."""
    chunks = Chunks(files, "events")
    if chunks.done:
        return 0
    hidden: dict[str, list[int]] = {}
    for one in wish.withheld:
        if one.field is not None:
            hidden.setdefault(one.id, []).append(one.field)
    if chunks.at is None:
        files.put(certificates.NOTED, True)  # a program that did not note them may have begun this folder
    after = (-1, "") if chunks.at is None else (chunks.at[0], chunks.at[1])
    reader, documents = Reader(conn, secrets), Documents()
    written = 0
    for leaves in choice.leaves(max(after[0], 0)):
        found = choice.events(leaves)
        held_back = restricted(conn, [row for _, row in found])
        portion = []
        for leaf, row in found:
            public = public_id(row[0], row[1])
            if (leaf, public) > after:
                request = held_back.get((row[4], row[0], row[1])) if held_back else None
                portion.append((leaf, _hide(row, hidden.get(public, ()), request, files)))
        for start in range(0, len(portion), _AT_ONCE):
            page, content = portion[start : start + _AT_ONCE], Content()
            loaded = reader.page([row for _, row in page], content)
            _want(files, secrets, content)  # before the lines: a chunk that becomes complete commits this with it
            for (leaf, row), stored in zip(page, loaded, strict=True):
                if stored.gone and stored.id not in hidden and (stored.project_id, stored.trace_key, stored.event_id) not in held_back:
                    _erased(files, stored.id, stored.gone)
                chunks.add(*event_line(row, stored, documents), at=(leaf, stored.id))
                certificates.note(files, stored, chunks)
        written += len(portion)
        tell(written)
    chunks.finish()
    return written


def _erased(files: Files, public: str, gone: Sequence[int]) -> None:
    files.db.executemany("INSERT OR IGNORE INTO erased VALUES (?, ?)", [(public, field) for field in gone])


def _hide(row: Row, hidden: Sequence[int], request: int | None, files: Files) -> Row:
    """The row without what is withheld. Of a row from which something is hidden here, what was erased before is written down first."""
    if not hidden and request is None:
        return row
    public, vals = public_id(row[0], row[1]), bytes(row[8])
    apart = parsed(row)
    _erased(files, public, apart.gone)
    if request is not None:
        files.db.executemany("INSERT OR IGNORE INTO restricted VALUES (?, ?, ?)", [(public, field, request) for field in apart.values])
        return (*row[:8], unpack.blank(vals), *row[9:])
    for field in hidden:
        vals = unpack.erase(vals, field)
    return (*row[:8], vals, *row[9:])


def _want(files: Files, secrets: Secrets, content: Content) -> None:
    """Writes down where the content of some events lies.

    In the order of the places, which is that of the table: by hash, each row of a large export cost more than twice as much (docs/bench).
    """
    places = sorted(
        (bucket.to_bytes(4) + content_key(secrets(project), prefix, sha), sha)
        for (project, bucket, prefix), found in content.items()
        for sha in found
    )
    files.db.executemany("INSERT OR IGNORE INTO placed VALUES (?, ?)", places)


def event_line(row: Row, stored: Stored, documents: Documents) -> tuple[bytes, ...]:
    """One stored event as a line of JSON in pieces, the item for people last: OTLP/JSON as such, a REST event as the text that was sent."""
    _, _, bucket, batch_no, project_id, received, occurred, skeleton, vals, kind, trace_id, span_id = row
    line = {
        "id": stored.id, "batch": batch_no, "bucket": bucket, "project": project_id, "item": kind,
        "occurred_at": None if occurred is None else timestamp(occurred), "received_at": timestamp(received),
        "trace_id": None if trace_id is None else bytes(trace_id).hex(), "span_id": None if span_id is None else bytes(span_id).hex(),
        "skeleton": skeleton, "vals": vals,  # which are written in base64
    }  # fmt: skip
    item = stored.item
    if isinstance(item, Rest):
        line["rest"] = item.raw().decode(errors="replace")
    if isinstance(item, (Rest, Unreadable)):
        return _encode(line), b"\n"
    return _encode(line)[:-1], b',"otlp":', *documents.pieces(item), b"}\n"


def content_line(sha: bytes, data: bytes) -> tuple[bytes, bytes]:
    try:
        return _encode({"sha256": sha.hex(), "text": data.decode()}), b"\n"
    except UnicodeDecodeError:
        return _encode({"sha256": sha.hex(), "bytes": data}), b"\n"  # in base64


def _once(files: Files) -> None:
    """Of several places of the same content leaves the first, whatever came first."""
    if files.get("placed once"):
        return
    files.db.execute(
        "DELETE FROM placed WHERE place IN (SELECT place FROM "
        "(SELECT place, sha256, lag(sha256) OVER (ORDER BY sha256, place) AS before FROM placed) AS sorted WHERE sha256 = before)"
    )
    files.put("placed once", True)
    files.commit()


def _contents(conn: psycopg.Connection[Any], files: Files) -> None:
    chunks = Chunks(files, "contents")
    if chunks.done:
        return
    arrays.register(conn)
    _once(files)
    place = bytes.fromhex(chunks.at[0] if chunks.at else "")
    page = "SELECT place, sha256 FROM placed WHERE place > ? ORDER BY place LIMIT ?"
    while rows := files.db.execute(page, (place, _CONTENTS)).fetchall():
        found: dict[bytes, bytes] = {}
        for bucket in sorted({row[0][:4] for row in rows}):
            keys = [row[0][4:] for row in rows if row[0][:4] == bucket]
            query = "SELECT content_key, codec, bytes FROM content WHERE bucket = %s AND content_key = ANY(%s)"
            for key, codec, data in conn.execute(query, (int.from_bytes(bucket), arrays.Byteas(keys)), binary=True).fetchall():
                found[bucket + key] = decode(codec, data)
        for place, sha in rows:
            if place in found:  # what was erased since its event was read is named by the verifier
                chunks.add(*content_line(sha, found[place]), at=(place.hex(),))
    chunks.finish()


def _parts(files: Files, choice: Choice, log: Paths) -> None:
    """One file, written whole: killed in between it is written again."""
    if any(one.path == "parts.jsonl" for one in files.all()):
        return
    draft = Draft(files)
    for leaves in choice.leaves():
        for leaf in leaves:
            if line := _part_line(choice, log, leaf):
                draft.add(_encode(line), b"\n")
    draft.keep("parts.jsonl", draft.lines)


def _part_line(choice: Choice, log: Paths, leaf: Leaf) -> dict[str, Any] | None:
    path = [step.hex() for step in log.of(leaf.number)]
    line: dict[str, Any] = {"index": leaf.number, "entry": leaf.entry.decode(), "path": path, "whole": True}
    if choice.whole(leaf):
        return line
    digests, places, withheld = choice.chosen(leaf)
    if not (places or withheld or choice.everything()):
        return None
    if len(places) == leaf.events:
        return line
    paths = merkle.inclusions(digests, places.values()) if places else {}
    events = {name: {"index": place, "path": [step.hex() for step in paths[place]]} for name, place in sorted(places.items())}
    return line | {"whole": False, "events": events, "withheld": withheld}


def _withheld(files: Files, wish: Wish) -> list[Withheld]:
    """What was asked to be left out, and what is restricted besides; each field once."""
    asked = {(one.id, one.field) for one in wish.withheld}
    rows = files.db.execute("SELECT id, field, request FROM restricted ORDER BY id, field")
    hidden = [Withheld(public, field, "restricted on request", f"request {n}") for public, field, n in rows if (public, field) not in asked]
    return [*wish.withheld, *hidden]


def _papers(conn: psycopg.Connection[Any], files: Files, wish: Wish, begun: dict[str, Any]) -> None:
    """Checkpoint, keys, what was left out, and what a person reads."""
    keys = conn.execute(
        "SELECT name, public_key, created_at, from_size FROM log_key WHERE from_size <= %s ORDER BY from_size, key_no", (begun["size"],)
    ).fetchall()
    rotations = [
        row[0]
        for *_, size in keys[1:]
        for row in conn.execute("SELECT note FROM checkpoint WHERE size >= %s ORDER BY size LIMIT 1", (size,)).fetchall()
    ]
    listed = [
        {"name": name, "public_key": b64encode(key).decode(), "created_at": timestamp(at), "from_size": size}
        for name, key, at, size in keys
    ]
    erased = list(certificates.erased(conn, files, wish.project_id))
    files.write("checkpoint.txt", begun["note"].encode())
    files.write("keys.json", msgspec.json.format(_encode(listed)) + b"\n")
    files.write("rotations.txt", "".join(rotations).encode())
    withheld = _withheld(files, wish)
    files.write("withheld.jsonl", b"".join(_encode(one) + b"\n" for one in withheld), len(withheld))
    if disposed := [certificate for _, certificate in certificates.of(conn, wish)]:
        files.write("certificates/dispositions.jsonl", b"".join(_encode(one) + b"\n" for one in disposed), len(disposed))
    if erased:
        files.write(certificates.ERASURES, b"".join(_encode(one) + b"\n" for one in erased), len(erased))
    files.write("verify.py", VERIFIER.read_bytes())
    stamps = timestamps.write(conn, files, begun.get("timestamps", []), begun["size"], begun["note"])
    about = {"project": wish.project, "made_at": begun["made_at"], "size": begun["size"]}
    readme = papers.readme(**about, recipient=wish.recipient, purpose=wish.purpose, formats=wish.formats, stamps=stamps)
    files.write("README.txt", readme.encode())
    files.write("certification.txt", papers.certification(**about, root=begun["root"]).encode())


def _manifest(files: Files, wish: Wish, begun: dict[str, Any]) -> Exported:
    listed = [one for one in files.all() if one.path != MANIFEST]
    counts = {
        "events": files.count("events/"), "contents": files.count("contents/"), "parts": files.count("parts.jsonl"),
        "withheld": len(_withheld(files, wish)),
    }  # fmt: skip
    manifest = {
        "format": FORMAT, "made_at": begun["made_at"], "project": {"id": wish.project_id, "name": wish.project},
        "scope": {
            "sessions": wish.sessions or None, "from": wish.since and timestamp(wish.since), "to": wish.until and timestamp(wish.until),
            "sealed_to": begun["size"], "not_sealed": begun["not_sealed"],
        },
        "recipient": wish.recipient, "purpose": wish.purpose, "formats": sorted({"jsonl", *wish.formats}), "counts": counts,
        "files": [one._asdict() for one in listed],
        "checkpoint": {"size": begun["size"], "root": begun["root"]},
    }  # fmt: skip
    files.finish(msgspec.json.format(_encode(manifest)) + b"\n")
    return Exported(**counts, bytes=sum(one.bytes for one in listed), not_sealed=begun["not_sealed"])
