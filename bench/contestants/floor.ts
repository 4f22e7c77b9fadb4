/** The least SQL that a correct design issues, a statement a transition. */
import { floorContestant } from './floors/engine.js';
import { SingleStatements } from './floors/single-statements.js';

export const contestant = floorContestant(SingleStatements);
