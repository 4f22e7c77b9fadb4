/** nestjs-dbos with the settings that its guide recommends for the Prisma client. */
import { PrismaPg } from '@prisma/adapter-pg';
import { PrismaClient } from '../generated/prisma/client.js';
import type {
  Contestant,
  LaunchSettings,
  MessageContestant,
  QueueContestant,
} from '../harness/contestant.js';
import { COMPLETED_SQL, launchApplication } from './nest/application.js';
import { launchMessageApplication } from './nest/message-application.js';
import { UNFINISHED_SQL, launchQueueApplication } from './nest/queue-application.js';

export { pastSql } from './nest/past.js';

export const contestant: Contestant = {
  results: 'callback',
  completedSql: COMPLETED_SQL,
  launch: (settings) => launchApplication(clientOf(settings), settings),
};

export const queue: QueueContestant = {
  unfinishedSql: UNFINISHED_SQL,
  launch: (settings) => launchQueueApplication(clientOf(settings), settings),
};

export const messages: MessageContestant = {
  launch: (settings) => launchMessageApplication(clientOf(settings), settings),
};

function clientOf({ url }: LaunchSettings): PrismaClient {
  const adapter = new PrismaPg(url, { statementNameGenerator });
  return new PrismaClient({ adapter, errorFormat: 'minimal' });
}

const names = new Map<string, string>();

/** One name for each text of a statement, so that PostgreSQL plans it once for a connection. */
function statementNameGenerator({ sql }: { readonly sql: string }): string {
  const known = names.get(sql);
  if (known !== undefined) return known;
  const name = `s${names.size}`;
  names.set(sql, name);
  return name;
}
