/** DBOS Transact as it comes. */
import { dbosContestant } from './dbos-sdk/application.js';
import { dbosQueue } from './dbos-sdk/queue.js';

export const contestant = dbosContestant({});
export const queue = dbosQueue({}, {});
