/** The least SQL that a correct design issues, the transitions of concurrent workflows grouped. */
import { BatchedStatements } from './floors/batched-statements.js';
import { floorContestant } from './floors/engine.js';
import { floorQueue } from './floors/queue.js';
import { BatchedIntake } from './floors/queue-store.js';

export const contestant = floorContestant(BatchedStatements);
export const queue = floorQueue({ store: BatchedStatements, intake: BatchedIntake });
export { pastSql } from './floors/schema.js';
