-- Versions of the application: which there are, who runs which, and moving workflows from one to another.

-- When each version first joined: the last of those that are alive is the latest. A row for each deployment.
CREATE TABLE dbos.application_versions (
  version       text        COLLATE "C" NOT NULL,
  registered_at timestamptz NOT NULL DEFAULT now(),

  CONSTRAINT application_versions_pkey PRIMARY KEY (version)
);

-- Versions besides its own that an executor may run.
ALTER TABLE dbos.executors ADD COLUMN compatible_versions text[];

-- Whether no later version is alive and runs workflows. Who is not registered is taken for new.
CREATE FUNCTION dbos.is_latest_version(own text) RETURNS boolean
LANGUAGE sql STABLE
RETURN NOT EXISTS (
  SELECT
    FROM dbos.executors e
   CROSS JOIN LATERAL (
           SELECT a.registered_at FROM dbos.application_versions a WHERE a.version = e.application_version LIMIT 1) AS other
   WHERE e.dead_at IS NULL AND e.application_version <> own AND cardinality(e.workflow_names) > 0
     AND other.registered_at > (SELECT a.registered_at FROM dbos.application_versions a WHERE a.version = own));

-- The versions that an executor may run, '' among them where it takes what has none; null: it does not say.
CREATE FUNCTION dbos.versions_of(e dbos.executors) RETURNS text[]
LANGUAGE sql STABLE
RETURN CASE WHEN e.application_version IS NOT NULL
            THEN ARRAY[e.application_version] || coalesce(e.compatible_versions, '{}')
                 || CASE WHEN dbos.is_latest_version(e.application_version) THEN ARRAY[''] ELSE '{}' END END;

-- As `count_workflows`, by version; `is_runnable`: somebody alive may run this version.
CREATE FUNCTION dbos.count_unfinished(statuses text[], at_most integer)
RETURNS TABLE (name text, status text, version text, is_runnable boolean, workflows integer, oldest timestamptz)
LANGUAGE plpgsql
STABLE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  runnable text[]; -- null: somebody does not say
BEGIN
  SELECT CASE WHEN bool_or(dbos.versions_of(e) IS NULL) THEN NULL
              ELSE coalesce(array_agg(lane.version) FILTER (WHERE lane.version IS NOT NULL), '{}') END
    INTO runnable
    FROM dbos.executors e
    LEFT JOIN LATERAL unnest(dbos.versions_of(e)) AS lane(version) ON true
   WHERE e.dead_at IS NULL AND e.heartbeat_at + e.lease_ms * interval '1 millisecond' >= now()
     AND (e.workflow_names IS NULL OR cardinality(e.workflow_names) > 0);

  RETURN QUERY
  SELECT counted.name, counted.status, counted.version,
         runnable IS NULL OR coalesce(counted.version, '') = ANY (runnable),
         count(*)::integer, min(counted.created_at)
    FROM unnest(statuses) AS asked(status)
   CROSS JOIN LATERAL (
           SELECT w.name, w.status, w.application_version AS version, w.created_at
             FROM dbos.workflows w
            WHERE w.status = asked.status COLLATE "C"
            ORDER BY w.seq
            LIMIT at_most) AS counted
   GROUP BY counted.name, counted.status, counted.version;
END
$$;

-- As the function of three fewer: what a version had to suspend goes on under the version that resumes it, for its own
-- would only suspend it again.
CREATE FUNCTION dbos.resume_suspended(names text[], at_most integer, version text)
RETURNS TABLE (id text)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  UPDATE dbos.workflows w
     SET status = 'ENQUEUED', recovery_attempts = 0, error = NULL, updated_at = now(),
         application_version = coalesce(version, w.application_version)
   WHERE w.id = ANY (ARRAY(
           SELECT suspended.id
             FROM dbos.workflows suspended
            WHERE suspended.status = 'SUSPENDED' COLLATE "C" AND suspended.name = ANY (names)
            ORDER BY suspended.seq
            LIMIT at_most
              FOR NO KEY UPDATE SKIP LOCKED))
  RETURNING w.id;
END
$$;

-- Moves workflows that nobody owns to another version, and gives those that it moved. What runs is left to its owner, and
-- what has an outcome to history; what stands there already is not noted again.
--
-- The rows are locked first: a claim that has one of them comes before, and what it took is PENDING then.
CREATE FUNCTION dbos.move_to_version(ids text[], version text, actor text)
RETURNS TABLE (id text)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
  PERFORM
     FROM (SELECT DISTINCT given.id COLLATE "C" AS id FROM unnest(ids) AS given(id) ORDER BY 1) AS given
    CROSS JOIN LATERAL (SELECT FROM dbos.workflows w WHERE w.id = given.id LIMIT 1 FOR NO KEY UPDATE) AS locked;

  RETURN QUERY
  WITH former AS MATERIALIZED (
    SELECT found.id, found.application_version
      FROM (SELECT DISTINCT given.id FROM unnest(ids) AS given(id)) AS given
     CROSS JOIN LATERAL (
             SELECT w.id, w.application_version, w.status FROM dbos.workflows w WHERE w.id = given.id LIMIT 1) AS found
     WHERE found.status IN ('ENQUEUED', 'DELAYED', 'SUSPENDED', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')
       AND found.application_version IS DISTINCT FROM version
  ), moved AS (
    UPDATE dbos.workflows w
       SET application_version = version, updated_at = now()
     WHERE w.id = ANY (ARRAY(SELECT former.id FROM former))
    RETURNING w.id
  ), noted AS (
    INSERT INTO dbos.workflow_actions (workflow_id, action, actor, detail)
    SELECT former.id, 'versionSet', actor, jsonb_build_object('from', former.application_version, 'to', version)
      FROM former
  )
  SELECT moved.id FROM moved;
END
$$;

-- The same for what is not over of a version, the oldest first, at most so many of each status. An operator asks for it now
-- and then, so the walk goes along the index over all statuses.
CREATE FUNCTION dbos.move_version(former text, only_name text, version text, actor text, at_most integer)
RETURNS TABLE (id text)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
  IF former = version THEN
    RETURN;
  END IF;
  RETURN QUERY
  SELECT moved.id
    FROM dbos.move_to_version(ARRAY(
           SELECT found.id
             FROM unnest('{ENQUEUED,DELAYED,SUSPENDED,MAX_RECOVERY_ATTEMPTS_EXCEEDED}'::text[]) AS asked(status)
            CROSS JOIN LATERAL (
                    SELECT w.id
                      FROM dbos.workflows w
                     WHERE w.status = asked.status COLLATE "C" AND w.application_version = former
                       AND (only_name IS NULL OR w.name = only_name)
                     ORDER BY w.seq
                     LIMIT at_most) AS found), version, actor) AS moved(id);
END
$$;
