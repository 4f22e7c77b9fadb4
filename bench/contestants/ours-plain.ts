/** nestjs-dbos over a Prisma client without any setting. */
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
  return new PrismaClient({ adapter: new PrismaPg(url) });
}
