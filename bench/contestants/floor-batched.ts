/** The least SQL that a correct design issues, the transitions of concurrent workflows grouped. */
import { floorContestant } from './floors/engine.js';
import { BatchedStatements } from './floors/batched-statements.js';

export const contestant = floorContestant(BatchedStatements);
