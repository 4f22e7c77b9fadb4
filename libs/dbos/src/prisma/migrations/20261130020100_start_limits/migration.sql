-- Limits of time for workflows that are put off, and for those of schedules.

ALTER TABLE dbos.schedules ADD COLUMN timeout_ms float8; -- of each of its workflows, from its claim on; null: none

-- Puts a workflow off: the one that is being put off under the key gets the new input and limits of time, and starts a period from now, but
-- not later than `max_wait_ms` after the first call; where there is none, this one is written. Called in a workflow
-- (`run`, `step`), the checkpoint of the call is part of the same commit, and a call that has one is not made again.
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
                                   serialization, input, queue, wake_at, debounce_key, debounce_until,
                                   timeout_ms, deadline)
  SELECT given.id, given.name, 'DELAYED', given.parent_id, given.application_version, given.attributes,
         given.context, given.serialization, given.input, given.queue,
         now() + least(period_ms, max_wait_ms) * interval '1 millisecond', given.debounce_key,
         now() + max_wait_ms * interval '1 millisecond', given.timeout_ms, given.deadline
    FROM json_to_record(workflow) AS given(
           id text, name text, parent_id text, application_version text, attributes jsonb, context jsonb,
           serialization text, input text, queue text, debounce_key text, timeout_ms float8,
           deadline timestamptz)
      ON CONFLICT (name, debounce_key) WHERE debounce_key IS NOT NULL AND status = 'DELAYED' DO UPDATE
     SET input = EXCLUDED.input, serialization = EXCLUDED.serialization, attributes = EXCLUDED.attributes,
         context = EXCLUDED.context, timeout_ms = EXCLUDED.timeout_ms, deadline = EXCLUDED.deadline,
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
