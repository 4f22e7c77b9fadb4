-- What was done to a workflow from outside goes with it: into its archive, out of it, and away when retention removes it.
-- Only a deletion leaves it, for it says by whom.

-- The given workflow and, where they are wanted, all its descendants, at most `at_most`, each as its row with the rows of
-- everything that belongs to it, in one snapshot. Null when there is no such workflow.
CREATE OR REPLACE FUNCTION dbos.export_workflows(workflow_id text, with_children boolean, at_most integer) RETURNS json
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
  root CONSTANT text := export_workflows.workflow_id;
  family text[] := ARRAY[root];
  generation text[] := ARRAY[root];
BEGIN
  WHILE with_children AND cardinality(generation) > 0 AND cardinality(family) <= at_most LOOP
    generation := ARRAY(
      SELECT w.id
        FROM dbos.workflows w
       WHERE w.parent_id = ANY (generation) AND w.id <> ALL (family)
       LIMIT at_most);
    family := family || generation;
  END LOOP;
  RETURN (
    SELECT json_agg(json_build_object(
             'workflow', w,
             'steps', (SELECT coalesce(json_agg(s ORDER BY string_to_array(s.step_id, '.')::int[]), '[]')
                         FROM dbos.steps s WHERE s.workflow_id = w.id),
             'messages', (SELECT coalesce(json_agg(m ORDER BY m.seq), '[]')
                            FROM dbos.messages m WHERE m.workflow_id = w.id),
             'events', (SELECT coalesce(json_agg(e ORDER BY e.seq), '[]')
                          FROM dbos.events e WHERE e.workflow_id = w.id),
             'streams', (SELECT coalesce(json_agg(e ORDER BY e.key, e."offset"), '[]')
                           FROM dbos.stream_entries e WHERE e.workflow_id = w.id),
             'tokens', (SELECT coalesce(json_agg(t ORDER BY t.step_id, t.created_at), '[]')
                          FROM dbos.tokens t WHERE t.workflow_id = w.id),
             'actions', (SELECT coalesce(json_agg(a ORDER BY a.seq), '[]')
                           FROM dbos.workflow_actions a WHERE a.workflow_id = w.id))
             ORDER BY w.seq)
      FROM unnest(family) AS member(id)
     CROSS JOIN LATERAL (SELECT * FROM dbos.workflows found WHERE found.id = member.id LIMIT 1) AS w);
END
$$;

-- Writes exported workflows with all that belongs to them, all or none. Says of each what became of it: `imported`;
-- `present`, it was here; `conflict`, another has its id; `taken`, another that is active has its deduplication id. Nothing
-- is written when there is one of the last two.
--
-- What was done to a workflow may be on record here already, for that outlives a deletion; it is written once.
--
-- They arrive now, whenever they were created. What had not ended is to be claimed like others: its owner, elsewhere, owns
-- it here no more.
CREATE OR REPLACE FUNCTION dbos.import_workflows(archived json)
RETURNS TABLE (id text, result text)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  defaults CONSTANT jsonb := '{"epoch": 0, "recovery_attempts": 0, "failures": 0, "priority": 0}';
  ids text[] := '{}';
  results text[] := '{}';
  entry jsonb;
  given dbos.workflows;
BEGIN
  FOR entry IN
    SELECT item.value FROM jsonb_array_elements(archived::jsonb) AS item
     ORDER BY (item.value->'workflow'->>'id') COLLATE "C" -- as everything does that writes several rows
  LOOP
    given := jsonb_populate_record(NULL::dbos.workflows, defaults || (entry->'workflow'));
    ids := ids || given.id;
    results := results || coalesce(
      (SELECT CASE WHEN (w.name, w.created_at, w.serialization, w.input)
                        = (given.name, given.created_at, given.serialization, given.input)
                   THEN 'present' ELSE 'conflict' END
         FROM dbos.workflows w
        WHERE w.id = given.id),
      (SELECT 'taken'
         FROM dbos.workflows w
        WHERE w.queue = given.queue AND w.deduplication_id = given.deduplication_id AND w.completed_at IS NULL
          AND given.completed_at IS NULL
        LIMIT 1),
      'imported');
  END LOOP;

  IF NOT results && ARRAY['conflict', 'taken'] THEN
    FOR entry IN
      SELECT item.value FROM jsonb_array_elements(archived::jsonb) AS item
       ORDER BY (item.value->'workflow'->>'id') COLLATE "C"
    LOOP
      given := jsonb_populate_record(NULL::dbos.workflows, defaults || (entry->'workflow'));
      CONTINUE WHEN results[array_position(ids, given.id)] = 'present';
      given.seq := nextval('dbos.workflows_seq_seq');
      given.imported_at := now();
      given.updated_at := now();
      given.debounce_key := NULL;
      IF given.status = 'PENDING' THEN
        given.status := 'ENQUEUED';
      END IF;
      IF given.completed_at IS NULL THEN
        given.executor_id := NULL;
      END IF;
      INSERT INTO dbos.workflows OVERRIDING SYSTEM VALUE SELECT given.* ON CONFLICT DO NOTHING;
      IF NOT FOUND THEN -- a start or another import, which could not be seen yet; sent again, this statement sees it
        RAISE 'workflow % has come meanwhile', given.id USING ERRCODE = 'serialization_failure';
      END IF;
      INSERT INTO dbos.steps
      SELECT s.* FROM jsonb_populate_recordset(NULL::dbos.steps, entry->'steps') AS s WHERE s.workflow_id = given.id;
      INSERT INTO dbos.messages (workflow_id, topic, idempotency_key, serialization, message, consumed_by, created_at)
      SELECT m.workflow_id, m.topic, m.idempotency_key, m.serialization, m.message, m.consumed_by, m.created_at
        FROM jsonb_populate_recordset(NULL::dbos.messages, entry->'messages') AS m
       WHERE m.workflow_id = given.id
       ORDER BY m.seq;
      INSERT INTO dbos.events (workflow_id, step_id, epoch, key, serialization, value, created_at)
      SELECT e.workflow_id, e.step_id, e.epoch, e.key, e.serialization, e.value, e.created_at
        FROM jsonb_populate_recordset(NULL::dbos.events, entry->'events') AS e
       WHERE e.workflow_id = given.id
       ORDER BY e.seq;
      INSERT INTO dbos.stream_entries
      SELECT e.* FROM jsonb_populate_recordset(NULL::dbos.stream_entries, entry->'streams') AS e
       WHERE e.workflow_id = given.id;
      INSERT INTO dbos.tokens
      SELECT t.* FROM jsonb_populate_recordset(NULL::dbos.tokens, entry->'tokens') AS t WHERE t.workflow_id = given.id;
      INSERT INTO dbos.workflow_actions (workflow_id, action, actor, detail, created_at)
      SELECT a.workflow_id, a.action, a.actor, a.detail, a.created_at
        FROM jsonb_populate_recordset(NULL::dbos.workflow_actions, entry->'actions') AS a
       WHERE a.workflow_id = given.id
         AND NOT EXISTS (
               SELECT FROM dbos.workflow_actions stands
                WHERE stands.workflow_id = given.id
                  AND (stands.action, stands.actor, stands.detail, stands.created_at)
                      IS NOT DISTINCT FROM (a.action, a.actor, a.detail, a.created_at))
       ORDER BY a.seq;
    END LOOP;
  END IF;
  RETURN QUERY SELECT * FROM unnest(ids, results);
END
$$;

-- Removes what has ended so and is older than `max_age_ms`, or arrived before `kept_from`; looks at the `at_most` workflows
-- that come after `place` in the order of arrival. `reached` says how far; null: nothing more is to be removed. `is_busy`:
-- another process is at it.
--
-- Age counts from the end, or from the arrival of what was imported. Nothing ends before it arrives: where all that was
-- looked at arrived too lately, so did all that comes after it.
--
-- A child stays as long as its parent may be run again and ask for its result. Rows that somebody holds locked are left,
-- and what was resumed meanwhile is not what has ended.
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
