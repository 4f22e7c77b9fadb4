-- For a database of the application apart from the one with the workflow tables: which transaction steps were committed.

-- One row for each, written by its last statement. Read when a step is tried again, removed soon after its workflow has
-- ended.
CREATE TABLE dbos.transaction_completions (
  workflow_id   text        COLLATE "C" NOT NULL,
  step_id       text        COLLATE "C" NOT NULL,
  failures      integer     NOT NULL,                 -- of the workflow before: a run after a failure begins anew
  name          text        NOT NULL,
  epoch         integer     NOT NULL,                 -- of the run that recorded it
  serialization text        NOT NULL,
  output        text,
  error         text,
  completed_at  timestamptz NOT NULL DEFAULT now(),

  CONSTRAINT transaction_completions_pkey PRIMARY KEY (workflow_id, step_id, failures)
);

-- The sweep begins with the oldest.
CREATE INDEX transaction_completions_completed_at_idx ON dbos.transaction_completions (completed_at);
