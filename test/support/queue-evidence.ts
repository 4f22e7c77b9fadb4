// What the outside knows of a run of queues, put together: the log of the triggers, the ledger of the bodies, the rows.
import type { Ledger } from './ledger.js';
import type { Body, EndedWorkflow, Evidence, ProcessEnd } from './queue-checker.js';
import { readQueueLog } from './queue-log.js';

/** What only whoever brought it about can tell. */
export interface Testimony {
  readonly ends: readonly ProcessEnd[];
  readonly acknowledged?: ReadonlyMap<string, number>;
  readonly cancelled?: ReadonlySet<string>;
}

export async function gatherEvidence(
  ledger: Ledger,
  { ends, acknowledged = new Map(), cancelled = new Set() }: Testimony,
): Promise<Evidence> {
  const workflows = await ledger.query<EndedWorkflow & Record<string, unknown>>(
    `SELECT id, status, output::json #>> '{}' AS output,
            'packed ' || (input::json #>> '{0,label}') AS expected,
            CASE WHEN input::json #> '{0,sleepMs}' IS NULL THEN 1 ELSE 2 END AS bodies
       FROM dbos.workflows`,
  );
  const [log, bodies] = [await readQueueLog(ledger), await readBodies(ledger)];
  return { log, bodies, ends, workflows, acknowledged, cancelled };
}

interface LedgerRow extends Record<string, unknown> {
  readonly workflowId: string;
  readonly step: string;
  readonly pid: number;
  readonly at: number;
}

/** Bodies of parcels in the order of their beginning. A process runs one body of a workflow at a time. */
export async function readBodies(ledger: Ledger): Promise<Body[]> {
  const rows = await ledger.query<LedgerRow>(
    `SELECT workflow_id AS "workflowId", step, pid, public.test_micros(at) AS at
       FROM public.test_ledger
      ORDER BY at, id`,
  );
  const bodies: Array<{ -readonly [K in keyof Body]: Body[K] }> = [];
  const open = new Map<string, (typeof bodies)[number]>();
  for (const { workflowId, step, pid, at } of rows) {
    const key = `${pid} ${workflowId}`;
    if (step === 'begins') {
      const body = { workflowId, pid, begunAt: at, endedAt: undefined };
      bodies.push(body);
      open.set(key, body);
    } else {
      const body = open.get(key);
      if (body) body.endedAt = at;
      open.delete(key);
    }
  }
  return bodies;
}
