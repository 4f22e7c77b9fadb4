-- Counts of steps, and how long they took.

-- Counts the steps of the workflows that `filter` lets through, the newest workflow first, by what `asked` wants them told
-- apart: those of one look of `match_workflows`, or of the first of these that have `most_steps` together. `reached` says
-- up to which workflow, that one included; null: all there are. There is a row for that at least.
--
-- Steps have no index but their key: one would cost every step, for the sake of a question that is asked now and then.
CREATE FUNCTION dbos.count_steps(filter json, asked json, place bigint, look integer, most_steps integer)
RETURNS TABLE (reached bigint, step text, workflow text, outcome text, bucket timestamptz, steps integer, attempts bigint,
               oldest timestamptz, newest timestamptz, total_ms float8, longest_ms float8)
LANGUAGE plpgsql
STABLE
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  found_ids text[];
  chosen text[] := '{}';
  member text;
  room integer := most_steps;
  upto bigint;
  groups CONSTANT text[] := ARRAY(SELECT json_array_elements_text(asked->'groups'));
  names CONSTANT text[] := CASE WHEN asked->>'names' IS NOT NULL
                                THEN ARRAY(SELECT json_array_elements_text(asked->'names')) END;
  width CONSTANT interval := (asked->>'width_ms')::float8 * interval '1 millisecond';
  ended_after CONSTANT timestamptz := asked->>'ended_after';
  ended_before CONSTANT timestamptz := asked->>'ended_before';
BEGIN
  SELECT page.ids, page.reached INTO found_ids, upto
    FROM dbos.match_workflows(filter, true, place, look, look, 100000) AS page;
  FOREACH member IN ARRAY found_ids LOOP
    chosen := chosen || member;
    room := room - (SELECT count(*)
                      FROM (SELECT FROM dbos.steps s WHERE s.workflow_id = member LIMIT most_steps) AS counted);
    IF room <= 0 THEN
      upto := (SELECT w.seq FROM dbos.workflows w WHERE w.id = member LIMIT 1);
      EXIT;
    END IF;
  END LOOP;

  RETURN QUERY
  SELECT upto, CASE WHEN 'step' = ANY (groups) THEN s.name END, CASE WHEN 'workflow' = ANY (groups) THEN w.name END,
         CASE WHEN 'outcome' = ANY (groups) THEN CASE WHEN s.error IS NULL THEN 'succeeded' ELSE 'failed' END END,
         date_bin(width, s.completed_at, timestamptz 'epoch'), count(*)::integer, sum(s.attempts),
         min(s.completed_at), max(s.completed_at),
         (extract(epoch FROM sum(s.completed_at - s.started_at)) * 1000)::float8,
         (extract(epoch FROM max(s.completed_at - s.started_at)) * 1000)::float8
    FROM unnest(chosen) AS picked(id)
   CROSS JOIN LATERAL (SELECT * FROM dbos.workflows found WHERE found.id = picked.id LIMIT 1) AS w
   CROSS JOIN LATERAL (SELECT * FROM dbos.steps found WHERE found.workflow_id = picked.id) AS s
   WHERE (names IS NULL OR s.name = ANY (names))
     AND (ended_after IS NULL OR s.completed_at >= ended_after)
     AND (ended_before IS NULL OR s.completed_at < ended_before)
   GROUP BY 2, 3, 4, 5
   UNION ALL
  SELECT upto, NULL, NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL;
END
$$;
