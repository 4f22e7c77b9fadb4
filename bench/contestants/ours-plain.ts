/** nestjs-dbos over a Prisma client without any setting. */
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
import { plainClient } from './prisma/clients.js';

export { pastSql } from './nest/past.js';

export const contestant: Contestant = {
  results: 'callback',
  completedSql: COMPLETED_SQL,
  launch: (settings) => launchApplication(plainClient(settings), settings),
};

export const queue: QueueContestant = {
  unfinishedSql: UNFINISHED_SQL,
  launch: (settings) => launchQueueApplication(plainClient(settings), settings),
};

export const messages: MessageContestant = {
  launch: (settings) => launchMessageApplication(plainClient(settings), settings),
};

export const transactions: TransactionContestant = {
  launch: (settings) => launchTransactionApplication(plainClient(settings), settings),
};
