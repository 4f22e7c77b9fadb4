/** DBOS Transact as it comes. */
import { dbosContestant } from './dbos-sdk/application.js';
import { dbosMessages } from './dbos-sdk/messages.js';
import { dbosQueue } from './dbos-sdk/queue.js';

export const contestant = dbosContestant({});
export const queue = dbosQueue({}, {});
export const messages = dbosMessages({});
