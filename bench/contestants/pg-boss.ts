/** pg-boss, a job queue, with notifications on and batches as large as its jobs may run at once. */
import { PgBoss, type Job } from 'pg-boss';
import type { QueueContestant, QueueEngine, QueueSettings } from '../harness/contestant.js';

const QUEUE = 'bench';

interface Payload {
  readonly index: number;
}

export const queue: QueueContestant = {
  unfinishedSql: `SELECT count(*) FROM pgboss.job WHERE name = '${QUEUE}' AND state < 'completed'`,
  launch,
};

async function launch({ url, concurrency, work }: QueueSettings): Promise<QueueEngine> {
  const boss = new PgBoss({ connectionString: url, max: 20, useListenNotify: true });
  boss.on('error', (error) => process.stderr.write(`${error}\n`));
  await boss.start();
  await boss.createQueue(QUEUE, { notify: true });
  return {
    enqueue: async (index) => void (await boss.send(QUEUE, { index })),
    enqueueMany: async (indexes) => {
      await boss.insert(
        QUEUE,
        indexes.map((index) => ({ data: { index } })),
      );
    },
    listen: async () => {
      await boss.work<Payload>(
        QUEUE,
        { batchSize: concurrency, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 },
        async (jobs: Job<Payload>[]) => {
          await Promise.all(jobs.map(({ data }) => work.plainJob(data.index)));
        },
      );
    },
    close: () => boss.stop({ graceful: false }),
  };
}
