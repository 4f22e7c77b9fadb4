/** A queue of DBOS Transact: a registered queue, `startWorkflow` onto it, and the batch call of its event receivers. */
import { randomUUID } from 'node:crypto';
import { DBOS } from '@dbos-inc/dbos-sdk';
import { enqueueWorkflows, prepareEnqueuedWorkflow } from '@dbos-inc/dbos-sdk/eventreceiver';
import type { QueueContestant, QueueEngine, QueueSettings } from '../../harness/contestant.js';
import { configOf, type Tuning } from './application.js';

const QUEUE = 'bench';

/** @param polling of the queue, where it is not as it comes */
export function dbosQueue(
  tuning: Tuning,
  polling: { readonly minPollingIntervalMs?: number },
): QueueContestant {
  return {
    unfinishedSql: `SELECT count(*) FROM dbos.workflow_status WHERE status IN ('ENQUEUED', 'PENDING')`,
    launch: (settings) => launchQueue(settings, tuning, polling),
  };
}

async function launchQueue(
  settings: QueueSettings,
  tuning: Tuning,
  polling: { readonly minPollingIntervalMs?: number },
): Promise<QueueEngine> {
  const { concurrency, work } = settings;
  const job = DBOS.registerWorkflow(
    async (index: number) => {
      work.job(index);
      return work.end(await DBOS.runStep(async () => work.step(0), { name: 'add' }), 1);
    },
    { name: 'job' },
  );
  const config = configOf(tuning, settings);
  DBOS.setConfig({ ...config, listenQueues: [] });
  await DBOS.launch();
  await DBOS.registerQueue(QUEUE, { ...polling, workerConcurrency: concurrency });
  return {
    enqueue: async (index) => void (await DBOS.startWorkflow(job, { queueName: QUEUE })(index)),
    enqueueMany: async (indexes) => {
      const prepared = indexes.map((index) =>
        prepareEnqueuedWorkflow(job, [index], { queueName: QUEUE, workflowID: randomUUID() }),
      );
      await enqueueWorkflows(await Promise.all(prepared));
    },
    // Which queues a process listens to is fixed at its launch.
    listen: async () => {
      await DBOS.shutdown();
      DBOS.setConfig(config);
      await DBOS.launch();
    },
    close: () => DBOS.shutdown(),
  };
}
