/** DBOS Transact as it comes. */
import { dbosContestant } from './dbos-sdk/application.js';

export const contestant = dbosContestant({});
