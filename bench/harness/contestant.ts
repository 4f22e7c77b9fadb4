/** What a contestant must be able to do. Each has one file in `contestants/`, which exports its `contestant`. */
import type { Work } from './work.js';

export interface Contestant {
  /**
   * How a caller gets a result: `callback` when the process that ran the workflow hands it over, `polling` when it is
   * read from the table at intervals. The pace of the latter is the subject of S1 only.
   */
  readonly results: 'callback' | 'polling';
  /** Counts the workflows that have ended well: one row, one number. */
  readonly completedSql: string;
  launch(settings: LaunchSettings): Promise<Engine>;
}

export interface LaunchSettings {
  readonly url: string;
  /** The same at every launch on one database. */
  readonly executorId: string;
  /** Workflows that are to run at once; for those that fix it at launch. */
  readonly concurrency: number;
  readonly work: Work;
}

export interface Engine {
  /** Runs a workflow of `steps` steps from its start to its result. */
  execute(steps: number): Promise<number>;
  /** Starts one; resolves once it is durable. */
  start(steps: number): Promise<void>;
  /** Starts a workflow that sleeps for an hour; resolves once it is durable. */
  startSleeper(index: number): Promise<void>;
  close(): Promise<void>;
}

export const CONTESTANTS = [
  'ours',
  'ours-plain',
  'dbos',
  'dbos-default',
  'openworkflow',
  'floor',
  'floor-batched',
] as const;

export type ContestantName = (typeof CONTESTANTS)[number];

/** What all others are compared with. */
export const REFERENCE: ContestantName = 'dbos';

/** Only the process that needs it loads a contestant. */
export async function loadContestant(name: ContestantName): Promise<Contestant> {
  const module = (await import(`../contestants/${name}.js`)) as { readonly contestant: Contestant };
  return module.contestant;
}
