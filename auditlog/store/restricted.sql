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

-- The sessions that restricted events were in. What identified them may be hidden, and with it what a hold or a clock asks for: all that is
-- in them, and comes to them later, is held and waits until the restriction is lifted.
CREATE TABLE restricted_session (
    project_id   integer NOT NULL,
    session_key  text NOT NULL,
    erasure      bigint NOT NULL REFERENCES erasure,
    PRIMARY KEY (project_id, session_key, erasure)
);

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

-- The pages enter and decide, once; whoever carries out must find what was decided (roles.sql gives the pages these columns).
CREATE FUNCTION erasure_decided() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.outcome IS NOT NULL AND (NEW.outcome, NEW.fields, NEW.until, NEW.outcome_reason, NEW.decided_by, NEW.decided_at)
        IS DISTINCT FROM (OLD.outcome, OLD.fields, OLD.until, OLD.outcome_reason, OLD.decided_by, OLD.decided_at) THEN
        RAISE EXCEPTION 'request % was decided before', OLD.id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER erasure_decided BEFORE UPDATE ON erasure FOR EACH ROW EXECUTE FUNCTION erasure_decided();

CREATE FUNCTION erasure_planned() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM made m JOIN erasure e ON e.id = m.erasure WHERE e.state <> 'open') THEN
        RAISE EXCEPTION 'what a decided request concerns does not change';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER erasure_planned AFTER INSERT ON erasure_item REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION erasure_planned();
