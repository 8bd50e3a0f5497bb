-- Restriction: a fourth outcome of a request (docs/howto/erasure.md). Run once, by migration 0024. The evidence stays as it is; whoever
-- reads it over auditlog/store/reader.py finds no values in an event that has a row here.
CREATE TABLE restricted (
    project_id  integer NOT NULL,
    trace_key   uuid NOT NULL,
    event_id    uuid NOT NULL,
    erasure     bigint NOT NULL REFERENCES erasure,
    PRIMARY KEY (project_id, trace_key, event_id, erasure)
);
CREATE INDEX restricted_by ON restricted (erasure, trace_key);

ALTER TABLE erasure DROP CONSTRAINT erasure_outcome_check;
ALTER TABLE erasure ADD CONSTRAINT erasure_outcome_check CHECK (outcome IN ('erase', 'redact', 'restrict', 'refuse'));
ALTER TABLE erasure
    ADD COLUMN until timestamptz,        -- restrict: when it is to be looked at again; it does not end by itself
    ADD COLUMN lifted_by jsonb,
    ADD COLUMN lifted_at timestamptz,
    ADD COLUMN lift_reason text CHECK (lift_reason <> ''),
    ADD CHECK ((outcome IS NOT DISTINCT FROM 'restrict') = (until IS NOT NULL)),
    ADD CHECK ((lifted_at IS NULL) = (lifted_by IS NULL) AND (lifted_at IS NULL) = (lift_reason IS NULL)),
    ADD CHECK (lifted_at IS NULL OR outcome = 'restrict' AND state = 'ended');
