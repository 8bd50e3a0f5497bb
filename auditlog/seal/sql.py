"""Owns every SQL statement of the log, each with the purpose that it serves."""

from __future__ import annotations

from typing import Final, LiteralString

SYSTEM_ID: Final[LiteralString] = "SELECT system_identifier FROM pg_control_system()"
HORIZON: Final[LiteralString] = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"

# The first part without a leaf of this cluster, and of others: asked once per start, of all parts that there are.
_WITHOUT_LEAF: Final[LiteralString] = "NOT EXISTS (SELECT FROM leaf l WHERE l.batch_no = p.batch_no AND l.bucket = p.bucket)"
FIRST: Final[LiteralString] = f"""
    SELECT min(b.xid)::text FROM part p JOIN batch b ON b.batch_no = p.batch_no WHERE b.system_id = %s AND {_WITHOUT_LEAF}"""
FIRST_FOREIGN: Final[LiteralString] = f"""
    SELECT min(b.batch_no) FROM part p JOIN batch b ON b.batch_no = p.batch_no WHERE b.system_id <> %s AND {_WITHOUT_LEAF}"""

# Parts without a leaf, in the order of their transactions, below the horizon: as the background pass reads (derive/sql.py). From the
# watermark on there are few, but the planner cannot know that: OFFSET 0 keeps it from reading all parts and all leaves each time.
_PARTS: Final[LiteralString] = f"""
    CROSS JOIN LATERAL (SELECT p.* FROM part p WHERE p.batch_no = b.batch_no AND {_WITHOUT_LEAF} OFFSET 0) p"""
_PENDING: Final[LiteralString] = f"""
    SELECT b.batch_no, p.bucket, b.project_id, b.received_at, p.count, p.root, b.acknowledged, b.duplicates, b.receipt_root,
           p.class_version, b.xid::text
    FROM batch b {_PARTS}"""
PENDING: Final[LiteralString] = f"""{_PENDING}
    WHERE b.system_id = %(system_id)s AND b.xid >= %(watermark)s::text::xid8 AND b.xid < %(horizon)s::text::xid8
    ORDER BY b.xid, b.batch_no, p.bucket LIMIT %(limit)s"""
# The same of batches that another cluster numbered, before a restore: all of those are committed.
PENDING_FOREIGN: Final[LiteralString] = f"""{_PENDING}
    WHERE b.system_id <> %(system_id)s AND b.batch_no >= %(watermark)s::bigint ORDER BY b.batch_no, p.bucket LIMIT %(limit)s"""

# How far the log is: its leaves, and what was signed of them.
LEAVES: Final[LiteralString] = "SELECT coalesce(max(leaf_index) + 1, 0) FROM leaf"
HEAD: Final[LiteralString] = "SELECT size, root, note, signed_at FROM checkpoint ORDER BY size DESC LIMIT 1"

ADD_LEAVES: Final[LiteralString] = """
    INSERT INTO leaf (leaf_index, batch_no, bucket, entry, sealed_at)
    SELECT %s + n - 1, batch_no, bucket, entry, now()
    FROM unnest(%b::bigint[], %b::int[], %b::bytea[]) WITH ORDINALITY AS t (batch_no, bucket, entry, n)"""
ADD_TILES: Final[LiteralString] = """
    INSERT INTO tile (level, tile_no, hashes) SELECT * FROM unnest(%b::smallint[], %b::bigint[], %b::bytea[])"""
ADD_CHECKPOINT: Final[LiteralString] = "INSERT INTO checkpoint (size, root, note, signed_at) VALUES (%s, %s, %s, now())"

# The oldest committed batch that the horizon holds back.
HELD_BACK: Final[LiteralString] = """
    SELECT count(*), coalesce(extract(epoch FROM now() - min(received_at)), 0) FROM batch
    WHERE system_id = %s AND xid >= pg_snapshot_xmin(pg_current_snapshot())"""

ENTRIES: Final[LiteralString] = "SELECT entry FROM leaf WHERE leaf_index >= %s AND leaf_index < %s ORDER BY leaf_index"
TILES: Final[LiteralString] = """
    SELECT level, tile_no, hashes FROM tile JOIN unnest(%s::smallint[], %s::bigint[]) AS k (level, tile_no) USING (level, tile_no)"""
LEAF_OF: Final[LiteralString] = "SELECT leaf_index, entry FROM leaf WHERE batch_no = %s AND bucket = %s"

PLACE: Final[LiteralString] = """
    SELECT l.leaf_index, c.size, c.root, c.note, c.signed_at FROM leaf l CROSS JOIN LATERAL (
      SELECT * FROM checkpoint WHERE size > l.leaf_index ORDER BY size LIMIT 1) c
    WHERE l.batch_no = %s AND l.bucket = %s"""
CHECKPOINTS: Final[LiteralString] = """
    SELECT size, root, note, signed_at FROM checkpoint WHERE size < %s ORDER BY size DESC LIMIT %s"""
ANCHORS: Final[LiteralString] = """
    SELECT size, kind, name, anchored_at FROM anchor WHERE size = ANY(%s) ORDER BY size, kind, name"""
COSIGNATURES: Final[LiteralString] = "SELECT proof FROM anchor WHERE size = %s AND kind = 'witness' ORDER BY name"
KEYS: Final[LiteralString] = "SELECT name, public_key, created_at, from_size FROM log_key ORDER BY key_no"

# What is not sealed yet, above the horizon too. Leaves follow the order of transactions: all below the last leaf's are sealed.
LAST: Final[LiteralString] = """
    SELECT CASE WHEN b.system_id = s.system_identifier THEN b.xid::text END, s.system_identifier
    FROM pg_control_system() s LEFT JOIN (SELECT batch_no FROM leaf ORDER BY leaf_index DESC LIMIT 1) l ON true
    LEFT JOIN batch b ON b.batch_no = l.batch_no"""
_UNSEALED: Final[LiteralString] = f"""
    SELECT count(DISTINCT batch_no), coalesce(extract(epoch FROM now() - min(received_at)), 0) FROM (
      SELECT b.batch_no, b.received_at FROM batch b {_PARTS} WHERE (%(project_id)s::bigint IS NULL OR b.project_id = %(project_id)s)"""
UNSEALED: Final[LiteralString] = f"""{_UNSEALED}
      AND b.system_id = %(system_id)s AND b.xid >= %(watermark)s::text::xid8 ORDER BY b.xid LIMIT %(limit)s) s"""
UNSEALED_OF_ALL: Final[LiteralString] = f"{_UNSEALED} LIMIT %(limit)s) s"  # before the first leaf of this cluster
