/** graphile-worker, a job queue, with the batching that its documentation recommends for many short jobs. */
import {
  Logger,
  WorkerPreset,
  makeWorkerUtils,
  run,
  type Runner,
  type TaskList,
} from 'graphile-worker';
import type { QueueContestant, QueueEngine, QueueSettings } from '../harness/contestant.js';

declare global {
  namespace GraphileWorker {
    interface Tasks {
      job: { readonly index: number };
    }
  }
}

export const queue: QueueContestant = {
  unfinishedSql: 'SELECT count(*) FROM graphile_worker._private_jobs', // a job that has ended is deleted
  launch,
};

async function launch({ url, concurrency, work }: QueueSettings): Promise<QueueEngine> {
  const preset: GraphileConfig.Preset = {
    extends: [WorkerPreset],
    worker: {
      connectionString: url,
      maxPoolSize: 20,
      concurrentJobs: concurrency,
      localQueue: { size: 500 },
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0,
      logger: new Logger(() => () => undefined),
    },
  };
  const utils = await makeWorkerUtils({ preset });
  await utils.migrate();
  let runner: Runner | undefined;
  return {
    enqueue: async (index) => void (await utils.addJob('job', { index })),
    enqueueMany: async (indexes) => {
      await utils.addJobs(indexes.map((index) => ({ identifier: 'job', payload: { index } })));
    },
    listen: async () => {
      const taskList: TaskList = { job: ({ index }) => work.plainJob(index) };
      runner = await run({ preset, taskList, noHandleSignals: true });
    },
    close: async () => {
      await runner?.stop();
      await utils.release();
    },
  };
}
