/** OpenWorkflow as its documentation writes it: a client and a worker over one PostgreSQL backend. */
import { OpenWorkflow } from 'openworkflow';
import { BackendPostgres } from 'openworkflow/postgres';
import type {
  Contestant,
  Engine,
  LaunchSettings,
  QueueContestant,
  QueueEngine,
  QueueSettings,
} from '../harness/contestant.js';

export const contestant: Contestant = {
  results: 'polling',
  completedSql: `SELECT count(*) FROM openworkflow.workflow_runs WHERE status = 'completed'`,
  launch,
};

/** Every workflow of it waits in one queue; a process takes part in it by starting a worker. */
export const queue: QueueContestant = {
  unfinishedSql: `SELECT count(*) FROM openworkflow.workflow_runs WHERE status IN ('pending', 'running')`,
  launch: launchQueue,
};

async function launch({ url, concurrency, work }: LaunchSettings): Promise<Engine> {
  const backend = await BackendPostgres.connect(url);
  const client = new OpenWorkflow({ backend });
  const run = client.defineWorkflow<{ steps: number }, number>(
    { name: 'run' },
    async ({ input, step }) => {
      let value = 0;
      for (let index = 0; index < input.steps; index += 1) {
        const given = value;
        value = await step.run({ name: 'add' }, () => work.step(given));
      }
      return work.end(value, input.steps);
    },
  );
  const sleeper = client.defineWorkflow<{ index: number }, void>(
    { name: 'sleeper' },
    async ({ input, step }) => {
      work.fallAsleep(input.index);
      await step.sleep('hour', '1h');
    },
  );
  const worker = client.newWorker({ concurrency });
  await worker.start();
  return {
    execute: async (steps) => (await run.run({ steps })).result(),
    start: async (steps) => void (await run.run({ steps })),
    startSleeper: async (index) => void (await sleeper.run({ index })),
    close: async () => {
      await worker.stop();
      await backend.stop();
    },
  };
}

async function launchQueue({ url, concurrency, work }: QueueSettings): Promise<QueueEngine> {
  const backend = await BackendPostgres.connect(url);
  const client = new OpenWorkflow({ backend });
  const job = client.defineWorkflow<{ index: number }, number>(
    { name: 'job' },
    async ({ input, step }) => {
      work.job(input.index);
      return work.end(await step.run({ name: 'add' }, () => work.step(0)), 1);
    },
  );
  const worker = client.newWorker({ concurrency });
  return {
    enqueue: async (index) => void (await job.run({ index })),
    listen: () => worker.start(),
    close: async () => {
      await worker.stop();
      await backend.stop();
    },
  };
}
