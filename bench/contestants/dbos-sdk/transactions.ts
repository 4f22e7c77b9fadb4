/** Transaction steps of DBOS Transact over the same Prisma client: `PrismaDataSource` of `@dbos-inc/prisma-datasource`. */
import { DBOS } from '@dbos-inc/dbos-sdk';
import type { PrismaClient } from '../../generated/prisma/client.js';
import type {
  LaunchSettings,
  TransactionContestant,
  TransactionEngine,
} from '../../harness/contestant.js';
import { tunedClient } from '../prisma/clients.js';
import { createNotes, writeNote } from '../prisma/notes.js';
import { configOf, type Tuning } from './application.js';
import { PrismaDataSource } from './data-source.js';

export function dbosTransactions(tuning: Tuning): TransactionContestant {
  return { launch: (settings) => launchTransactions(settings, tuning) };
}

async function launchTransactions(
  settings: LaunchSettings,
  tuning: Tuning,
): Promise<TransactionEngine> {
  const { work } = settings;
  const prisma = tunedClient(settings);
  await createNotes(prisma);
  const source = new PrismaDataSource<PrismaClient>('notes', prisma);
  const write = source.registerTransaction((id: number) => writeNote(source.client, id), {
    name: 'write',
  });
  const run = DBOS.registerWorkflow(
    async (firstId: number, count: number) => {
      let written = 0;
      while (written < count) {
        const id = firstId + written;
        written += (await write(id)) === id ? 1 : Number.NaN;
      }
      return work.end(written, count);
    },
    { name: 'run' },
  );
  DBOS.setConfig(configOf(tuning, settings));
  await DBOS.launch();
  return {
    write: async (firstId, count) => (await DBOS.startWorkflow(run)(firstId, count)).getResult(),
    close: async () => {
      await DBOS.shutdown();
      await prisma.$disconnect();
    },
  };
}
