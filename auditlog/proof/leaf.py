"""Owns the text of a leaf of the log (docs/adr/013): what a part of a batch was when it was sealed, as eleven lines. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, NamedTuple

_NUMBER: Final = r"(0|[1-9]\d{0,18})"
_HASH: Final = r"([0-9a-f]{64})"
_FORM: Final = re.compile(
    f"auditlog part 1\nbatch {_NUMBER}\nbucket {_NUMBER}\nproject {_NUMBER}\n"
    rf"received (\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{6}})Z" + f"\ncount {_NUMBER}\nroot {_HASH}\nacknowledged {_NUMBER}\n"
    f"duplicates {_NUMBER}\nreceipt {_HASH}\nclass {_NUMBER}\n",
    re.ASCII,
)


class Leaf(NamedTuple):
    """One part of a batch. root: over the digests of its `events`; receipt: over those of all `acknowledged` events of the batch;
    class_version: of the retention class in force when it was stored, 0 before there were versions."""

    batch: int
    bucket: int
    project: int
    received: datetime
    events: int
    root: bytes
    acknowledged: int
    duplicates: int
    receipt: bytes
    class_version: int


def entry(leaf: Leaf) -> bytes:
    """The text that is hashed, published and kept."""
    received = leaf.received.astimezone(UTC).isoformat(timespec="microseconds")[:26]
    return (
        f"auditlog part 1\nbatch {leaf.batch}\nbucket {leaf.bucket}\nproject {leaf.project}\nreceived {received}Z\ncount {leaf.events}\n"
        f"root {leaf.root.hex()}\nacknowledged {leaf.acknowledged}\nduplicates {leaf.duplicates}\nreceipt {leaf.receipt.hex()}\n"
        f"class {leaf.class_version}\n"
    ).encode("ascii")


def read(data: bytes) -> Leaf:
    """Raises ValueError for every text that `entry` does not make: of one leaf there is one text."""
    found = _FORM.fullmatch(data.decode("latin-1"))
    if found is None:
        raise ValueError("this is no entry of a leaf: its eleven lines are not those of docs/adr/013")
    batch, bucket, project, received, count, root, acknowledged, duplicates, receipt, class_version = found.groups()
    return Leaf(
        int(batch), int(bucket), int(project), datetime.fromisoformat(f"{received}+00:00"), int(count), bytes.fromhex(root),
        int(acknowledged), int(duplicates), bytes.fromhex(receipt), int(class_version),
    )  # fmt: skip
