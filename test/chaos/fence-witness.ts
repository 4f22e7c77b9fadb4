// Triggers that see every write of a run at its moment, and write down what only the owner may do and somebody else did.
import type { Ledger } from '../support/ledger.js';
import type { Violation } from './chaos-checker.js';

const INSTALLATION = `
  CREATE TABLE public.chaos_fence (what text NOT NULL);

  CREATE FUNCTION public.chaos_see_step() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    INSERT INTO public.chaos_fence (what)
    SELECT format('step %s of %s was recorded by epoch %s at epoch %s', NEW.step_id, w.id, NEW.epoch, w.epoch)
      FROM dbos.workflows w
     WHERE w.id = NEW.workflow_id AND w.epoch <> NEW.epoch;
    RETURN NULL;
  END $$;
  CREATE TRIGGER chaos_fence AFTER INSERT ON dbos.steps
    FOR EACH ROW EXECUTE FUNCTION public.chaos_see_step();

  CREATE FUNCTION public.chaos_see_workflow() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    IF OLD.status IN ('SUCCESS', 'ERROR') THEN
      INSERT INTO public.chaos_fence VALUES (format('%s was %s and became %s', OLD.id, OLD.status, NEW.status));
    ELSIF NEW.epoch < OLD.epoch
       OR (NEW.status = 'PENDING' AND OLD.status <> 'PENDING' AND NEW.epoch = OLD.epoch) THEN
      INSERT INTO public.chaos_fence
      VALUES (format('%s went from %s to %s at epoch %s', OLD.id, OLD.status, NEW.status, NEW.epoch));
    END IF;
    RETURN NULL;
  END $$;
  CREATE TRIGGER chaos_fence AFTER UPDATE ON dbos.workflows
    FOR EACH ROW EXECUTE FUNCTION public.chaos_see_workflow();`;

export async function installFenceWitness(ledger: Ledger): Promise<void> {
  await ledger.query(INSTALLATION);
}

export async function readFenceViolations(ledger: Ledger): Promise<Violation[]> {
  const rows = await ledger.query<{ what: string }>('SELECT what FROM public.chaos_fence');
  return rows.map(({ what }) => ({ promise: 'fence', what }));
}
