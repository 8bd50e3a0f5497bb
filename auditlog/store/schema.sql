-- The evidence tables in their final shape (docs/adr/002-evidence-tables.md). Run once, by migration 0001.
-- Only auditlog.store.writer inserts here; nothing in the application updates or deletes except retention.

-- A bucket is one partition: retention class and period of receipt. bucket = class << 16 | days from 2020-01-01 to the period's start.
CREATE TABLE bucket (
    bucket        integer PRIMARY KEY,
    class_no      smallint NOT NULL,
    starts        timestamptz NOT NULL,
    ends          timestamptz NOT NULL,
    state         text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed', 'archived', 'disposed')),
    generation    bigint NOT NULL DEFAULT 1,  -- raised by disposition and erasure: what a cache knew of content is void
    idle          boolean NOT NULL DEFAULT true,  -- ingest may UPDATE this column only; that right is what FOR SHARE asks for
    occurred_min  timestamptz,
    occurred_max  timestamptz,
    events        bigint,
    CHECK (starts < ends)
);

CREATE SEQUENCE batch_no_seq AS bigint;

CREATE TABLE event (
    trace_key    uuid NOT NULL,
    bucket       integer NOT NULL,
    event_id     uuid NOT NULL,
    batch_no     bigint NOT NULL,
    project_id   integer NOT NULL,
    item         smallint NOT NULL,  -- 1 span, 2 log record, 3 REST event, 4 governance event, 5 unreadable
    occurred_at  timestamptz,        -- the item's own time, NULL: undated; never the server's clock
    received_at  timestamptz NOT NULL,
    trace_id     bytea,
    span_id      bytea,
    skeleton     bytea NOT NULL,     -- never erased; its SHA-256 is the digest of the event
    vals         bytea NOT NULL,     -- erasable
    PRIMARY KEY (trace_key, bucket, event_id)
) PARTITION BY LIST (bucket);
ALTER TABLE event ALTER COLUMN skeleton SET STORAGE EXTERNAL, ALTER COLUMN vals SET STORAGE EXTERNAL;
-- Several intervals a range: rows that find room in an older page do not make all between seem to be there. Summed up by ranges.py.
CREATE INDEX event_batch_no ON event USING brin (batch_no int8_minmax_multi_ops) WITH (pages_per_range = 32);

CREATE TABLE content (
    bucket       integer NOT NULL,
    content_key  bytea NOT NULL,     -- 4 bytes locality prefix, 16 bytes keyed BLAKE2b over the SHA-256 of the bytes
    codec        smallint NOT NULL DEFAULT 0,  -- 0 as they are; further codecs are versioned (store/content.py)
    key_id       integer NOT NULL DEFAULT 0,   -- 0 not encrypted
    bytes        bytea NOT NULL,
    PRIMARY KEY (bucket, content_key)
) PARTITION BY LIST (bucket);
ALTER TABLE content ALTER COLUMN bytes SET STORAGE EXTERNAL;

CREATE TABLE batch (
    batch_no      bigint PRIMARY KEY,
    project_id    integer NOT NULL,
    key_id        bigint,            -- NULL: written by the service itself
    protocol      smallint NOT NULL, -- 1 OTLP/HTTP protobuf, 2 OTLP/HTTP JSON, 3 OTLP/gRPC, 4 REST, 5 the service itself, 6 a file, 7 an export folder (manage.py import)
    received_at   timestamptz NOT NULL,
    system_id     bigint NOT NULL,   -- of the cluster that gave out xid: after a restore, older batches are read unconditionally
    xid           xid8 NOT NULL DEFAULT pg_current_xact_id(),
    acknowledged  integer NOT NULL,  -- events in the answer, duplicates included
    duplicates    integer NOT NULL,
    receipt_root  bytea NOT NULL     -- Merkle root over the digests of every acknowledged event
);
CREATE INDEX batch_xid ON batch (xid, batch_no);

CREATE TABLE part (
    batch_no  bigint NOT NULL REFERENCES batch,
    bucket    integer NOT NULL,
    count     integer NOT NULL,      -- stored events, 0 included
    root      bytea NOT NULL,        -- Merkle root over their digests
    PRIMARY KEY (batch_no, bucket)
);

-- Creates the partitions of one bucket: CREATE, then ATTACH, outside the ingest transaction, so that an open export blocks nobody
-- (CREATE ... PARTITION OF behind one stopped ingest for 5 s). Returns whether it made them. Two callers at once: one makes, one waits.
CREATE FUNCTION ensure_bucket(class_no_ integer, starts_ timestamptz, ends_ timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    number integer := (class_no_ << 16) | ((starts_ AT TIME ZONE 'UTC')::date - DATE '2020-01-01');
    suffix text := format('%s_%s', class_no_, to_char(starts_ AT TIME ZONE 'UTC', 'YYYYMMDD'));
BEGIN
    PERFORM 1 FROM bucket WHERE bucket = number;
    IF FOUND THEN RETURN false; END IF;
    IF class_no_ NOT BETWEEN 1 AND 32767 OR starts_ >= ends_ OR ends_ - starts_ > interval '32 days'
       OR starts_ > now() + interval '400 days' OR starts_ < now() - interval '62 days' THEN
        RAISE EXCEPTION 'ensure_bucket: class % from % to % is not a period that may be opened', class_no_, starts_, ends_;
    END IF;
    PERFORM pg_advisory_xact_lock(7205, number);
    PERFORM 1 FROM bucket WHERE bucket = number;
    IF FOUND THEN RETURN false; END IF;
    EXECUTE format('CREATE TABLE event_%s (LIKE event INCLUDING DEFAULTS INCLUDING STORAGE, PRIMARY KEY (trace_key, bucket, event_id), CHECK (bucket = %s))', suffix, number);
    EXECUTE format('CREATE TABLE content_%s (LIKE content INCLUDING DEFAULTS INCLUDING STORAGE, PRIMARY KEY (bucket, content_key), CHECK (bucket = %s))', suffix, number);
    EXECUTE format('ALTER TABLE event ATTACH PARTITION event_%s FOR VALUES IN (%s)', suffix, number);
    EXECUTE format('ALTER TABLE content ATTACH PARTITION content_%s FOR VALUES IN (%s)', suffix, number);
    INSERT INTO bucket (bucket, class_no, starts, ends) VALUES (number, class_no_, starts_, ends_);
    RETURN true;
END $$;
REVOKE EXECUTE ON FUNCTION ensure_bucket FROM PUBLIC;
