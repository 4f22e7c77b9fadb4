/** Messages and events of DBOS Transact: `DBOS.send`, `DBOS.recv`, `DBOS.setEvent`, `DBOS.getEvent`. */
import { randomUUID } from 'node:crypto';
import { DBOS } from '@dbos-inc/dbos-sdk';
import type { LaunchSettings, MessageContestant, MessageEngine } from '../../harness/contestant.js';
import { configOf, type Tuning } from './application.js';

const TOPIC = 'ball';
const TIMEOUT_S = 60;

export function dbosMessages(tuning: Tuning): MessageContestant {
  return { launch: (settings) => launchMessages(settings, tuning) };
}

async function launchMessages(settings: LaunchSettings, tuning: Tuning): Promise<MessageEngine> {
  const { work } = settings;
  const receive = (): Promise<number | null> =>
    DBOS.recv<number>(TOPIC, { timeoutSeconds: TIMEOUT_S });
  const ping = DBOS.registerWorkflow(
    async (partner: string, rounds: number) => {
      for (let round = 0; round < rounds; round += 1) {
        work.serve();
        await DBOS.send(partner, round, TOPIC);
        work.returned(await receive(), round);
      }
    },
    { name: 'ping' },
  );
  const pong = DBOS.registerWorkflow(
    async (partner: string, rounds: number) => {
      for (let round = 0; round < rounds; round += 1)
        await DBOS.send(partner, await receive(), TOPIC);
    },
    { name: 'pong' },
  );
  const herald = DBOS.registerWorkflow(
    async (events: number) => {
      for (let index = 0; index < events; index += 1) {
        await work.cue(index);
        work.setting();
        await DBOS.setEvent(`event ${index}`, index);
      }
    },
    { name: 'herald' },
  );
  DBOS.setConfig(configOf(tuning, settings));
  await DBOS.launch();
  return {
    pingPong: async (rounds) => {
      const [pingId, pongId] = [randomUUID(), randomUUID()];
      const answering = await DBOS.startWorkflow(pong, { workflowID: pongId })(pingId, rounds);
      const serving = await DBOS.startWorkflow(ping, { workflowID: pingId })(pongId, rounds);
      await Promise.all([answering.getResult(), serving.getResult()]);
    },
    startHerald: async (events) => {
      const { workflowID } = await DBOS.startWorkflow(herald)(events);
      return {
        event: async (index) => (await DBOS.getEvent<number>(workflowID, `event ${index}`)) ?? -1,
      };
    },
    close: () => DBOS.shutdown(),
  };
}
