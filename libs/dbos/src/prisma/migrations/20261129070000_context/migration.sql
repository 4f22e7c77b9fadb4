-- What a workflow takes along of where it was started: by the name of a carrier its text, or where codecs are used an
-- object with what they made of it and its format. Nobody searches by it, so no insert pays for an index.
ALTER TABLE dbos.workflows
  ADD COLUMN context jsonb;

-- As before, and the context of the last call counts.
CREATE OR REPLACE FUNCTION dbos.debounce_workflow(
  workflow json, period_ms float8, max_wait_ms float8, run json, step json
)
RETURNS TABLE (id text, owned boolean)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
  owned := true;
  IF run IS NOT NULL THEN
    PERFORM
       FROM (SELECT w.status, w.executor_id, w.epoch
               FROM dbos.workflows w
              WHERE w.id = run->>'id'
              LIMIT 1
                FOR NO KEY UPDATE) AS locked
      WHERE locked.status = 'PENDING' AND locked.executor_id = run->>'executor_id'
        AND locked.epoch = (run->>'epoch')::integer;
    owned := FOUND;
    IF owned THEN
      SELECT s.output::json #>> '{}' INTO id
        FROM dbos.steps s
       WHERE s.workflow_id = run->>'id' AND s.step_id = step->>'step_id';
    END IF;
    IF NOT owned OR id IS NOT NULL THEN
      RETURN NEXT;
      RETURN;
    END IF;
  END IF;

  INSERT INTO dbos.workflows AS w (id, name, status, parent_id, application_version, attributes, context,
                                   serialization, input, queue, wake_at, debounce_key, debounce_until)
  SELECT given.id, given.name, 'DELAYED', given.parent_id, given.application_version, given.attributes,
         given.context, given.serialization, given.input, given.queue,
         now() + least(period_ms, max_wait_ms) * interval '1 millisecond', given.debounce_key,
         now() + max_wait_ms * interval '1 millisecond'
    FROM json_to_record(workflow) AS given(
           id text, name text, parent_id text, application_version text, attributes jsonb, context jsonb,
           serialization text, input text, queue text, debounce_key text)
      ON CONFLICT (name, debounce_key) WHERE debounce_key IS NOT NULL AND status = 'DELAYED' DO UPDATE
     SET input = EXCLUDED.input, serialization = EXCLUDED.serialization, attributes = EXCLUDED.attributes,
         context = EXCLUDED.context,
         wake_at = least(now() + period_ms * interval '1 millisecond', w.debounce_until), updated_at = now()
  RETURNING w.id INTO id;

  IF run IS NOT NULL THEN
    INSERT INTO dbos.steps (workflow_id, step_id, name, epoch, serialization, output, child_workflow_id, started_at)
    VALUES (run->>'id', step->>'step_id', step->>'name', (run->>'epoch')::integer, 'json', to_json(id)::text, id,
            now());
  END IF;
  RETURN NEXT;
END
$$;

-- As before, and a fork carries what its origin does.
CREATE OR REPLACE FUNCTION dbos.fork_workflows(forks json)
RETURNS TABLE (place integer, result text, name text, origin_name text)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  everything CONSTANT integer := 2147483647;
  line record;
  origin dbos.workflows;
  first integer; -- position of the first step that is not copied
BEGIN
  FOR line IN
    SELECT *
      FROM json_to_recordset(forks) AS given(
             place integer, origin_id text, id text, action text, actor text, from_position integer, from_name text,
             application_version text, placement json, timeout_ms float8, deadline timestamptz, is_limited boolean)
     ORDER BY given.origin_id COLLATE "C", given.place
  LOOP
    place := line.place;
    name := NULL;
    origin_name := NULL;
    SELECT w.* INTO origin FROM dbos.workflows w WHERE w.id = line.origin_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
      result := 'unknown';
      RETURN NEXT;
      CONTINUE;
    END IF;

    name := origin.name;
    origin_name := origin.name;
    first := line.from_position;
    IF line.from_name IS NOT NULL THEN
      SELECT min(split_part(s.step_id, '.', 1)::integer) INTO first
        FROM dbos.steps s
       WHERE s.workflow_id = origin.id AND s.name = line.from_name;
      IF first IS NULL THEN
        result := 'no step';
        RETURN NEXT;
        CONTINUE;
      END IF;
    ELSIF first IS NULL THEN -- from the last step that failed; where none did, all that is recorded stands
      SELECT coalesce(max(split_part(s.step_id, '.', 1)::integer), everything) INTO first
        FROM dbos.steps s
       WHERE s.workflow_id = origin.id AND s.error IS NOT NULL;
    END IF;

    -- The epoch makes the first run of a fork read its history.
    INSERT INTO dbos.workflows AS w (id, name, status, epoch, application_version, attributes, context, serialization, input,
                                     queue, priority, partition_key, timeout_ms, deadline, forked_from)
    VALUES (line.id, origin.name, 'ENQUEUED', CASE WHEN first = 0 THEN 0 ELSE 1 END,
            coalesce(line.application_version, origin.application_version), origin.attributes, origin.context,
            origin.serialization, origin.input,
            CASE WHEN line.placement IS NULL THEN origin.queue ELSE line.placement->>'queue' END,
            coalesce((line.placement->>'priority')::integer, origin.priority),
            CASE WHEN line.placement IS NULL THEN origin.partition_key ELSE line.placement->>'partition_key' END,
            CASE WHEN line.is_limited THEN line.timeout_ms ELSE origin.timeout_ms END, line.deadline, origin.id)
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
      SELECT CASE WHEN w.forked_from = origin.id THEN 'forked' ELSE 'taken' END, w.name INTO result, name
        FROM dbos.workflows w
       WHERE w.id = line.id;
      RETURN NEXT;
      CONTINUE;
    END IF;

    -- What waits has two steps, and the first is until when: one that waits anew does so from now on.
    INSERT INTO dbos.steps (workflow_id, step_id, name, epoch, serialization, output, error, child_workflow_id, attempts,
                            started_at, completed_at)
    SELECT line.id, s.step_id, s.name, 1, s.serialization, s.output, s.error, s.child_workflow_id, s.attempts,
           s.started_at, s.completed_at
      FROM dbos.steps s
     WHERE s.workflow_id = origin.id AND split_part(s.step_id, '.', 1)::integer < first
       AND NOT (s.name IN ('flow.recv deadline', 'workflows.getEvent deadline') AND s.step_id = (first::bigint - 1)::text);

    INSERT INTO dbos.events (workflow_id, step_id, epoch, key, serialization, value, created_at)
    SELECT line.id, e.step_id, e.epoch, e.key, e.serialization, e.value, e.created_at
      FROM dbos.events e
     WHERE e.workflow_id = origin.id AND split_part(e.step_id, '.', 1)::integer < first
     ORDER BY e.seq;

    INSERT INTO dbos.stream_entries (workflow_id, key, "offset", step_id, epoch, serialization, value, created_at)
    SELECT line.id, e.key, row_number() OVER (PARTITION BY e.key ORDER BY e."offset") - 1, e.step_id, e.epoch,
           e.serialization, e.value, e.created_at
      FROM dbos.stream_entries e
     WHERE e.workflow_id = origin.id AND split_part(e.step_id, '.', 1)::integer < first;

    INSERT INTO dbos.workflow_actions (workflow_id, action, actor, detail)
    VALUES (origin.id, line.action, line.actor,
            jsonb_build_object('into', line.id, 'fromStep', CASE WHEN first < everything THEN first END));
    result := 'forked';
    RETURN NEXT;
  END LOOP;
END
$$;
