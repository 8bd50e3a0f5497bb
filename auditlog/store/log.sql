-- The sealed log over the evidence (docs/adr/013-sealed-log.md). Run once, by migration 0015. Only the sealer inserts here; nobody updates or
-- deletes. What has been sealed is rows of its own: evidence is never updated for it.

-- The version of the retention class that was in force when the part was stored; 0: before there were versions.
ALTER TABLE part ADD COLUMN class_version integer NOT NULL DEFAULT 0;

-- One leaf per part of a batch. `entry` is the text that was hashed (auditlog/proof/leaf.py): it says what the part was when it was sealed.
CREATE TABLE leaf (
    leaf_index  bigint PRIMARY KEY CHECK (leaf_index >= 0),
    batch_no    bigint NOT NULL,
    bucket      integer NOT NULL,
    entry       bytea NOT NULL,
    sealed_at   timestamptz NOT NULL,
    UNIQUE (batch_no, bucket)
);

-- Complete tiles of the Merkle tree (C2SP tlog-tiles): 256 hashes of 32 bytes. Level 0 holds hashes of leaves; what is not yet 256 wide is
-- computed from the leaves, or from the tiles below.
CREATE TABLE tile (
    level    smallint NOT NULL CHECK (level >= 0),
    tile_no  bigint NOT NULL CHECK (tile_no >= 0),
    hashes   bytea NOT NULL CHECK (length(hashes) = 8192),
    PRIMARY KEY (level, tile_no)
);

-- Signed statements of the tree's size and root (C2SP tlog-checkpoint), the whole signed note as published.
CREATE TABLE checkpoint (
    size       bigint PRIMARY KEY CHECK (size >= 0),
    root       bytea NOT NULL CHECK (length(root) = 32),
    note       text NOT NULL,
    signed_at  timestamptz NOT NULL
);

-- Public keys that checkpoints are signed with; the private ones are in no database. A key signs from `from_size` on, until the next.
CREATE TABLE log_key (
    key_no        integer PRIMARY KEY,
    name          text NOT NULL,
    public_key    bytea NOT NULL UNIQUE CHECK (length(public_key) = 32),
    created_at    timestamptz NOT NULL,
    from_size     bigint NOT NULL
);

-- What others said of a checkpoint: a witness' signature, a timestamp, the name of a copy that cannot be written again.
CREATE TABLE anchor (
    size         bigint NOT NULL REFERENCES checkpoint,
    kind         text NOT NULL CHECK (kind IN ('witness', 'timestamp', 'copy')),
    name         text NOT NULL,
    proof        bytea NOT NULL,
    anchored_at  timestamptz NOT NULL,
    PRIMARY KEY (size, kind, name)
);
