-- Schedules: what is run when. Each tick becomes a workflow under an id of its own, sched-<name>-<tick>.

-- One row for each schedule; dozens of rows. Due is what this database's clock has passed.
CREATE TABLE dbos.schedules (
  name          text        COLLATE "C" NOT NULL,
  workflow_name text        NOT NULL,
  cron          text        NOT NULL,
  time_zone     text        NOT NULL,
  queue         text        COLLATE "C",
  backfill      text        NOT NULL,                     -- of missed ticks: skip, latest or all
  serialization text,                                     -- format of the input, if there is one
  input         text,
  declared      boolean     NOT NULL DEFAULT false,       -- by the code; others are made at run time
  set_name      text        COLLATE "C",                  -- the set it was applied with, if any
  paused        boolean     NOT NULL DEFAULT false,
  retired_at    timestamptz,                              -- since when the code declares it no more
  revision      integer     NOT NULL DEFAULT 1,           -- goes up with every change of what is run and when
  next_tick_at  timestamptz,                              -- null while paused or retired
  last_tick_at  timestamptz,                              -- the last tick that was fired
  created_at    timestamptz NOT NULL DEFAULT now(),
  updated_at    timestamptz NOT NULL DEFAULT now(),

  CONSTRAINT schedules_pkey PRIMARY KEY (name)
);

-- The scheduler asks which ticks are due, and when the next one is.
CREATE INDEX schedules_due_idx ON dbos.schedules (next_tick_at) WHERE next_tick_at IS NOT NULL;
