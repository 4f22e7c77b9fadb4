-- Export and import of workflows with their history.

-- The given workflow and, where they are wanted, all its descendants, at most `at_most`, each as its row with the rows of
-- everything that belongs to it, in one snapshot. Null when there is no such workflow.
CREATE FUNCTION dbos.export_workflows(workflow_id text, with_children boolean, at_most integer) RETURNS json
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
                          FROM dbos.tokens t WHERE t.workflow_id = w.id))
             ORDER BY w.seq)
      FROM unnest(family) AS member(id)
     CROSS JOIN LATERAL (SELECT * FROM dbos.workflows found WHERE found.id = member.id LIMIT 1) AS w);
END
$$;

-- Writes exported workflows with all that belongs to them, all or none. Says of each what became of it: `imported`;
-- `present`, it was here; `conflict`, another has its id; `taken`, another that is active has its deduplication id. Nothing
-- is written when there is one of the last two.
--
-- They arrive now, whenever they were created. What had not ended is to be claimed like others: its owner, elsewhere, owns
-- it here no more.
CREATE FUNCTION dbos.import_workflows(archived json)
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
    END LOOP;
  END IF;
  RETURN QUERY SELECT * FROM unnest(ids, results);
END
$$;
