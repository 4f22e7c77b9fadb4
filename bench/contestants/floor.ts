/** The least SQL that a correct design issues, a statement a transition. */
import { floorContestant } from './floors/engine.js';
import { floorMessages } from './floors/messages.js';
import { floorQueue } from './floors/queue.js';
import { SingleIntake } from './floors/queue-store.js';
import { SingleStatements } from './floors/single-statements.js';

export const contestant = floorContestant(SingleStatements);
export const queue = floorQueue({ store: SingleStatements, intake: SingleIntake });
export const messages = floorMessages;
export { pastSql } from './floors/schema.js';
