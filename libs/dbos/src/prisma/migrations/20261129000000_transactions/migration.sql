-- Steps that are one commit with what the application writes.

-- The last statement of such a transaction: its checkpoint, if the run still owns its workflow and nothing stands under
-- the step's id. Says what is so: 'recorded', 'standing' with the outcome that another execution was first to record, or
-- 'lost'. The row of the workflow is shared until the commit: no take-over comes between the check and the commit, and
-- branches of one run do not wait for each other.
CREATE FUNCTION dbos.record_transaction(run_id text, run_executor text, run_epoch integer, run_step text, step_name text,
                                        format text, step_output text, step_error text, tries integer,
                                        duration_ms float8)
RETURNS TABLE (result text, serialization text, output text, error text)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
  PERFORM FROM dbos.workflows w
    WHERE w.id = run_id AND w.status = 'PENDING' AND w.executor_id = run_executor AND w.epoch = run_epoch
      FOR SHARE;
  IF NOT FOUND THEN
    RETURN QUERY SELECT 'lost', NULL::text, NULL::text, NULL::text;
    RETURN;
  END IF;

  INSERT INTO dbos.steps (workflow_id, step_id, name, epoch, serialization, output, error, attempts, started_at,
                          completed_at)
  VALUES (run_id, run_step, step_name, run_epoch, format, step_output, step_error, tries,
          clock_timestamp() - duration_ms * interval '1 millisecond', clock_timestamp())
      ON CONFLICT DO NOTHING;
  IF FOUND THEN
    RETURN QUERY SELECT 'recorded', NULL::text, NULL::text, NULL::text;
    RETURN;
  END IF;

  RETURN QUERY
  SELECT 'standing', s.serialization, s.output, s.error
    FROM dbos.steps s
   WHERE s.workflow_id = run_id AND s.step_id = run_step;
END
$$;
