/** DBOS Transact as its README writes it: registered functions, `runStep`, the static `DBOS`. */
import { DBOS, type DBOSConfig } from '@dbos-inc/dbos-sdk';
import type { Contestant, Engine, LaunchSettings } from '../../harness/contestant.js';

export type Tuning = Omit<
  DBOSConfig,
  'name' | 'systemDatabaseUrl' | 'executorID' | 'applicationVersion'
>;

const HOUR_MS = 3_600_000;

export function dbosContestant(tuning: Tuning): Contestant {
  return {
    results: 'callback', // its handles of workflows of the same process do not poll
    completedSql: `SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'`,
    launch: (settings) => launchApplication(tuning, settings),
  };
}

export function configOf(tuning: Tuning, { url, executorId }: LaunchSettings): DBOSConfig {
  return {
    ...tuning,
    name: 'bench',
    systemDatabaseUrl: url,
    executorID: executorId,
    applicationVersion: 'bench', // the default is a hash of the registered functions' source
  };
}

async function launchApplication(tuning: Tuning, settings: LaunchSettings): Promise<Engine> {
  const { work } = settings;
  const run = DBOS.registerWorkflow(
    async (steps: number) => {
      let value = 0;
      for (let step = 0; step < steps; step += 1) {
        const given = value;
        value = await DBOS.runStep(async () => work.step(given), { name: 'add' });
      }
      return work.end(value, steps);
    },
    { name: 'run' },
  );
  const sleeper = DBOS.registerWorkflow(
    async (index: number) => {
      work.fallAsleep(index);
      await DBOS.sleep(HOUR_MS);
    },
    { name: 'sleeper' },
  );
  DBOS.setConfig(configOf(tuning, settings));
  await DBOS.launch();
  return {
    execute: async (steps) => (await DBOS.startWorkflow(run)(steps)).getResult(),
    start: async (steps) => void (await DBOS.startWorkflow(run)(steps)),
    startSleeper: async (index) => void (await DBOS.startWorkflow(sleeper)(index)),
    listNewest: async (limit) =>
      (await DBOS.listWorkflows({ status: 'SUCCESS', limit, sortDesc: true })).length,
    close: () => DBOS.shutdown(),
  };
}
