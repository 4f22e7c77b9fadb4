/** DBOS Transact at its best: see the README for what was tried. */
import { dbosContestant } from './dbos-sdk/application.js';

export const contestant = dbosContestant({ logLevel: 'error', systemDatabasePoolSize: 20 });
