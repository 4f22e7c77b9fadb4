-- Queues: where workflows wait, under limits that hold across all processes.

ALTER TABLE dbos.workflows
  ADD COLUMN queue            text        COLLATE "C",            -- none: whoever has a free slot takes it
  ADD COLUMN priority         integer     NOT NULL DEFAULT 0,     -- the lowest first
  ADD COLUMN partition_key    text        COLLATE "C",
  ADD COLUMN deduplication_id text        COLLATE "C",
  ADD COLUMN failures         integer     NOT NULL DEFAULT 0,     -- runs that failed and were tried again
  ADD COLUMN debounce_key     text        COLLATE "C",            -- while further calls may still replace the input
  ADD COLUMN debounce_until   timestamptz,                        -- the latest moment to which they may put it off
  ADD COLUMN context          jsonb;                              -- what it takes along, by the names of carriers

-- What waits, in the order in which it is claimed. A row is in one of the two.
DROP INDEX dbos.workflows_enqueued_idx;
CREATE INDEX workflows_enqueued_idx ON dbos.workflows (queue, priority, seq)
  WHERE status = 'ENQUEUED' AND partition_key IS NULL;
CREATE INDEX workflows_partition_idx ON dbos.workflows (queue, partition_key, priority, seq)
  WHERE status = 'ENQUEUED' AND partition_key IS NOT NULL;

-- The same as before, but for a condition on the column that stands in the statements they are for and in no others: while
-- the statistics know of nothing pending or delayed, every index of such rows looks empty, and the planner takes any.
DROP INDEX dbos.workflows_pending_idx;
CREATE INDEX workflows_pending_idx ON dbos.workflows (executor_id)
  WHERE status = 'PENDING' AND executor_id IS NOT NULL;
DROP INDEX dbos.workflows_delayed_idx;
CREATE INDEX workflows_delayed_idx ON dbos.workflows (wake_at)
  WHERE status = 'DELAYED' AND wake_at IS NOT NULL;

-- What a queue has at work, against its concurrency.
CREATE INDEX workflows_at_work_idx ON dbos.workflows (queue, partition_key)
  WHERE status = 'PENDING' AND queue IS NOT NULL;

-- One active workflow for each id; an ended one keeps the id and holds nobody up.
CREATE UNIQUE INDEX workflows_deduplication_idx ON dbos.workflows (queue, deduplication_id)
  WHERE deduplication_id IS NOT NULL AND completed_at IS NULL;

-- One workflow that is being put off for each key.
CREATE UNIQUE INDEX workflows_debounce_idx ON dbos.workflows (name, debounce_key)
  WHERE debounce_key IS NOT NULL AND status = 'DELAYED';

-- One row for each queue. A handful of rows.
CREATE TABLE dbos.queues (
  name                     text        COLLATE "C" NOT NULL,
  concurrency              integer,                               -- at work at once, all processes together
  worker_concurrency       integer,                               -- at work at once in one process
  rate_limit               integer,                               -- claims in any period of rate_period_ms
  rate_period_ms           integer,
  is_partitioned           boolean     NOT NULL DEFAULT false,
  partition_concurrency    integer,
  partition_rate_limit     integer,
  partition_rate_period_ms integer,
  paused                   boolean     NOT NULL DEFAULT false,
  declared                 jsonb       NOT NULL,                  -- the limits in the code, when they were last taken over
  created_at               timestamptz NOT NULL DEFAULT now(),
  updated_at               timestamptz NOT NULL DEFAULT now(),

  CONSTRAINT queues_pkey PRIMARY KEY (name)
);

-- What rate limits count: claims, for as long as they are in a window. The rows of workflows would not do, for one that
-- is recovered is claimed twice, and one that was deleted was claimed all the same.
CREATE TABLE dbos.queue_claims (
  queue         text        COLLATE "C" NOT NULL,
  partition_key text        COLLATE "C" NOT NULL DEFAULT '',      -- empty: what the queue itself counts
  claimed_at    timestamptz NOT NULL,
  claims        integer     NOT NULL
);
CREATE INDEX queue_claims_idx ON dbos.queue_claims (queue, partition_key, claimed_at);

-- Newest first within a status, whatever the status and however many others there are. Its collation is not that of the
-- column, so that only who says COLLATE "C" can use it: a claim that found it beside the indexes of the active sets would
-- take either, for to statistics that know of nothing active both look empty, and read all that waits.
CREATE INDEX workflows_status_idx ON dbos.workflows (status COLLATE "C", seq);

-- It serves what these were for.
DROP INDEX dbos.workflows_suspended_idx;
DROP INDEX dbos.workflows_dead_letter_idx;
