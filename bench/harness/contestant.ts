/** What a contestant must be able to do. Each has one file in `contestants/`, which exports the parts it can play. */
import type { Work } from './work.js';

/** What the file of a contestant exports: each part it can play. */
export interface Parts {
  readonly contestant?: Contestant;
  readonly queue?: QueueContestant;
  readonly messages?: MessageContestant;
  readonly transactions?: TransactionContestant;
  /** Statements that put workflows of one step that ended well into the tables, as many as asked, over some weeks. */
  readonly pastSql?: (workflows: number) => readonly string[];
}

/** An engine of durable workflows. */
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
  /** The same at every launch on one database, but for processes that play at the same time. */
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
  /** Lists the newest workflows that ended well, with what a list shows of each; resolves to how many came. */
  listNewest?(limit: number): Promise<number>;
  close(): Promise<void>;
}

/** A queue and its workers: of workflows of one step, or of plain jobs. */
export interface QueueContestant {
  /** Counts what waits in the queue or runs: one row, one number. */
  readonly unfinishedSql: string;
  /** Resolves when the process can put jobs into the queue; it takes none out yet. */
  launch(settings: QueueSettings): Promise<QueueEngine>;
}

export interface QueueSettings extends LaunchSettings {
  /** Whether the process will ever take jobs out; if not, it must not keep others from it either. */
  readonly listens: boolean;
}

export interface QueueEngine {
  /** Puts a job into the queue; resolves once it is durable. Its body is `Work.job`. */
  enqueue(index: number): Promise<void>;
  /** The same for many with the call that the contestant has for that. */
  enqueueMany?(indexes: readonly number[]): Promise<void>;
  /** Begins to take jobs out, never more at once than `concurrency`. */
  listen(): Promise<void>;
  close(): Promise<void>;
}

/** Workflows that talk: to each other by messages, to whoever asks by events. */
export interface MessageContestant {
  launch(settings: LaunchSettings): Promise<MessageEngine>;
}

export interface MessageEngine {
  /**
   * Two workflows that send each other a message in turns, `rounds` times there and back, the first saying
   * `Work.serve` before and `Work.returned` after. Every waiting has a durable timeout of a minute.
   */
  pingPong(rounds: number): Promise<void>;
  /** Starts a workflow that sets events, one for each `Work.cue`, saying `Work.setting` before each. */
  startHerald(events: number): Promise<Herald>;
  close(): Promise<void>;
}

export interface Herald {
  /** Waits for one of its events, from outside of any workflow. */
  event(index: number): Promise<number>;
}

/** Workflows of steps that are transactions of the application's own Prisma client. */
export interface TransactionContestant {
  launch(settings: LaunchSettings): Promise<TransactionEngine>;
}

export interface TransactionEngine {
  /** Runs a workflow of `count` transaction steps, each of which writes a row, from `firstId` on; resolves to how many. */
  write(firstId: number, count: number): Promise<number>;
  close(): Promise<void>;
}

/** What a scenario may ask for: the parts, a queue's call for many jobs, and a rate that more processes may raise. */
export type Skill =
  'workflows' | 'queue' | 'messages' | 'past' | 'batch' | 'scale-out' | 'transactions';

const ALL_BUT_TRANSACTIONS = [
  'workflows',
  'queue',
  'messages',
  'past',
  'batch',
  'scale-out',
] as const;
const EVERYTHING = [...ALL_BUT_TRANSACTIONS, 'transactions'] as const;
const QUEUES_AND_WORKFLOWS = ['workflows', 'queue', 'past', 'batch', 'scale-out'] as const;

/** Written down here rather than in each one's file: whoever plans a run loads no contestant. */
const SKILLS = {
  ours: EVERYTHING,
  'ours-plain': EVERYTHING,
  dbos: EVERYTHING,
  'dbos-default': ['workflows', 'queue', 'messages', 'batch'], // the interval of its polls bounds it, however many processes
  openworkflow: ['workflows', 'queue', 'scale-out'],
  'graphile-worker': ['queue', 'batch', 'scale-out'],
  'pg-boss': ['queue', 'batch', 'scale-out'],
  floor: ALL_BUT_TRANSACTIONS, // without Prisma
  'floor-batched': QUEUES_AND_WORKFLOWS, // one message at a time: nothing to batch
} satisfies Readonly<Record<string, readonly Skill[]>>;

export type ContestantName = keyof typeof SKILLS;

export const CONTESTANTS = Object.keys(SKILLS) as readonly ContestantName[];

/** What all others are compared with. */
export const REFERENCE: ContestantName = 'dbos';

export function canPlay(name: ContestantName, needs: readonly Skill[]): boolean {
  const skills: readonly Skill[] = SKILLS[name];
  return needs.every((need) => skills.includes(need));
}

/** Only the process that needs it loads a contestant. */
export async function loadContestant(name: ContestantName): Promise<Parts> {
  return (await import(`../contestants/${name}.js`)) as Parts;
}
