/** nestjs-dbos with the settings that its guide recommends for the Prisma client. */
import type {
  Contestant,
  MessageContestant,
  QueueContestant,
  TransactionContestant,
} from '../harness/contestant.js';
import { COMPLETED_SQL, launchApplication } from './nest/application.js';
import { launchMessageApplication } from './nest/message-application.js';
import { UNFINISHED_SQL, launchQueueApplication } from './nest/queue-application.js';
import { launchTransactionApplication } from './nest/transaction-application.js';
import { tunedClient } from './prisma/clients.js';

export { pastSql } from './nest/past.js';

export const contestant: Contestant = {
  results: 'callback',
  completedSql: COMPLETED_SQL,
  launch: (settings) => launchApplication(tunedClient(settings), settings),
};

export const queue: QueueContestant = {
  unfinishedSql: UNFINISHED_SQL,
  launch: (settings) => launchQueueApplication(tunedClient(settings), settings),
};

export const messages: MessageContestant = {
  launch: (settings) => launchMessageApplication(tunedClient(settings), settings),
};

export const transactions: TransactionContestant = {
  launch: (settings) => launchTransactionApplication(tunedClient(settings), settings),
};
