// A process that starts up by migrating. It asks its parent before every statement, so that it can be killed at each.
import { withMigrationTarget } from '../../libs/dbos/src/prisma/migrate-database.js';
import type {
  MigrationSession,
  MigrationTarget,
} from '../../libs/dbos/src/prisma/migration-target.js';
import { migrate } from '../../libs/dbos/src/prisma/migrator.js';

const [, , url] = process.argv;
if (url === undefined || process.send === undefined) throw new Error('to be forked with a URL');

await permission();
await withMigrationTarget(url, (target) => migrate(asking(target)));
process.disconnect();

/** Resolves when the parent lets us go on. */
async function permission(): Promise<void> {
  await new Promise((resolve) => {
    process.once('message', resolve);
    process.send?.('may I?');
  });
}

function asking(target: MigrationTarget): MigrationTarget {
  return {
    query: async (sql, ...values) => {
      await permission();
      return target.query(sql, ...values);
    },
    transaction: (work) =>
      target.transaction(async (session) => {
        const result = await work(askingSession(session));
        await permission(); // to commit
        return result;
      }),
  };
}

function askingSession(session: MigrationSession): MigrationSession {
  return {
    query: async (sql, ...values) => {
      await permission();
      return session.query(sql, ...values);
    },
    execute: async (sql, ...values) => {
      await permission();
      return session.execute(sql, ...values);
    },
  };
}
