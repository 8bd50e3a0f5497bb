-- The index by batch number is summed up by whoever reads by it (auditlog/store/ranges.py). Run once, by migration 0028.
--
-- autosummarize asks for it through a list of 256 places that is worked off once a minute, range by range: above some 500 events a second (at 7 a
-- page and 16 pages a range) what does not fit is not summed up until a VACUUM, and every look for a batch reads all of it.
-- since: the first page that may not be summed up; NULL: nobody knows. Returns the next one, or since where the table was busy.
CREATE FUNCTION summarize_ranges(number integer, since bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
    by_batch regclass;
    pages integer;  -- of a range
    whole bigint;
BEGIN
    SELECT i.indexrelid, (SELECT option_value::int FROM pg_options_to_table(x.reloptions) WHERE option_name = 'pages_per_range'),
      pg_relation_size(i.indrelid) / current_setting('block_size')::int INTO by_batch, pages, whole
    FROM bucket b JOIN pg_class c ON c.relname = format('event_%s_%s', b.class_no, to_char(b.starts AT TIME ZONE 'UTC', 'YYYYMMDD'))
      AND c.relnamespace = 'public'::regnamespace
    JOIN pg_index i ON i.indrelid = c.oid JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am a ON a.oid = x.relam AND a.amname = 'brin'
    WHERE b.bucket = number;
    IF by_batch IS NULL THEN RETURN since; END IF;
    whole := whole / pages * pages;
    IF since IS NULL THEN
        PERFORM brin_summarize_new_values(by_batch);
    ELSE
        FOR page IN since .. whole - 1 BY pages LOOP  -- never the last one, which is being written
            PERFORM brin_summarize_range(by_batch, page);
        END LOOP;
    END IF;
    RETURN greatest(whole, since);
EXCEPTION WHEN lock_not_available OR undefined_table OR undefined_object THEN
    RETURN since;  -- VACUUM does it itself; a bucket that was written anew begins anew
END $$;
REVOKE EXECUTE ON FUNCTION summarize_ranges FROM PUBLIC;

DO $$
DECLARE
    each regclass;
BEGIN
    FOR each IN SELECT i.indexrelid FROM pg_inherits h JOIN pg_index i ON i.indrelid = h.inhrelid JOIN pg_class x ON x.oid = i.indexrelid
                JOIN pg_am a ON a.oid = x.relam AND a.amname = 'brin' WHERE h.inhparent = 'event'::regclass LOOP
        EXECUTE format('ALTER INDEX %s SET (autosummarize = off)', each);
    END LOOP;
END $$;
