/** DBOS Transact at its best: see the README for what was tried. */
import { dbosContestant } from './dbos-sdk/application.js';
import { dbosMessages } from './dbos-sdk/messages.js';
import { dbosQueue } from './dbos-sdk/queue.js';
import { dbosTransactions } from './dbos-sdk/transactions.js';

const TUNING = { logLevel: 'error', systemDatabasePoolSize: 20 };

export const contestant = dbosContestant(TUNING);
export const queue = dbosQueue(TUNING, { minPollingIntervalMs: 10 });
export const messages = dbosMessages(TUNING);
export const transactions = dbosTransactions(TUNING);
export { pastSql } from './dbos-sdk/past.js';
