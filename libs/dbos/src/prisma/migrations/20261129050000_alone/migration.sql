-- What a process writes that has little to do at once: one workflow, or the checkpoint and the outcome of one run. As sets
-- of one (`start_workflows`, `write_transitions`) they cost the server twice as much: to read JSON, and to start and end
-- the plans that join it. Here every statement is by a primary key. Answers and meaning are the same as there.
--
-- Without sequential scans, for a table that was analysed while it was small; nothing else is left to the planner.

-- Writes one new workflow; see `start_workflows`.
CREATE FUNCTION dbos.start_workflows_of_one(
  new_id text, new_name text, executor text, parent text, version text, new_attributes jsonb, format text,
  arguments text, on_queue text, rank integer, part text, deduplication text, delay_ms float8, run_at timestamptz,
  new_context jsonb
)
RETURNS TABLE (asked text, id text, name text, status text, executor_id text, epoch integer)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
  due CONSTANT timestamptz := coalesce(run_at, now() + delay_ms * interval '1 millisecond');
BEGIN
  INSERT INTO dbos.workflows (id, name, status, executor_id, epoch, parent_id, application_version, attributes,
                              context, serialization, input, queue, priority, partition_key, deduplication_id, wake_at,
                              started_at)
  VALUES (new_id, new_name,
          CASE WHEN executor IS NOT NULL THEN 'PENDING' WHEN due > now() THEN 'DELAYED' ELSE 'ENQUEUED' END,
          executor, CASE WHEN executor IS NULL THEN 0 ELSE 1 END, parent, version, new_attributes, new_context, format, arguments,
          on_queue, coalesce(rank, 0), part, deduplication, CASE WHEN due > now() THEN due END,
          CASE WHEN executor IS NOT NULL THEN now() END)
      ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RETURN QUERY
    SELECT new_id, standing.*
      FROM (VALUES (1)) AS always
      LEFT JOIN LATERAL (
             (SELECT w.id, w.name, w.status, w.executor_id, w.epoch
                FROM dbos.workflows w
               WHERE w.id = new_id
               LIMIT 1)
              UNION ALL
             (SELECT w.id, w.name, w.status, w.executor_id, w.epoch
                FROM dbos.workflows w
               WHERE w.queue = on_queue AND w.deduplication_id = deduplication AND w.completed_at IS NULL
               LIMIT 1)
              LIMIT 1) AS standing ON true;
  END IF;
END
$$;

-- Writes a checkpoint of one run (`step_id` null: none) and how the run ended (`new_status` null: it goes on); see
-- `write_transitions`.
--
-- The fence is the lock of the row. The end of a run takes it by the very change: as a row, so that its conditions lead to
-- no other index, and after the look for the step of another run: nobody writes one after that run lost the
-- workflow, which was before this one was claimed.
CREATE FUNCTION dbos.write_transitions_of_one(
  run text, executor text, run_epoch integer,
  step text, step_name text, format text, step_output text, step_error text, child text, tries integer,
  duration_ms float8,
  new_status text, outcome_format text, new_output text, new_error text
)
RETURNS TABLE (workflow_id text, epoch integer, step_id text)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
#variable_conflict use_column
BEGIN
  IF new_status IS NULL THEN
    PERFORM
       FROM (SELECT w.status, w.executor_id, w.epoch
               FROM dbos.workflows w
              WHERE w.id = run
              LIMIT 1
                FOR NO KEY UPDATE) AS locked
      WHERE locked.status = 'PENDING' AND locked.executor_id = executor AND locked.epoch = run_epoch;
  ELSE
    IF step IS NOT NULL THEN
      RETURN QUERY
      SELECT run, run_epoch, step
        FROM dbos.steps s
       WHERE s.workflow_id = run AND s.step_id = step AND s.epoch <> run_epoch;
      IF FOUND THEN
        RETURN;
      END IF;
    END IF;
    UPDATE dbos.workflows w
       SET status = new_status, outcome_serialization = outcome_format, output = new_output, error = new_error,
           wake_at = NULL, awaited_topics = NULL, completed_at = now(), updated_at = now()
     WHERE w.id = run AND (w.status, w.executor_id, w.epoch) IS NOT DISTINCT FROM ('PENDING', executor, run_epoch);
  END IF;
  IF NOT FOUND THEN
    RETURN QUERY SELECT run, run_epoch, NULL::text;
    RETURN;
  END IF;

  IF step IS NOT NULL THEN
    INSERT INTO dbos.steps (workflow_id, step_id, name, epoch, serialization, output, error, child_workflow_id,
                            attempts, started_at, completed_at)
    VALUES (run, step, step_name, run_epoch, format, step_output, step_error, child, tries,
            now() - duration_ms * interval '1 millisecond', now())
        ON CONFLICT (workflow_id, step_id) DO NOTHING;
    IF NOT FOUND THEN
      RETURN QUERY
      SELECT run, run_epoch, step
        FROM dbos.steps s
       WHERE s.workflow_id = run AND s.step_id = step AND s.epoch <> run_epoch;
    END IF;
  END IF;
END
$$;
