"""Owns what is written for people into every export: what it is, how to check it, and a certification to fill in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Final

from auditlog.export.timestamps import Stamp

_FORMS: Final = {
    "html": "  index.html          open it in a browser: a list of the conversations, each a page in sessions/ to read or print\n",
    "csv": "  csv/                tables for a spreadsheet. Where a text could act as a formula an apostrophe stands before it, and the\n"
    '                      column "altered" names the cell\n',
    "otlp": "  otlp/               the spans and log records as OTLP/JSON, for a collector; what was not sent as OTLP is not in it\n",
    "parquet": "  parquet/            the same as typed tables for analysis\n",
}

_README: Final = """\
EXPORT OF RECORDS FROM AUDITLOG
Project:    {project}
Made at:    {made_at} (UTC)
Given to:   {recipient}
Purpose:    {purpose}

IN SHORT
--------
Auditlog keeps what AI agents reported about themselves, exactly as it was received. This folder holds a selection of those records, and
what is needed to check, without us and without our software, that each of them is the record that was stored, unchanged.

To check it, on any computer with Python 3.10 or later, in the folder above this one:

    python3 -m pip install cryptography
    python3 FOLDER/verify.py FOLDER

"Nothing is wrong with what was checked" at the end: every record is as it was sealed. "SOMETHING IS WRONG": the lines above it name the
record, request or file. FOLDER is the name of this folder. If what you doubt is whoever gave it to you, take verify.py from a place that
you trust, and not from this folder. Nothing is sent anywhere, nothing is changed.

WHAT IS WHAT
------------
The evidence:

  events/             the records, one a line. "otlp" or "rest" is the record as a person reads it; "skeleton" and "vals" are its bytes
  contents/           longer texts that records refer to, each once, by their SHA-256
  parts.jsonl         for each request that was received: what was sealed of it, and its path to the checkpoint
  checkpoint.txt      the signed statement of the log at {size} entries
  keys.json           the public keys that sign checkpoints; rotations.txt: how a new key was vouched for by the one before
  withheld.jsonl      what was left out of this copy although it is still kept, with the reason
  certificates/       what is not kept any more: dispositions.jsonl, deleted when its time was over, by whom and under which policy;
                      erasures.jsonl, fields that were erased, and by which requests. A file is there only if there was something to say
  timestamps/         what somebody else signed of the log, and when: see TIMESTAMPS. There only if it was asked
  manifest.json       what was asked for, for whom and why, and the SHA-256 of every other file

{forms}For you:

  verify.py           the program that checks all of it
  certification.txt   a form of certification for a court, to be filled in
  README.txt          this text

BEFORE YOU BEGIN
----------------
  1. Keep the folder as you received it, and work on a copy. Do not open files with a program that may save them again: one changed byte
     is found, and named, and cannot be told from a forged one.
  2. Write down the SHA-256 of manifest.json, which verify.py prints, with the date. By it two copies are known to be the same.

WHOSE SIGNATURE IS IT?
----------------------
Without anything from elsewhere, the check shows that this folder agrees with itself. To know who signed it, compare the key that
verify.py prints with one that the organisation published or gave you earlier, or tell verify.py:

    python3 FOLDER/verify.py FOLDER --key NAME+HASH+KEY
    python3 FOLDER/verify.py FOLDER --checkpoint FILE        (a checkpoint that you received independently, for instance months ago)

{timestamps}WHAT IS PROVEN, IF NOTHING IS WRONG
-----------------------------------
  - Each record in events/ is, byte for byte, the one that was stored when the request was received; none was changed since it was sealed.
  - Of a request that is here whole, no record was removed.
  - What was withheld, erased or deleted is named, with its number, and everything else is proven without it. In an export of a project or
    of a range of time the numbers of the certificates and what is missing are equal.
  - The key that verify.py prints signed a log in which all of this stands.

WHAT IS NOT PROVEN
------------------
  - That an agent reported everything that it did, and that what it reported is true.
  - That the clock of the service was right. Times of receipt are its own; times of occurrence are the sender's.
  - That there are no other records beside those that were asked for.
  - What manifest.json says of recipient, purpose and scope, and the reasons in withheld.jsonl: nobody signed them.
  - What the other forms say: pages, tables. They were made from the evidence, for reading. Cite the record, by its ID, not the page.
  - Who operated the service. A checkpoint that somebody else kept at the time is the better witness.

A record that was received twice, in two periods of storage, is here twice, with the same ID.
"""

_TIMESTAMPS: Final = """\
TIMESTAMPS
----------
An authority that is not the organisation signed that it saw a checkpoint of this log, and when, by its own clock (RFC 3161). If that is
right, what stands in the log up to that checkpoint was there by then, whatever any clock of the organisation says. verify.py does NOT check
it. You need OpenSSL, and the root certificate of the authority, which you take from the authority and not from here, as ROOT.pem:

{each}
"Verification: OK" at the end: it is that authority's timestamp of that checkpoint. The time stands in the timestamp itself, and is shown by
"openssl ts -reply -text -in" and the name of the .tsr file. A record is covered if the "index" of its request in parts.jsonl is less than
the number of entries. If the authority's certificate has expired since, add the option -attime with the number that stands there.
{earlier}
"""

_EARLIER: Final = """
Some of these are of an earlier checkpoint than checkpoint.txt. That the log only grew from there is shown by consistency-NUMBER.txt, in the
form of the C2SP specification tlog-witness; verify.py does NOT check it, software for such logs does.
"""

_CERTIFICATION: Final = """\
CERTIFICATION OF RECORDS GENERATED BY AN ELECTRONIC PROCESS OR SYSTEM, AND OF DATA COPIED FROM AN ELECTRONIC DEVICE
Federal Rules of Evidence 902(13), 902(14), with the requirements of 902(11) or 902(12)
(A form to fill in and to have reviewed by counsel. It is no legal advice, and it certifies nothing until a qualified person signs it.
Strike out what does not apply. An adverse party must be given reasonable written notice of the intent to offer the records, and the
records and this certification must be made available for inspection, before the trial or hearing: Rule 902(11).)

Matter:                ______________________________________________
Project exported:      {project}
Export made at:        {made_at} (UTC)
Entries in the log:    {size}
Root of the log:       {root}
SHA-256 of manifest.json (verify.py prints it; or run: sha256sum manifest.json):
                       ______________________________________________

A. THE PERSON

1. My name is ______________________. I am employed by ______________________ as ______________________.
   I am qualified to make this certification because of my knowledge of, and training or experience with, the system described in B:
   ______________________________________________

B. THE RECORDS WERE GENERATED BY A PROCESS OR SYSTEM THAT PRODUCES AN ACCURATE RESULT (Rule 902(13))

2. The system. The organisation runs Auditlog, version ______________, which receives records from software agents as they work and
   stores each record in the form in which it was received. It computes a SHA-256 digest of each record in the same transaction, puts the
   digests of each request into an append-only log, and signs the state of that log (a checkpoint).

3. Its operation. In the period of these records it ran in the regular course of business on ______________________ under the supervision
   of ______________________. The records were made at or near the time of what they describe, by the agents' software, as a regular
   practice: ______________________________________________

4. Its accuracy. The system produces an accurate result. I know this from ______________________
   (for instance: the regular verification of the whole store, last on ______________________, with the result ______________________;
   the clock of the machine was kept by ______________________). Known failures or interruptions in that period: ______________________

C. THE COPY IS A TRUE COPY, AUTHENTICATED BY A PROCESS OF DIGITAL IDENTIFICATION (Rule 902(14))

5. The attached folder is a copy of data from that system. It was made on the date above by the command or job: ______________________

6. The SHA-256 of every file is in manifest.json, whose own SHA-256 stands above. On ______________________ I ran verify.py (SHA-256 of
   the program: ______________________) with Python ________ and cryptography ________. It computed again the digest of every record and
   its path to the signed checkpoint, and ended with:
   ______________________________________________

7. The public key that signed the checkpoint, as verify.py printed it, is ______________________________________________
   It was known to me as the organisation's from: ______________________________________________

8. What the copy leaves out, and why, stands in withheld.jsonl and certificates/: ______________________________________________

D. WHAT IS NOT CERTIFIED

9. I do not certify that what the agents reported is true or complete, nor what pages, tables or other forms of the records in this folder
   say. They are for reading; the records in events/ are what is certified.

I declare under penalty of perjury under the laws of the United States of America that the foregoing is true and correct.
(28 U.S.C. 1746. Executed outside of the United States, for Rule 902(12): the law of ______________________, under which a false statement
would subject me to criminal penalty.)

Executed on ______________________ at ______________________.

Signature: ______________________
"""


def readme(
    *, project: str, made_at: str, recipient: str, purpose: str, size: int, formats: Sequence[str], stamps: Sequence[Stamp] = ()
) -> str:
    """README.txt. What people entered stands on one line each."""
    listed = "".join(text for name, text in _FORMS.items() if name in formats)
    forms = f"The same records in other forms, for reading. They are no evidence:\n\n{listed}\n" if listed else ""
    named = {name: _line(text) for name, text in {"project": project, "recipient": recipient, "purpose": purpose}.items()}
    return _README.format(**named, made_at=made_at, size=size, forms=forms, timestamps=_timestamps(stamps, size))


def _timestamps(stamps: Sequence[Stamp], size: int) -> str:
    if not stamps:
        return ""
    each = "".join(
        f"  {one.name}, {one.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, {one.size} entries (-attime {int(one.at.timestamp())}):\n"
        f"    openssl ts -verify -in FOLDER/timestamps/{one.name}-{one.size}.tsr \\\n"
        f"      -data FOLDER/timestamps/checkpoint-{one.size}.txt -CAfile ROOT.pem\n"
        for one in stamps
    )
    return _TIMESTAMPS.format(each=each, earlier=_EARLIER if any(one.size < size for one in stamps) else "")


def certification(*, project: str, made_at: str, size: int, root: str) -> str:
    """certification.txt."""
    return _CERTIFICATION.format(project=_line(project), made_at=made_at, size=size, root=root)


def _line(text: str) -> str:
    """On one line, and without what hides or moves text."""
    return "".join(one if one.isprintable() else "?" for one in " ".join(text.split()))
