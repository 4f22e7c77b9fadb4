-- The first tables of nestjs-dbos: workflows, their checkpoints, and the processes that run them.
--
-- Names are qualified and the schema itself is not created here: whoever applies the file (the library's migrator,
-- `prisma migrate deploy` with `?schema=dbos`) creates it first, for that is where their own books live.
--
-- Ids are compared byte by byte (COLLATE "C"): faster than a language's rules, and the same on every server.
-- Payloads are text in the format that `serialization` names: JSON text keeps what jsonb would refuse or reorder.
-- There are no foreign keys: a check would be one more query for every checkpoint, and a workflow is deleted
-- together with its steps by one statement.

-- One row for each workflow, from its start to its outcome and until it is deleted.
CREATE TABLE dbos.workflows (
  id                    text        COLLATE "C" NOT NULL,
  seq                   bigint      GENERATED ALWAYS AS IDENTITY, -- order of arrival; created_at has ties
  name                  text        NOT NULL,
  status                text        NOT NULL,
  executor_id           text,
  epoch                 integer     NOT NULL DEFAULT 0,           -- the fencing token; never goes down
  recovery_attempts     integer     NOT NULL DEFAULT 0,
  wake_at               timestamptz,
  parent_id             text        COLLATE "C",
  application_version   text,
  attributes            jsonb,
  serialization         text        NOT NULL,                     -- format of the input
  input                 text        NOT NULL,
  outcome_serialization text,                                     -- format of the output or error
  output                text,
  error                 text,
  created_at            timestamptz NOT NULL DEFAULT now(),
  started_at            timestamptz,
  completed_at          timestamptz,
  updated_at            timestamptz NOT NULL DEFAULT now(),

  CONSTRAINT workflows_pkey PRIMARY KEY (id)
);

-- The active sets. Each index holds only the rows in its status, so that the loops that watch them cost the same
-- beside a hundred finished workflows and beside a hundred million. A start writes one of them and the primary key.

-- Recovery asks what a dead executor owned; shutdown, what it still owns itself.
CREATE INDEX workflows_pending_idx ON dbos.workflows (executor_id) WHERE status = 'PENDING';

-- A claim takes the oldest waiting workflows first.
CREATE INDEX workflows_enqueued_idx ON dbos.workflows (seq) WHERE status = 'ENQUEUED';

-- The release of sleepers asks whose time has come, and when the next one is due.
CREATE INDEX workflows_delayed_idx ON dbos.workflows (wake_at) WHERE status = 'DELAYED';

-- A redeploy resumes what an earlier one had to suspend.
CREATE INDEX workflows_suspended_idx ON dbos.workflows (seq) WHERE status = 'SUSPENDED';

-- Health reports count what was recovered too often.
CREATE INDEX workflows_dead_letter_idx ON dbos.workflows (seq) WHERE status = 'MAX_RECOVERY_ATTEMPTS_EXCEEDED';

-- The children of a workflow; most workflows are nobody's child and cost nothing here.
CREATE INDEX workflows_parent_idx ON dbos.workflows (parent_id) WHERE parent_id IS NOT NULL;

-- Search by attributes with `@>`, the one operator that jsonb_path_ops serves, at half the size of the default.
CREATE INDEX workflows_attributes_idx ON dbos.workflows USING gin (attributes jsonb_path_ops)
  WHERE attributes IS NOT NULL;

-- One row for each checkpoint. Written once, never updated, read only when its workflow is run again, always by
-- workflow: the primary key is the only index.
CREATE TABLE dbos.steps (
  workflow_id       text        COLLATE "C" NOT NULL,
  step_id           text        COLLATE "C" NOT NULL,             -- the path in the run: '3', in a branch '3.0.2'
  name              text        NOT NULL,
  epoch             integer     NOT NULL,                         -- of the run that recorded it
  serialization     text        NOT NULL,
  output            text,
  error             text,
  child_workflow_id text        COLLATE "C",
  attempts          integer     NOT NULL DEFAULT 1,
  started_at        timestamptz NOT NULL,
  completed_at      timestamptz NOT NULL DEFAULT now(),

  CONSTRAINT steps_pkey PRIMARY KEY (workflow_id, step_id)
);

-- One row for each process that runs workflows; it lives as long as its heartbeat, by this database's clock.
-- A handful of rows.
CREATE TABLE dbos.executors (
  id                  text        COLLATE "C" NOT NULL,           -- new at every joining of a process
  name                text        COLLATE "C",                    -- the configured id, if there is one
  application_version text,
  hostname            text        NOT NULL,
  pid                 integer     NOT NULL,
  lease_ms            integer     NOT NULL,
  lock_key            bigint,                                     -- advisory lock its own session holds, if it has one
  heartbeat_at        timestamptz NOT NULL DEFAULT now(),
  started_at          timestamptz NOT NULL DEFAULT now(),
  dead_at             timestamptz,

  CONSTRAINT executors_pkey PRIMARY KEY (id)
);

-- Two live processes never share a configured id.
CREATE UNIQUE INDEX executors_name_idx ON dbos.executors (name) WHERE dead_at IS NULL;

-- Whether the session that held an executor's advisory lock has ended. Unknown, hence false, for one that has none.
-- A bigint key stands in pg_locks as two halves, with objsubid 1 (PostgreSQL manual, "pg_locks").
CREATE FUNCTION dbos.session_is_gone(lock_key bigint) RETURNS boolean
LANGUAGE sql STABLE
RETURN lock_key IS NOT NULL AND NOT EXISTS (
  SELECT FROM pg_catalog.pg_locks l
   WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
     AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
     AND l.classid::bigint = (lock_key >> 32) & 4294967295
     AND l.objid::bigint = lock_key & 4294967295
);

-- Whether an executor is dead: its lease has run out, or its session has ended and it has sent no heartbeat since for
-- longer than a live one would take. For a lease after a start of this server nobody is: until then everybody alive has
-- had no chance to send a heartbeat, or to take its lock again.
CREATE FUNCTION dbos.executor_is_gone(heartbeat_at timestamptz, lease_ms integer, lock_key bigint, grace_ms integer)
RETURNS boolean
LANGUAGE sql STABLE
RETURN pg_catalog.pg_postmaster_start_time() + lease_ms * interval '1 millisecond' < pg_catalog.now()
   AND (heartbeat_at + lease_ms * interval '1 millisecond' < pg_catalog.now()
        OR (heartbeat_at + grace_ms * interval '1 millisecond' < pg_catalog.now()
            AND dbos.session_is_gone(lock_key)));
