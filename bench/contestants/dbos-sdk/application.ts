/** DBOS Transact as its README writes it: registered functions, `runStep`, the static `DBOS`. */
import { DBOS, type DBOSConfig } from '@dbos-inc/dbos-sdk';
import type { Contestant, Engine, LaunchSettings } from '../../harness/contestant.js';

type Tuning = Omit<DBOSConfig, 'name' | 'systemDatabaseUrl' | 'executorID' | 'applicationVersion'>;

const HOUR_MS = 3_600_000;

export function dbosContestant(tuning: Tuning): Contestant {
  return {
    results: 'callback', // its handles of workflows of the same process do not poll
    completedSql: `SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'`,
    launch: (settings) => launchApplication(tuning, settings),
  };
}

async function launchApplication(
  tuning: Tuning,
  { url, executorId, work }: LaunchSettings,
): Promise<Engine> {
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
  DBOS.setConfig({
    ...tuning,
    name: 'bench',
    systemDatabaseUrl: url,
    executorID: executorId,
    applicationVersion: 'bench', // the default is a hash of the registered functions' source
  });
  await DBOS.launch();
  return {
    execute: async (steps) => (await DBOS.startWorkflow(run)(steps)).getResult(),
    start: async (steps) => void (await DBOS.startWorkflow(run)(steps)),
    startSleeper: async (index) => void (await DBOS.startWorkflow(sleeper)(index)),
    close: () => DBOS.shutdown(),
  };
}
