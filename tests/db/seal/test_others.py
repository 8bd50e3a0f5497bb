"""Owns that an implementation that is not ours, sigstore's in JavaScript, accepts our checkpoints and proofs, and nothing that was changed.

It checks no consistency proofs: that a newer checkpoint begins with an older one is shown by the older one's leaves, each of which it finds
at the same index in both. Consistency proofs are tested with published vectors (tests/unit/proof/test_tree.py).
"""

from __future__ import annotations

import json
import shutil
import subprocess
from base64 import b64decode, b64encode
from typing import Any

import pytest

from auditlog.proof import note, tree
from auditlog.seal.log import Log
from tests.db.seal.conftest import Seals
from tests.pages import ROOT

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; these tests commit over connections of their own

FOLDER = ROOT / "tests" / "javascript"
if shutil.which("node") is None or not (FOLDER / "node_modules" / "@sigstore").is_dir():
    raise RuntimeError("The other implementation needs Node.js and its packages. Run: make tests/javascript/node_modules/.stamp")

SIGNATURE = "invalid checkpoint signature"
ROOT_DIFFERS = "calculated root hash does not match inclusion proof"

Case = dict[str, Any]


def judged(cases: list[Case]) -> list[str]:
    """What sigstore says of each."""
    done = subprocess.run(
        ["node", "checkpoints.mjs"], cwd=FOLDER, input="".join(f"{json.dumps(case)}\n" for case in cases), capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    found = done.stdout.splitlines()
    assert len(found) == len(cases)
    return found


def case(store: Log, key: note.Key, checkpoint: tuple[int, bytes, str], index: int, entry: bytes) -> Case:
    size, root, text = checkpoint
    path = [b64(one) for one in tree.inclusion(index, size, store.nodes(size))]
    return {"key": key.text(), "note": text, "entry": b64(entry), "index": index, "size": size, "root": b64(root), "path": path}


def b64(data: bytes) -> str:
    return b64encode(data).decode()


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_sigstore_accepts_every_leaf_under_each_of_our_checkpoints_and_refuses_one_changed_byte(seals: Seals) -> None:
    seals.send(3)
    work = seals.start()
    work.round()
    seals.plant(297)  # more than one tile
    work.round()
    (key,), entries, checkpoints = seals.keys(), seals.entries(), seals.checkpoints()
    assert seals.conn is not None and [size for size, _, _ in checkpoints] == [3, 300]
    store = Log(seals.conn)
    small, large = ([case(store, key, one, index, entries[index]) for index in range(one[0])] for one in checkpoints)
    whole = large[1]
    text, (signature,) = note.parse(whole["note"])
    path = whole["path"]
    paths = [[*path[:at], b64(flipped(b64decode(path[at]), 0)), *path[at + 1 :]] for at in range(len(path))]
    changed = [
        (SIGNATURE, [whole | {"note": signed(text, signature, at)} for at in range(len(signature.data))]),
        (SIGNATURE, [whole | {"key": note.Signer(key.name, b"?" * 32).key.text()}]),
        (ROOT_DIFFERS, [whole | {"entry": b64(flipped(entries[1], at))} for at in range(len(entries[1]))]),
        (ROOT_DIFFERS, [whole | {"path": one} for one in paths]),
        (ROOT_DIFFERS, [whole | {"index": 0}, small[1] | {"root": whole["root"]}]),
        ("root hash mismatch", [whole | {"note": small[0]["note"]}]),
    ]  # fmt: skip
    of_text = [whole | {"note": whole["note"].replace(text, flipped(text.encode(), at).decode(), 1)} for at in range(len(text))]
    expected = ["accepted"] * 303 + [why for why, some in changed for _ in some]
    found = judged([*small, *large, *(one for _, some in changed for one in some), *of_text])
    assert found[: len(expected)] == expected
    assert "accepted" not in found[len(expected) :]  # some are no checkpoint any more, and it says so in other words


def signed(text: str, signature: note.Signature, at: int) -> str:
    return note.add(f"{text}\n", [signature._replace(data=flipped(signature.data, at))])
