-- Lists and counts of workflows by whatever they can be found by.

ALTER TABLE dbos.workflows
  ADD COLUMN IF NOT EXISTS forked_from text COLLATE "C", -- the workflow whose history this one began with
  ADD COLUMN imported_at timestamptz;                    -- when it arrived from elsewhere; created_at is older then

-- The forks of a workflow; most workflows are nobody's fork and cost nothing here.
CREATE INDEX IF NOT EXISTS workflows_forked_from_idx ON dbos.workflows (forked_from) WHERE forked_from IS NOT NULL;

-- What is asked for; null: whatever. `…_after` is included, `…_before` is not.
CREATE TYPE dbos.workflow_filter AS (
  ids                  text[],
  id_prefix            text,
  id_length            integer,
  statuses             text[],
  names                text[],
  queues               text[],
  on_queue             boolean,
  executor_ids         text[], -- or the configured names that they begin with
  application_versions text[],
  parent_ids           text[],
  has_parent           boolean,
  forked_from          text[],
  is_fork              boolean,
  deduplication_id     text,
  has_error            boolean,
  attributes           jsonb,
  created_after        timestamptz,
  created_before       timestamptz,
  started_after        timestamptz,
  started_before       timestamptz,
  completed_after      timestamptz,
  completed_before     timestamptz
);

-- Whether a workflow is what is asked for, its ids and status aside.
CREATE FUNCTION dbos.workflow_matches(w dbos.workflows, f dbos.workflow_filter) RETURNS boolean
LANGUAGE sql STABLE
RETURN (f.names IS NULL OR w.name = ANY (f.names))
   AND (f.id_prefix IS NULL OR starts_with(w.id, f.id_prefix))
   AND (f.id_length IS NULL OR length(w.id) = f.id_length)
   AND (f.queues IS NULL OR w.queue = ANY (f.queues))
   AND (f.on_queue IS NULL OR (w.queue IS NOT NULL) = f.on_queue)
   AND (f.executor_ids IS NULL OR w.executor_id = ANY (f.executor_ids)
        OR regexp_replace(w.executor_id, '#[^#]*$', '') = ANY (f.executor_ids))
   AND (f.application_versions IS NULL OR w.application_version = ANY (f.application_versions))
   AND (f.parent_ids IS NULL OR w.parent_id = ANY (f.parent_ids))
   AND (f.has_parent IS NULL OR (w.parent_id IS NOT NULL) = f.has_parent)
   AND (f.forked_from IS NULL OR w.forked_from = ANY (f.forked_from))
   AND (f.is_fork IS NULL OR (w.forked_from IS NOT NULL) = f.is_fork)
   AND (f.deduplication_id IS NULL OR w.deduplication_id = f.deduplication_id)
   AND (f.has_error IS NULL OR (w.error IS NOT NULL) = f.has_error)
   AND (f.attributes IS NULL OR w.attributes @> f.attributes)
   AND (f.created_after IS NULL OR w.created_at >= f.created_after)
   AND (f.created_before IS NULL OR w.created_at < f.created_before)
   AND (f.started_after IS NULL OR w.started_at >= f.started_after)
   AND (f.started_before IS NULL OR w.started_at < f.started_before)
   AND (f.completed_after IS NULL OR w.completed_at >= f.completed_after)
   AND (f.completed_before IS NULL OR w.completed_at < f.completed_before);

-- The next workflows that are asked for, in the order of their arrival: at most `at_most` ids of those that come after
-- `place` (before it, when the newest come first). `reached` says how far was looked: all up to there (it included) that
-- match are among the ids, unless these are as many as may be; null: all there are.
--
-- What has an index of its own for a few workflows is looked up there. A filter that no index serves would need one more
-- index entry for every start and every end of a workflow, for the sake of a question that is asked now and then; so the
-- walk goes along the index of the statuses instead, `look` workflows of each of them in one statement, and its caller
-- goes on from where it got. The same goes for what is looked up and turns out to be more than `few`: its page is soon full.
CREATE FUNCTION dbos.match_workflows(
  filter json, newest_first boolean, place bigint, look integer, few integer, at_most integer
)
RETURNS TABLE (ids text[], reached bigint)
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
  f dbos.workflow_filter := json_populate_record(NULL::dbos.workflow_filter, filter);
  chosen text[];
  latest timestamptz;
BEGIN
  IF f.ids IS NOT NULL THEN
    chosen := f.ids;
  END IF;
  IF chosen IS NULL AND f.parent_ids IS NOT NULL THEN
    chosen := ARRAY(SELECT w.id FROM dbos.workflows w WHERE w.parent_id = ANY (f.parent_ids) LIMIT few + 1);
    chosen := CASE WHEN cardinality(chosen) <= few THEN chosen END;
  END IF;
  IF chosen IS NULL AND f.forked_from IS NOT NULL THEN
    chosen := ARRAY(SELECT w.id FROM dbos.workflows w WHERE w.forked_from = ANY (f.forked_from) LIMIT few + 1);
    chosen := CASE WHEN cardinality(chosen) <= few THEN chosen END;
  END IF;
  IF chosen IS NULL AND f.id_prefix IS NOT NULL THEN -- no id is longer than the highest of characters so often
    chosen := ARRAY(SELECT w.id
                      FROM dbos.workflows w
                     WHERE w.id >= f.id_prefix AND w.id <= f.id_prefix || repeat(chr(1114111), 128)
                     ORDER BY w.id
                     LIMIT few + 1);
    chosen := CASE WHEN cardinality(chosen) <= few THEN chosen END;
  END IF;
  IF chosen IS NULL AND f.attributes IS NOT NULL THEN
    chosen := ARRAY(SELECT w.id
                      FROM dbos.workflows w
                     WHERE w.attributes IS NOT NULL AND w.attributes @> f.attributes
                     LIMIT few + 1);
    chosen := CASE WHEN cardinality(chosen) <= few THEN chosen END;
  END IF;

  IF chosen IS NOT NULL THEN
    ids := ARRAY(
      SELECT found.id
        FROM (SELECT DISTINCT given.id FROM unnest(chosen) AS given(id)) AS asked
       CROSS JOIN LATERAL (
               SELECT w.id, w.seq, w.status, dbos.workflow_matches(w, f) AS matches
                 FROM dbos.workflows w
                WHERE w.id = asked.id
                LIMIT 1) AS found
       WHERE found.matches AND found.status = ANY (f.statuses)
         AND CASE WHEN newest_first THEN found.seq < place ELSE found.seq > place END
       ORDER BY CASE WHEN newest_first THEN -found.seq ELSE found.seq END
       LIMIT at_most);
    RETURN NEXT;
    RETURN;
  END IF;

  WITH looked AS MATERIALIZED (
    SELECT asked.status, page.*
      FROM unnest(f.statuses) AS asked(status)
     CROSS JOIN LATERAL (
             (SELECT w.id, w.seq, dbos.workflow_matches(w, f) AS matches,
                     coalesce(w.imported_at, w.created_at) AS arrived_at
                FROM dbos.workflows w
               WHERE newest_first AND w.status = asked.status COLLATE "C" AND w.seq < place
               ORDER BY w.seq DESC
               LIMIT look)
              UNION ALL
             (SELECT w.id, w.seq, dbos.workflow_matches(w, f), coalesce(w.imported_at, w.created_at)
                FROM dbos.workflows w
               WHERE NOT newest_first AND w.status = asked.status COLLATE "C" AND w.seq > place
               ORDER BY w.seq
               LIMIT look)) AS page
  ), line AS ( -- how far each status was looked through that goes on
    SELECT CASE WHEN newest_first THEN min(looked.seq) ELSE max(looked.seq) END AS reached
      FROM looked
     GROUP BY looked.status
    HAVING count(*) >= look
  ), nearest AS (
    SELECT CASE WHEN newest_first THEN max(line.reached) ELSE min(line.reached) END AS reached FROM line
  ), covered AS (
    SELECT looked.*
      FROM looked, nearest
     WHERE nearest.reached IS NULL
        OR CASE WHEN newest_first THEN looked.seq >= nearest.reached ELSE looked.seq <= nearest.reached END
  )
  SELECT ARRAY(SELECT covered.id
                 FROM covered
                WHERE covered.matches
                ORDER BY CASE WHEN newest_first THEN -covered.seq ELSE covered.seq END
                LIMIT at_most),
         (SELECT nearest.reached FROM nearest), (SELECT max(covered.arrived_at) FROM covered)
    INTO ids, reached, latest;

  -- Numbers and times of arrival go together, but for what a transaction took that enqueued late. An hour for that: when
  -- all that was just looked at is older, everything before it is older than the moment itself.
  IF newest_first AND latest < f.created_after - interval '1 hour' THEN
    reached := NULL;
  END IF;
  RETURN NEXT;
END
$$;
