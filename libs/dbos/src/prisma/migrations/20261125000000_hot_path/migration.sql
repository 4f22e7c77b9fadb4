-- The hot path as functions, and one index by which workflows of any status are listed.
--
-- Why functions. A statement that is prepared keeps its plan, and a plan that was made while the tables were small
-- reads them from end to end, for as long as it takes until they are analysed again: minutes in which a new
-- application writes hundreds of thousands of rows. Statements of a function are planned under the settings of the
-- function: without sequential scans, once for a connection, and the same whether they come through a Prisma client,
-- its driver or a pooler (PostgreSQL manual, "CREATE FUNCTION", SET, and "PL/pgSQL Under the Hood", Plan Caching).
--
-- A function that a released version calls is never changed in what it takes or gives: processes of two versions work
-- side by side during a deployment. What is new comes under a new name.

-- Newest first within a status, whatever the status and however many others there are.
CREATE INDEX workflows_status_idx ON dbos.workflows (status, seq);

-- It serves what these were for.
DROP INDEX dbos.workflows_suspended_idx;
DROP INDEX dbos.workflows_dead_letter_idx;

-- Writes new workflows, each unless its id is taken, and says what stands under the id now. No row comes back for an id
-- that a concurrent start has taken and not yet shown: then it is to be asked for again.
CREATE FUNCTION dbos.start_workflows(workflows json)
RETURNS TABLE (id text, created boolean, name text, status text, executor_id text, epoch integer)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH given AS MATERIALIZED (
    SELECT *
      FROM json_to_recordset(workflows) AS given(
             id text, name text, executor_id text, parent_id text, application_version text,
             attributes jsonb, serialization text, input text)
  ), created AS (
    INSERT INTO dbos.workflows AS w (id, name, status, executor_id, epoch, parent_id, application_version,
                                     attributes, serialization, input, started_at)
    SELECT given.id, given.name, CASE WHEN given.executor_id IS NULL THEN 'ENQUEUED' ELSE 'PENDING' END,
           given.executor_id, CASE WHEN given.executor_id IS NULL THEN 0 ELSE 1 END, given.parent_id,
           given.application_version, given.attributes, given.serialization, given.input,
           CASE WHEN given.executor_id IS NOT NULL THEN now() END
      FROM given
        ON CONFLICT (id) DO NOTHING
    RETURNING w.id, w.name, w.status, w.executor_id, w.epoch
  ), taken AS MATERIALIZED (
    SELECT given.id FROM given WHERE NOT EXISTS (SELECT FROM created WHERE created.id = given.id)
  )
  SELECT created.id, true, created.name, created.status, created.executor_id, created.epoch
    FROM created
   UNION ALL
  SELECT standing.id, false, standing.name, standing.status, standing.executor_id, standing.epoch
    FROM taken
   CROSS JOIN LATERAL (SELECT * FROM dbos.workflows w WHERE w.id = taken.id LIMIT 1) AS standing;
END
$$;

-- Checkpoints and settlements of runs, as far as the runs still own their workflows. Answers with the runs that did
-- (step_id null), and with those steps of theirs that had been recorded before.
--
-- `owned` is the fence, under a row lock: no take-over comes between the check and the commit. Rows are locked in the
-- order of ids, so that two batches cannot wait for each other.
--
-- `standing` steps contradict what their run believes; a run that they contradict is not settled.
CREATE FUNCTION dbos.write_transitions(runs json, steps json, settlements json)
RETURNS TABLE (workflow_id text, epoch integer, step_id text)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH run AS MATERIALIZED (
    SELECT * FROM json_to_recordset(runs) AS run(id text, executor_id text, epoch integer) ORDER BY run.id COLLATE "C"
  ), owned AS MATERIALIZED (
    SELECT run.id, run.epoch
      FROM run
     CROSS JOIN LATERAL ( -- by the primary key alone: LIMIT keeps the conditions outside from choosing another index
             SELECT w.status, w.executor_id, w.epoch
               FROM dbos.workflows w
              WHERE w.id = run.id
              LIMIT 1
                FOR NO KEY UPDATE) AS locked
     WHERE locked.status = 'PENDING' AND locked.executor_id = run.executor_id AND locked.epoch = run.epoch
  ), step AS MATERIALIZED (
    SELECT step.*
      FROM json_to_recordset(steps) AS step(
             workflow_id text, epoch integer, step_id text, name text, serialization text, output text, error text,
             child_workflow_id text, attempts integer, duration_ms float8)
      JOIN owned ON owned.id = step.workflow_id AND owned.epoch = step.epoch
  ), recorded AS (
    INSERT INTO dbos.steps AS s (workflow_id, step_id, name, epoch, serialization, output, error,
                                 child_workflow_id, attempts, started_at, completed_at)
    SELECT step.workflow_id, step.step_id, step.name, step.epoch, step.serialization, step.output, step.error,
           step.child_workflow_id, step.attempts, now() - step.duration_ms * interval '1 millisecond', now()
      FROM step
        ON CONFLICT (workflow_id, step_id) DO NOTHING
    RETURNING s.workflow_id, s.step_id
  ), standing AS MATERIALIZED (
    SELECT step.workflow_id, step.epoch, step.step_id
      FROM step
     WHERE NOT EXISTS (SELECT FROM recorded
                        WHERE recorded.workflow_id = step.workflow_id AND recorded.step_id = step.step_id)
  ), settlement AS MATERIALIZED (
    SELECT settlement.*
      FROM json_to_recordset(settlements) AS settlement(
             workflow_id text, epoch integer, status text, serialization text, output text, error text,
             wake_at timestamptz)
      JOIN owned ON owned.id = settlement.workflow_id AND owned.epoch = settlement.epoch
     WHERE NOT EXISTS (SELECT FROM standing
                        WHERE standing.workflow_id = settlement.workflow_id AND standing.epoch = settlement.epoch)
  ), settled AS (
    UPDATE dbos.workflows w
       SET status = settlement.status,
           outcome_serialization = settlement.serialization,
           output = settlement.output,
           error = settlement.error,
           wake_at = settlement.wake_at,
           executor_id = CASE WHEN settlement.status IN ('DELAYED', 'ENQUEUED') THEN NULL ELSE w.executor_id END,
           completed_at = CASE WHEN settlement.status IN ('DELAYED', 'ENQUEUED', 'SUSPENDED') THEN NULL
                               ELSE now() END,
           updated_at = now()
      FROM settlement
     WHERE w.id = settlement.workflow_id
  )
  SELECT owned.id, owned.epoch, NULL::text
    FROM owned
   UNION ALL
  SELECT standing.workflow_id, standing.epoch, standing.step_id
    FROM standing;
END
$$;
