-- What was done to a workflow goes with it when retention removes it: its record would grow for ever. What somebody deletes
-- leaves its record behind.

-- As it was, and takes the actions along.
CREATE OR REPLACE FUNCTION dbos.remove_ended_workflows(
  outcome text, max_age_ms float8, kept_from bigint, place bigint, at_most integer
)
RETURNS TABLE (removed integer, reached bigint, is_busy boolean)
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  too_old CONSTANT timestamptz := now() - max_age_ms * interval '1 millisecond';
  chosen text[];
  looked integer;
  first_seq bigint;
  first_arrival timestamptz;
BEGIN
  removed := 0;
  is_busy := NOT pg_try_advisory_xact_lock(hashtextextended('nestjs-dbos retention', 0));
  IF is_busy OR outcome NOT IN ('SUCCESS', 'ERROR', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED') THEN
    RETURN NEXT;
    RETURN;
  END IF;

  WITH page AS MATERIALIZED (
    SELECT w.id, w.seq, w.parent_id, coalesce(w.imported_at, w.created_at) AS arrived_at,
           greatest(w.completed_at, w.imported_at) AS counted_from
      FROM dbos.workflows w
     WHERE w.status = outcome COLLATE "C" AND w.seq > place
     ORDER BY w.seq
     LIMIT at_most
  )
  SELECT count(*), min(page.seq), max(page.seq), min(page.arrived_at),
         ARRAY(SELECT page.id
                 FROM page
                 LEFT JOIN LATERAL (
                        SELECT w.status FROM dbos.workflows w WHERE w.id = page.parent_id LIMIT 1) AS parent ON true
                WHERE (page.counted_from < too_old OR page.seq < kept_from)
                  AND coalesce(parent.status IN ('SUCCESS', 'ERROR'), true))
    INTO looked, first_seq, reached, first_arrival, chosen
    FROM page;
  IF looked < at_most
     OR coalesce(first_arrival >= too_old, true) AND coalesce(first_seq >= kept_from, true) THEN
    reached := NULL;
  END IF;

  chosen := ARRAY(
    SELECT w.id
      FROM dbos.workflows w
     WHERE w.id = ANY (chosen) AND w.status = outcome
     ORDER BY w.id
       FOR UPDATE SKIP LOCKED);
  DELETE FROM dbos.steps s WHERE s.workflow_id = ANY (chosen);
  DELETE FROM dbos.messages m WHERE m.workflow_id = ANY (chosen);
  DELETE FROM dbos.events e WHERE e.workflow_id = ANY (chosen);
  DELETE FROM dbos.tokens t WHERE t.workflow_id = ANY (chosen);
  DELETE FROM dbos.stream_entries e WHERE e.workflow_id = ANY (chosen);
  DELETE FROM dbos.workflow_actions a WHERE a.workflow_id = ANY (chosen);
  DELETE FROM dbos.workflows w WHERE w.id = ANY (chosen);
  removed := coalesce(cardinality(chosen), 0);
  RETURN NEXT;
END
$$;
