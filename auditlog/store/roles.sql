-- Roles and what each may do; idempotent, run after every migration (store/roles.py). A process holds the least it needs:
-- a hole in the pages cannot change evidence, because the role of the pages has no right to.
DO $$
DECLARE
    role_name text;
    line record;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['auditlog_ingest', 'auditlog_web', 'auditlog_derive', 'auditlog_sealer', 'auditlog_retention'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- roles belong to the cluster; another database made it
        END;
        IF NOT pg_has_role(current_user, role_name, 'MEMBER') THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', role_name);
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', role_name);
    END LOOP;

    FOR line IN SELECT * FROM (VALUES
        ('auditlog_ingest', 'SELECT, INSERT', 'event'), ('auditlog_ingest', 'SELECT, INSERT', 'content'),
        ('auditlog_ingest', 'SELECT, INSERT', 'batch'), ('auditlog_ingest', 'SELECT, INSERT', 'part'),
        ('auditlog_ingest', 'SELECT, UPDATE (idle)', 'bucket'), ('auditlog_ingest', 'USAGE', 'SEQUENCE batch_no_seq'),
        ('auditlog_ingest', 'SELECT', 'project'), ('auditlog_ingest', 'SELECT, UPDATE (last_used_at)', 'api_key'),
        ('auditlog_ingest', 'EXECUTE', 'FUNCTION ensure_bucket'),
        ('auditlog_web', 'SELECT', 'event'), ('auditlog_web', 'SELECT', 'content'), ('auditlog_web', 'SELECT', 'batch'),
        ('auditlog_web', 'SELECT', 'part'), ('auditlog_web', 'SELECT', 'bucket'),
        ('auditlog_web', 'EXECUTE', 'FUNCTION ensure_bucket'),
        ('auditlog_derive', 'SELECT', 'event'), ('auditlog_derive', 'SELECT', 'content'), ('auditlog_derive', 'SELECT', 'batch'),
        ('auditlog_derive', 'SELECT', 'part'), ('auditlog_derive', 'SELECT', 'bucket'), ('auditlog_derive', 'SELECT', 'project'),
        ('auditlog_derive', 'EXECUTE', 'FUNCTION summarize_ranges'),
        -- The log: the sealer appends, pages read. It sees of evidence what it seals: batches and parts, no event.
        ('auditlog_sealer', 'SELECT', 'batch'), ('auditlog_sealer', 'SELECT', 'part'),
        ('auditlog_sealer', 'SELECT, INSERT', 'leaf'), ('auditlog_sealer', 'SELECT, INSERT', 'tile'),
        ('auditlog_sealer', 'SELECT, INSERT', 'checkpoint'), ('auditlog_sealer', 'SELECT, INSERT', 'log_key'),
        ('auditlog_sealer', 'SELECT, INSERT', 'anchor'),
        ('auditlog_web', 'SELECT', 'leaf'), ('auditlog_web', 'SELECT', 'tile'), ('auditlog_web', 'SELECT', 'checkpoint'),
        ('auditlog_web', 'SELECT', 'log_key'), ('auditlog_web', 'SELECT', 'anchor'),
        -- Retention: only the owner disposes. Ingest writes with each part which version of its class is in force.
        ('auditlog_ingest', 'SELECT', 'retention_class'), ('auditlog_ingest', 'SELECT', 'retention_rules'),
        ('auditlog_derive', 'SELECT', 'session_loss'),
        ('auditlog_derive', 'SELECT', 'disposition'), ('auditlog_web', 'SELECT', 'session_loss'), ('auditlog_web', 'SELECT', 'tombstone'),
        ('auditlog_web', 'SELECT, INSERT', 'retention_class'), ('auditlog_web', 'UPDATE (in_force_at, approved_by)', 'retention_class'),
        ('auditlog_web', 'SELECT, INSERT', 'hold'), ('auditlog_web', 'UPDATE (released_by, released_at, release_reason)', 'hold'),
        ('auditlog_web', 'SELECT', 'disposition'), ('auditlog_web', 'SELECT, INSERT', 'retention_rules'),
        ('auditlog_web', 'SELECT, INSERT', 'clock_event'), ('auditlog_web', 'SELECT, INSERT', 'reclassified'),
        ('auditlog_web', 'UPDATE (ended_by, ended_at, end_reason)', 'reclassified'),
        -- What was exported and to whom it was given cannot be unsaid from a page.
        ('auditlog_web', 'SELECT, INSERT, UPDATE', 'export_job'), ('auditlog_web', 'SELECT, INSERT', 'export_release'),
        -- Erasure: people enter and decide on the page, once; only the owner carries out, hides and lifts.
        ('auditlog_web', 'SELECT, INSERT (project_id, scope, reason, basis, asked_by, received_at, due_at, entered_by)', 'erasure'), ('auditlog_web', 'SELECT', 'erasure_content'),
        ('auditlog_web', 'UPDATE (state, outcome, fields, until, outcome_reason, decided_by, decided_at)', 'erasure'),
        ('auditlog_web', 'SELECT, INSERT (erasure, trace_key, event_id)', 'erasure_item'),
        ('auditlog_web', 'SELECT', 'restricted'), ('auditlog_derive', 'SELECT', 'restricted'),
        ('auditlog_web', 'SELECT', 'restricted_session'),
        ('auditlog_derive', 'SELECT', 'erasure'), ('auditlog_derive', 'SELECT', 'erasure_item')
    ) AS rights(role, privilege, object) LOOP
        IF line.object LIKE 'FUNCTION %' AND to_regproc(substr(line.object, 10)) IS NOT NULL OR line.object LIKE 'SEQUENCE %' OR to_regclass(line.object) IS NOT NULL THEN
            EXECUTE format('GRANT %s ON %s TO %I', line.privilege, line.object, line.role);
        END IF;
    END LOOP;

    -- Everything that is neither evidence, nor its log, nor Django's bookkeeping of migrations is governance or derived.
    FOR line IN SELECT c.relname AS name, c.relkind AS kind FROM pg_class c
                WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'S') AND NOT c.relispartition
                  AND c.relname NOT IN ('event', 'content', 'batch', 'part', 'bucket', 'batch_no_seq', 'django_migrations',
                                        'leaf', 'tile', 'checkpoint', 'log_key', 'anchor',
                                        'retention_class', 'retention_rules', 'clock_event', 'reclassified', 'hold', 'disposition', 'tombstone', 'session_loss',
                                        'export_job', 'export_release', 'erasure', 'erasure_item', 'erasure_content', 'restricted', 'restricted_session') LOOP
        IF line.kind = 'S' THEN
            EXECUTE format('GRANT USAGE, SELECT ON SEQUENCE %I TO auditlog_web, auditlog_derive', line.name);
        ELSE
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO auditlog_web', line.name);
            IF obj_description(format('%I', line.name)::regclass) = 'derived' THEN
                EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON %I TO auditlog_derive', line.name);
                EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON %I FROM auditlog_web', line.name);
            END IF;
        END IF;
    END LOOP;

    -- Without its secret no content of a project can be found again: whoever could change or delete this row could as well delete the
    -- evidence. What people may change of a project are its names, and whether it asks what content is read for.
    IF to_regclass('project') IS NOT NULL THEN
        REVOKE UPDATE, DELETE ON project FROM auditlog_web;
        GRANT UPDATE (name, slug) ON project TO auditlog_web;
        IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'project'::regclass AND attname = 'ask_purpose' AND NOT attisdropped) THEN
            GRANT UPDATE (ask_purpose) ON project TO auditlog_web;
        END IF;
    END IF;
END $$;
