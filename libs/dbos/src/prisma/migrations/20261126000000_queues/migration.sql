ALTER TABLE dbos.workflows
  ADD COLUMN queue text COLLATE "C",
  ADD COLUMN priority integer NOT NULL DEFAULT 0,
  ADD COLUMN partition_key text COLLATE "C",
  ADD COLUMN deduplication_id text COLLATE "C";
