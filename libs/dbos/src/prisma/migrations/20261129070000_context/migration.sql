-- What a workflow takes along of where it was started: by the name of a carrier its text, or where codecs are used an
-- object with what they made of it and its format. Nobody searches by it, so no insert pays for an index.
ALTER TABLE dbos.workflows
  ADD COLUMN context jsonb;
