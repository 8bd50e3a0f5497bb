"""Owns the checks that nothing about an export folder can be changed without the verifier naming it: one table of what a forger may try.

Each forger who can, mends the manifest afterwards, so that the SHA-256 of files gives nothing away.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auditlog.store import fields, unpack
from auditlog.verify import standalone
from tests import sealing
from tests.db.sealed.conftest import Stood

pytestmark = pytest.mark.django_db
EVENTS, CONTENTS, PARTS = "events/00001.jsonl", "contents/00001.jsonl", "parts.jsonl"
Lines = list[Any]


class Forger:
    """A copy of the export and what one may do to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stood: Stood

    def lines(self, path: str) -> Lines:
        return [json.loads(line) for line in (self.folder / path).read_bytes().splitlines()]

    def edit(self, path: str, change: Callable[[Lines], object]) -> str:
        """Changes the lines of a file. Returns what `change` names."""
        lines = self.lines(path)
        named = change(lines)
        (self.folder / path).write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        return str(named)

    def manifest(self, change: Callable[[dict[str, Any]], object]) -> None:
        path = self.folder / "manifest.json"
        manifest = json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(manifest))

    def mend(self) -> None:
        """The manifest names what is there now, as far as it names it."""

        def mended(manifest: dict[str, Any]) -> None:
            manifest["files"] = [one for one in manifest["files"] if (self.folder / one["path"]).exists()]
            for one in manifest["files"]:
                data = (self.folder / one["path"]).read_bytes()
                one |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
                one["records"] = data.count(b"\n") if one["path"].endswith(".jsonl") else None
            for name, path in {"events": EVENTS, "contents": CONTENTS, "parts": PARTS}.items():
                if (self.folder / path).exists():
                    manifest["counts"][name] = (self.folder / path).read_bytes().count(b"\n")

        self.manifest(mended)


def again(names: Callable[[Any], object]) -> Callable[[Lines], object]:
    """The first line a second time."""

    def run(lines: Lines) -> object:
        lines.append(lines[0])
        return names(lines[0])

    return run


def flip(text: str, place: int = 20) -> str:
    """Base64 or hex with one digit changed."""
    return text[:place] + ("1" if text[place] != "1" else "2") + text[place + 1 :]


def changed(name: str, change: Callable[[Any], Any], line: int = 0, names: str = "id") -> Callable[[Lines], object]:
    def run(lines: Lines) -> object:
        lines[line][name] = change(lines[line][name])
        return lines[line].get(names)

    return run


def swap_vals(lines: Lines) -> object:
    first, second = [line for line in lines if line["item"] == 1][:2]
    first["vals"], second["vals"] = second["vals"], first["vals"]
    return first["id"]


def other_batch(lines: Lines) -> object:
    old = lines[0]["batch"]
    lines[0]["batch"] = next(line["batch"] for line in lines if line["batch"] != old)
    return f"batch {old}"


def pretend_erased(lines: Lines) -> object:
    line = next(line for line in lines if fields.OTHER in unpack.parse(b64decode(line["skeleton"]), b64decode(line["vals"])).entries)
    line["vals"] = b64encode(unpack.erase(b64decode(line["vals"]), fields.OTHER)).decode()
    return line["id"]


def false_copy(lines: Lines) -> object:
    line = next(line for line in lines if "otlp" in line and "$400" in json.dumps(line["otlp"]))
    line["otlp"] = json.loads(json.dumps(line["otlp"]).replace("$400", "$40", 1))
    return line["id"]


def false_rest(lines: Lines) -> object:
    line = next(line for line in lines if "rest" in line)
    line["rest"] = line["rest"].replace("talk", "calk")
    return line["id"]


def no_copy(lines: Lines) -> object:
    line = next(line for line in lines if "otlp" in line)
    del line["otlp"]
    return line["id"]


def nested(lines: Lines) -> object:
    lines[0]["skeleton"] = b64encode(b"\x91" * 5000 + b"\xc0").decode()
    return lines[0]["id"]


def huge_array(lines: Lines) -> object:
    lines[0]["vals"] = b64encode(b"\x95\x01\xc0\xc0\x01\xdd\xff\xff\xff\xff").decode()
    return lines[0]["id"]


def loose_base64(lines: Lines) -> object:
    line = next(line for line in lines if line["vals"].endswith("="))
    end = line["vals"].rstrip("=")
    line["vals"] = end[:-1] + chr(ord(end[-1]) + 1) + "=" * (len(line["vals"]) - len(end))
    return line["id"]


def another_text(lines: Lines) -> object:
    line = next(line for line in lines if "text" in line)
    line["text"] += " not"
    return line["sha256"]


def swap_contents(lines: Lines) -> object:
    first, second = [line for line in lines if "text" in line][:2]
    first["text"], second["text"] = second["text"], first["text"]
    return first["sha256"]


def node_line(lines: Lines) -> int:
    return next(n for n, line in enumerate(lines) if "bytes" in line and b64decode(line["bytes"])[:2] == b"\xdc\x00")


def drop(place: Callable[[Lines], int] = lambda lines: 1, names: str = "id") -> Callable[[Lines], object]:
    return lambda lines: lines.pop(place(lines))[names]


def add_content(lines: Lines) -> object:
    text = "a letter that nobody wrote"
    lines.append({"sha256": hashlib.sha256(text.encode()).hexdigest(), "text": text})
    return lines[-1]["sha256"]


def entry_says(old: str, new: str) -> Callable[[Lines], object]:
    def run(lines: Lines) -> object:
        line = next(line for line in lines if old in line["entry"])
        line["entry"] = line["entry"].replace(old, new)
        return line["entry"].splitlines()[1]

    return run


def batch_of(line: Any) -> str:
    return str(line["entry"].splitlines()[1])


def break_path(lines: Lines) -> object:
    lines[3]["path"][0] = flip(lines[3]["path"][0])
    return batch_of(lines[3])


def move_leaf(lines: Lines) -> object:
    lines[3]["index"] += 1
    return batch_of(lines[3])


def partly(lines: Lines) -> object:
    """A whole part said to be one of which only some events are in the scope, without paths."""
    lines[0] |= {"whole": False, "events": {}, "withheld": []}
    return ""


def own_checkpoint(forger: Forger, key: Ed25519PrivateKey | None = None) -> str:
    checkpoint = standalone.read_checkpoint((forger.folder / "checkpoint.txt").read_text())
    note = sealing.note(checkpoint.size, b"\7" * 32, [key or Ed25519PrivateKey.generate()])
    (forger.folder / "checkpoint.txt").write_text(note)
    forger.manifest(lambda manifest: manifest["checkpoint"].update(root=(b"\7" * 32).hex()))
    return "checkpoint.txt"


def own_key(forger: Forger) -> str:
    path = forger.folder / "keys.json"
    keys = json.loads(path.read_text())
    keys[-1]["public_key"] = b64encode(sealing.public(Ed25519PrivateKey.generate())).decode()
    path.write_text(json.dumps(keys))
    return "checkpoint.txt"


def bytes_of(path: str, change: Callable[[bytes], bytes], named: str = "") -> Callable[[Forger], str]:
    def run(forger: Forger) -> str:
        file = forger.folder / path
        file.write_bytes(change(file.read_bytes()))
        return named or path

    return run


def link_out(forger: Forger) -> str:
    (forger.folder / "README.txt").unlink()
    (forger.folder / "README.txt").symlink_to("/etc/passwd")
    return "README.txt"


def outside(forger: Forger) -> str:
    forger.manifest(lambda manifest: manifest["files"].append({"path": "../x.jsonl", "sha256": "0" * 64, "bytes": 1, "records": None}))
    return "../x.jsonl"


def remove(path: str) -> Callable[[Forger], str]:
    def run(forger: Forger) -> str:
        (forger.folder / path).unlink()
        return path.partition("/0")[0]

    return run


def count(name: str) -> Callable[[Forger], str]:
    def run(forger: Forger) -> str:
        forger.manifest(lambda manifest: manifest["counts"].update({name: manifest["counts"][name] + 1}))
        return f"{name}, there are"

    return run


def said(named: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Forger], str]:
    def run(forger: Forger) -> str:
        forger.manifest(change)
        return named

    return run


def outside_the_range(manifest: dict[str, Any]) -> None:
    manifest["scope"]["to"] = "2020-01-01T00:00:00.000000Z"


def edit(path: str, change: Callable[[Lines], object]) -> Callable[[Forger], str]:
    return lambda forger: forger.edit(path, change)


def false_erasure(lines: Lines) -> object:
    lines.append(lines[0] | {"field": 8})
    return lines[0]["id"]


def other_size(forger: Forger) -> str:
    forger.manifest(lambda manifest: manifest["checkpoint"].update(size=1))
    return "checkpoint.txt"


def without_a_signature(data: bytes) -> bytes:
    """The last line removed."""
    return data[: data.rindex("—".encode())]


def other_signature(data: bytes) -> bytes:
    """A digit of the first signature changed."""
    place = data.index("—".encode()) + 60
    return data[:place] + (b"A" if data[place : place + 1] != b"A" else b"B") + data[place + 1 :]


def without_the_first_signature(data: bytes) -> bytes:
    start = data.index("—".encode())
    return data[:start] + data[data.index(b"\n", start) + 1 :]


def twice_in_json(data: bytes) -> bytes:
    return data.replace(b'{"id":', b'{"id":"0","id":', 1)


def reversed_lines(lines: Lines) -> object:
    lines.reverse()
    return EVENTS


MENDED: dict[str, tuple[str, Callable[[Forger], str]]] = {
    "a digit of a skeleton": ("event_unproven|unreadable|root_differs", edit(EVENTS, changed("skeleton", flip, names="batch"))),
    "a digit of values": ("field_changed|unreadable", edit(EVENTS, changed("vals", lambda text: flip(text, len(text) - 9)))),
    "the values of another event": ("field_changed", edit(EVENTS, swap_vals)),
    "a field is said to be erased": ("field_unaccounted", edit(EVENTS, pretend_erased)),
    "a word in the copy for people": ("copy_differs", edit(EVENTS, false_copy)),
    "a word in a REST event": ("copy_differs", edit(EVENTS, false_rest)),
    "no copy for people": ("copy_differs", edit(EVENTS, no_copy)),
    "a trace ID in its column": ("column_changed", edit(EVENTS, changed("trace_id", lambda text: "0" * 32))),
    "a time of occurrence": ("column_changed", edit(EVENTS, changed("occurred_at", lambda text: "2020" + text[4:]))),
    "a time of receipt": ("column_changed", edit(EVENTS, changed("received_at", lambda text: "2020" + text[4:]))),
    "a project": ("column_changed", edit(EVENTS, changed("project", lambda number: number + 1))),
    "the kind of an item": ("column_changed", edit(EVENTS, changed("item", lambda number: number % 5 + 1))),
    "the ID of an event": ("column_changed", edit(EVENTS, changed("id", lambda text: text[:40] + "0" * 24))),
    "an event removed": ("count_differs", edit(EVENTS, drop(names="batch"))),
    "an event doubled": ("event_twice", edit(EVENTS, again(lambda line: line["id"]))),
    "an event under another batch": ("count_differs", edit(EVENTS, other_batch)),
    "a batch number that was never sealed": ("event_unproven", edit(EVENTS, changed("batch", lambda number: 2**40))),
    "a number that is too large": ("unreadable", edit(EVENTS, lambda lines: (lines[0].update(batch=2**63), f"{EVENTS}:1")[1])),
    "MessagePack nested without end": ("unreadable", edit(EVENTS, nested)),
    "an array of four billion": ("unreadable", edit(EVENTS, huge_array)),
    "base64 that says the same otherwise": ("unreadable", edit(EVENTS, loose_base64)),
    "JSON nested without end": ("unreadable", bytes_of(EVENTS, lambda data: data + b"[" * 100_000 + b"\n", EVENTS)),
    "a key twice in JSON": ("unreadable", bytes_of(EVENTS, twice_in_json, f"{EVENTS}:1")),
    "NaN": ("unreadable", bytes_of(EVENTS, lambda data: data.replace(b'"item":1', b'"item":NaN', 1), f"{EVENTS}:")),
    "no UTF-8": ("unreadable", bytes_of(EVENTS, lambda data: data.replace(b'{"id"', b'{"\xff"', 1), f"{EVENTS}:1")),
    "half a line": ("unreadable", bytes_of(EVENTS, lambda data: data[:-50], EVENTS)),
    "a line that is no object": ("unreadable", bytes_of(EVENTS, lambda data: b"7\n" + data, f"{EVENTS}:1")),
    "a content with another text": ("content_changed", edit(CONTENTS, another_text)),
    "two contents swapped": ("content_changed", edit(CONTENTS, swap_contents)),
    "a content removed": ("content_missing", edit(CONTENTS, drop(lambda lines: 0, "sha256"))),
    "a node removed": ("content_missing", edit(CONTENTS, drop(node_line, "sha256"))),
    "a content added": ("content_stray", edit(CONTENTS, add_content)),
    "a content doubled": ("content_twice", edit(CONTENTS, again(lambda line: line["sha256"]))),
    "all contents": ("content_missing", lambda forger: remove(CONTENTS)(forger) and ""),
    "the chunk of events renamed": ("file_missing", lambda forger: rename(forger, EVENTS, "events/00002.jsonl")),
    "an entry with another count": ("leaf_unproven", edit(PARTS, entry_says("acknowledged ", "acknowledged 1"))),
    "an entry with another project": ("leaf_unproven", edit(PARTS, entry_says("project ", "project 1"))),
    "an entry with a line more": ("unreadable", edit(PARTS, lambda lines: (lines[0].update(entry=lines[0]["entry"] + "x\n"), PARTS)[1])),
    "a digit of a path": ("leaf_unproven", edit(PARTS, break_path)),
    "a leaf at another index": ("leaf_unproven|part_twice", edit(PARTS, move_leaf)),
    "a part removed": ("event_unproven", edit(PARTS, lambda lines: f"{batch_of(lines.pop())} ")),
    "a part doubled": ("part_twice", edit(PARTS, again(batch_of))),
    "a whole part said to be some of it": ("event_unproven", edit(PARTS, partly)),
    "a checkpoint of somebody else's": ("signature_wrong", own_checkpoint),
    "a key of somebody else's": ("signature_wrong", own_key),
    "a digit of the signature": ("signature_wrong", bytes_of("checkpoint.txt", lambda data: data[:-9] + b"AAAA" + data[-5:])),
    "a checkpoint that is none": ("checkpoint_unreadable", bytes_of("checkpoint.txt", lambda data: data[:40])),
    "a rotation that one key signed": ("rotation_unvouched", bytes_of("rotations.txt", without_a_signature, "checkpoint.txt")),
    "rotations that are none": ("checkpoint_unreadable", bytes_of("rotations.txt", lambda data: b"x" + data[:90], "checkpoint.txt")),
    "the old key's signature is not its own": ("signature_wrong", bytes_of("checkpoint.txt", other_signature)),
    "the old key's signature removed": ("checkpoint_differs", bytes_of("checkpoint.txt", without_the_first_signature)),
    "one signature twice": ("checkpoint_unreadable", bytes_of("checkpoint.txt", lambda data: data + data[data.rindex("—".encode()) :])),
    "a wrong signature among rotations": ("signature_wrong", bytes_of("rotations.txt", other_signature, "checkpoint.txt")),
    "no key": ("key_unknown", bytes_of("keys.json", lambda data: b"[]\n", "checkpoint.txt")),
    "an erasure taken back": ("field_unaccounted", lambda forger: forger.edit("certificates/erasures.jsonl", drop(lambda lines: 0))),
    "an erasure that is none": ("withheld_differs", edit("certificates/erasures.jsonl", false_erasure)),
    "events in another order are the same events": ("", edit(EVENTS, reversed_lines)),
}  # fmt: skip

NOT_MENDED: dict[str, tuple[str, Callable[[Forger], str]]] = {
    "a byte of the README": ("file_changed", bytes_of("README.txt", lambda data: data.replace(b"records", b"recordz", 1))),
    "events in another order": ("file_changed", edit(EVENTS, reversed_lines)),
    "a file truncated": ("file_changed", bytes_of(PARTS, lambda data: data[: len(data) // 2])),
    "the chunk of events": ("file_missing", remove(EVENTS)),
    "a file more": ("file_stray", lambda forger: str((forger.folder / "events-corrected.jsonl").write_text("") or "events-corrected")),
    "a link": ("file_unsafe", link_out),
    "a path out of the folder": ("file_outside", outside),
    "a count of events": ("count_differs", count("events")),
    "a count of contents": ("count_differs", count("contents")),
    "a count of parts": ("count_differs", count("parts")),
    "a count of what is withheld": ("count_differs", count("withheld")),
    "a checkpoint in the manifest": ("checkpoint_differs", other_size),
    "a manifest that is no JSON": ("unreadable", bytes_of("manifest.json", lambda data: data[:-5])),
    "a line more in the manifest": ("unreadable", said("manifest", lambda manifest: manifest.update(approved_by="a judge"))),
    "a line more in the manifest's scope": ("unreadable", said("manifest", lambda manifest: manifest["scope"].update(all=True))),
    "a line more in the manifest's project": ("unreadable", said("manifest", lambda manifest: manifest["project"].update(owner="a judge"))),
    "a line more about a file": ("unreadable", said("manifest", lambda manifest: manifest["files"][0].update(certified=True))),
    "a form that nobody knows": ("unreadable", said("manifest", lambda manifest: manifest["formats"].append("pdf"))),
    "a time that is none": ("unreadable", said("manifest", lambda manifest: manifest.update(made_at="yesterday"))),
    "a range that the events are outside of": ("part_stray", said("batch", outside_the_range)),
    "a manifest of another form": ("unreadable", bytes_of("manifest.json", lambda data: b"[]")),
}  # fmt: skip


def rename(forger: Forger, old: str, new: str) -> str:
    (forger.folder / old).rename(forger.folder / new)

    def named(manifest: dict[str, Any]) -> None:
        for one in manifest["files"]:
            one["path"] = new if one["path"] == old else one["path"]

    forger.manifest(named)
    return "events"


@pytest.fixture
def forger(folder: Path, tmp_path: Path) -> Forger:
    shutil.copytree(folder, tmp_path / "copy", copy_function=os.link)
    for path in (tmp_path / "copy").rglob("*"):
        if path.is_file():  # a copy that may be written to without touching the export of the module
            data = path.read_bytes()
            path.unlink()
            path.write_bytes(data)
    return Forger(tmp_path / "copy")


def judge(forger: Forger, codes: str, named: str) -> None:
    out = io.StringIO()
    status = standalone.main([str(forger.folder)], out)
    said = out.getvalue()
    if not codes:
        assert status == 0, said
        return
    assert status == 1, said
    faults = [line for line in said[said.index(" faults\n") :].splitlines() if line.startswith("  ")]
    assert any(fault.split()[0] in codes.split("|") and named in fault for fault in faults), (codes, named, faults)


@pytest.mark.parametrize("what", MENDED)
def test_a_forger_who_mends_the_manifest_is_named(what: str, forger: Forger) -> None:
    codes, change = MENDED[what]
    named = change(forger)
    if what != "the chunk of events renamed":
        forger.mend()
    judge(forger, codes, named)


@pytest.mark.parametrize("what", NOT_MENDED)
def test_what_contradicts_the_manifest_is_named(what: str, forger: Forger) -> None:
    codes, change = NOT_MENDED[what]
    judge(forger, codes, change(forger))


def test_a_folder_without_a_manifest_cannot_be_checked(tmp_path: Path) -> None:
    out = io.StringIO()
    assert standalone.main([str(tmp_path)], out) == 2 and "could not be checked" in out.getvalue()
