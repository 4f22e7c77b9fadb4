// With years of history in the tables no statement of the engine reads more than its own rows, whatever the planner
// believes of the tables: that they are empty, that everything in them is unfinished, or the truth.
//
// GROWTH_WORKFLOWS=1000000 for more history; GROWTH_FIGURES=1 prints what each operation reads, GROWTH_EXPLAIN=1 the plan
// of every statement, those within functions included.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, readdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import type { QueueLimits } from '../../libs/dbos/src/core/queue.js';
import { WORKFLOW_STATUSES } from '../../libs/dbos/src/core/status.js';
import type { Owner } from '../../libs/dbos/src/core/owner.js';
import { PrismaCheckpointRepository } from '../../libs/dbos/src/prisma/prisma-checkpoint-repository.js';
import type {
  CountLook,
  ListingLook,
  WorkflowFilter,
} from '../../libs/dbos/src/repository/listing-repository.js';
import type { NewStep } from '../../libs/dbos/src/repository/step-repository.js';
import type { TransactionAttempt } from '../../libs/dbos/src/repository/transaction-repository.js';
import type { NewWorkflow } from '../../libs/dbos/src/repository/workflow-repository.js';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { writeActive, writeHistory, type ActiveRows } from '../support/history.js';
import { GROWING, TableReads, type Reads } from '../support/table-reads.js';

const LARGE = Number(process.env['GROWTH_WORKFLOWS'] ?? 100_000);
const EXPLAIN = process.env['GROWTH_EXPLAIN'] !== undefined;
const FIGURES = process.env['GROWTH_FIGURES'] !== undefined;
/** A million workflows take a few minutes. */
const FILLING_MS = 600_000;
/** Unfinished workflows of each kind. */
const BACKLOG = 10_000;
const UNFINISHED = ['PENDING', 'ENQUEUED', 'DELAYED', 'SUSPENDED'] as const;

/**
 * What one operation may read at most: it is about 500 workflows or fewer, or about ten thousand that it counts. Some is
 * what vacuum would have removed, entries of what was unfinished once.
 */
const MOST: Reads = { scans: 0, scannedRows: 0, entries: 4_000, blocks: 9_000 };

/** Index entries of those that by their nature look through the unfinished ones, or the newest, and are asked for rarely. */
const MOST_ENTRIES: Readonly<Record<string, number>> = {
  'the recovery report': 5 * 10_000,
  'the health report': 7 * 1_000,
  'the counts of a queue': 5 * 10_000,
  'a claim beside what is stranded': 900, // of which there is more in each place
  'a move of a version to another': 5 * 10_000,
  'a resumption of nothing suspended': 2 * 10_000, // once in a launch
  'a resumption of what is suspended': 2 * 10_000,
  'a page of the newest': 10_000, // behind all that the operations before it have left to the vacuum
};

/** Looks for workflows by what no index serves go along the order of arrival, two thousand of each status at a time. */
const LOOKS: Reads = { scans: 0, scannedRows: 0, entries: 25_000, blocks: 40_000 };
const IS_LOOK = /^(workflows|a count) /;

/** All of them, for a statement. */
const GROWN = GROWING.map((table) => `dbos.${table}`).join(', ');

const TEXT = { text: '"done"', format: 'test' };

interface Stage {
  readonly repository: PrismaCheckpointRepository;
  /** A new id, executor or prefix. */
  unique(): string;
  /** Puts workflows in place; not counted. */
  place(rows: Omit<ActiveRows, 'prefix'>): Promise<string[]>;
  /** An executor of this machine whose process and session are gone; not counted. */
  neighbour(): Promise<string>;
  /** Declares an executor dead; not counted. */
  kill(id: string): Promise<unknown>;
  /** The next answer to a statement that contains `part` is lost on its way, or something else comes in its place. */
  tamper(part: string, how: 'lose' | 'empty'): void;
}

/** Puts in place what the operation needs; what it returns is the operation. */
type Operation = (stage: Stage) => Promise<() => Promise<unknown>>;

/** In the statistics of the third situation this executor owns all there is. */
const EXECUTOR = 'executor 1';

const newWorkflow = (id: string, executorId?: string): NewWorkflow => ({
  id,
  name: 'Name 0',
  input: TEXT,
  ...(executorId !== undefined && { executorId }),
});

const newStep = (stepId: number): NewStep => ({
  stepId: String(stepId),
  name: `step ${stepId}`,
  output: TEXT,
  attempts: 1,
  durationMs: 1,
});

const attemptOf = (owner: Owner): TransactionAttempt => ({
  owner,
  stepId: '0',
  name: 'transaction',
  failures: 0,
  attempts: 1,
  startedAt: performance.now(),
});

const ALONE = { children: false, by: null };

const many = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

async function owned({ place }: Stage, count = 1, executorId = EXECUTOR): Promise<Owner[]> {
  const ids = await place({ status: 'PENDING', count, executorId });
  return ids.map((workflowId) => ({ workflowId, executorId, epoch: 1 }));
}

async function joined(
  { repository, unique }: Stage,
  name?: string,
  applicationVersion?: string,
): Promise<string> {
  const id = unique();
  await repository.executors.register({
    id,
    leaseMs: 60_000,
    hostname: 'elsewhere',
    pid: 1,
    ...(name !== undefined && { name }),
    ...(applicationVersion !== undefined && { applicationVersion, workflows: ['Name 0'] }),
  });
  return id;
}

const claim = ({ repository, unique }: Stage, limit: number, queues: readonly string[] = []) =>
  repository.queues.claim({
    executorId: unique(),
    names: ['Name 0', 'Name 1'],
    versions: ['v1'],
    queues: queues.map((queue) => ({ queue, running: 0 })),
    limit,
    validForMs: 10_000,
    expiresAt: new Date(Date.now() + 60_000),
  });

async function queueOf({ repository, unique }: Stage, limits: QueueLimits = {}): Promise<string> {
  const name = unique();
  await repository.queues.declare([{ name, limits }]);
  return name;
}

const TOPIC = 'topic';
const EVERYTHING = { statuses: WORKFLOW_STATUSES } as const;

const minutesAgo = (minutes: number): Date => new Date(Date.now() - minutes * 60_000);

type Asked<L extends ListingLook | CountLook> = Partial<Omit<L, 'filter'>> & {
  readonly filter?: Partial<WorkflowFilter>;
};

/** One look for a page of 50. */
function listing({ filter, ...look }: Asked<ListingLook>): Operation {
  const rest = {
    order: 'newest',
    limit: 50,
    breadth: 2_000,
    loadInput: false,
    loadOutput: false,
  } as const;
  return async ({ repository }) =>
    () =>
      repository.listings.list({ ...rest, ...look, filter: { ...EVERYTHING, ...filter } });
}

function counting({ filter, ...look }: Asked<CountLook>): Operation {
  const rest = { groupBy: [], bucketMs: undefined };
  return async ({ repository }) =>
    () =>
      repository.listings.count({ ...rest, ...look, filter: { ...EVERYTHING, ...filter } });
}

function explanation(prepared: (stage: Stage) => Promise<string>): Operation {
  return async (stage) => {
    const workflowId = await prepared(stage);
    return () => stage.repository.explanations.facts(workflowId);
  };
}

/** None of the history ended so. */
const REMOVAL = {
  outcome: 'MAX_RECOVERY_ATTEMPTS_EXCEEDED',
  maxAgeMs: undefined,
  keptFrom: undefined,
  after: undefined,
  size: 500,
} as const;

const PARKED = { status: 'DELAYED', wakeAt: undefined, topics: [TOPIC] } as const;

const messageTo = (workflowId: string) => ({ workflowId, topic: TOPIC, message: TEXT });

const receiptOf = (owner: Owner) => ({
  owner,
  stepId: '0',
  name: 'receive',
  topic: TOPIC,
  timeout: undefined,
});

const OPERATIONS: Readonly<Record<string, Operation>> = {
  'a start': async ({ repository, unique }) => {
    return () => repository.workflows.start(newWorkflow(unique(), 'executor'));
  },
  'an enqueued start': async ({ repository, unique }) => {
    return () => repository.workflows.start(newWorkflow(unique()));
  },
  '64 starts at once': async ({ repository, unique }) => {
    return () =>
      Promise.all(
        many(64).map(() => repository.workflows.start(newWorkflow(unique(), 'executor'))),
      );
  },
  'a start of a finished workflow': async ({ repository }) => {
    return () => repository.workflows.start(newWorkflow('history 1', 'executor'));
  },
  'a start that another has overtaken': async ({ repository, unique, tamper }) => {
    tamper('dbos.start_workflows', 'empty');
    return () => repository.workflows.start(newWorkflow(unique(), 'executor'));
  },
  'a step': async (stage) => {
    const [owner] = await owned(stage);
    return () => stage.repository.steps.record(owner!, newStep(0));
  },
  'the steps of 64 runs at once': async (stage) => {
    const owners = await owned(stage, 64);
    return () =>
      Promise.all(owners.map((owner) => stage.repository.steps.record(owner, newStep(0))));
  },
  'a step that stands already': async (stage) => {
    const [owner] = await owned(stage);
    await stage.repository.steps.record(owner!, newStep(0));
    return () => stage.repository.steps.record(owner!, newStep(0));
  },
  'a step of a lost run': async ({ repository }) => {
    const owner = { workflowId: 'history 2', executorId: 'executor 2', epoch: 1 };
    return () => repository.steps.record(owner, newStep(0));
  },
  'a settlement': async (stage) => {
    const [owner] = await owned(stage);
    return () => stage.repository.workflows.settle(owner!, { status: 'SUCCESS', output: TEXT });
  },
  'a settlement as delayed': async (stage) => {
    const [owner] = await owned(stage);
    const wakeAt = new Date(Date.now() + 3_600_000);
    return () => stage.repository.workflows.settle(owner!, { status: 'DELAYED', wakeAt });
  },
  'the settlements of 64 runs at once': async (stage) => {
    const owners = await owned(stage, 64);
    return () =>
      Promise.all(
        owners.map((owner) =>
          stage.repository.workflows.settle(owner, { status: 'SUCCESS', output: TEXT }),
        ),
      );
  },
  'a settlement whose answer is lost': async (stage) => {
    const [owner] = await owned(stage);
    stage.tamper('dbos.write_transitions', 'lose');
    return () => stage.repository.workflows.settle(owner!, { status: 'SUCCESS', output: TEXT });
  },
  'a claim of nothing': async (stage) => () => claim(stage, 1_000),
  'a claim among what others must run': async (stage) => {
    await stage.place({ status: 'ENQUEUED', count: 64, name: 'Name of others' });
    return () => claim(stage, 1_000);
  },
  'a claim of one of many': async (stage) => {
    await stage.place({ status: 'ENQUEUED', count: 64 });
    return () => claim(stage, 1);
  },
  'a claim of all': async (stage) => {
    await stage.place({ status: 'ENQUEUED', count: 64 });
    return () => claim(stage, 1_000);
  },
  'a claim beside what is stranded': async (stage) => {
    const queues = [await queueOf(stage), await queueOf(stage, { partition: { concurrency: 50 } })];
    const [free, parts] = queues;
    for (const [version, count] of [
      ['stranded', 1_000],
      ['v1', 20],
    ] as const) {
      await stage.place({ status: 'ENQUEUED', count, version });
      await stage.place({ status: 'ENQUEUED', count, version, queue: free! });
      await stage.place({ status: 'ENQUEUED', count, version, queue: parts!, partitions: count });
    }
    return () => claim(stage, 1_000, queues);
  },
  'a claim of what has several versions': async (stage) => {
    const queue = await queueOf(stage);
    await stage.place({ status: 'ENQUEUED', count: 64, version: 'v1', queue });
    await stage.place({ status: 'ENQUEUED', count: 64, queue });
    return () => claim(stage, 100, [queue]);
  },
  'a claim of one of several versions that are alive': async (stage) => {
    for (const applicationVersion of ['v0', 'v1', 'v2'])
      await joined(stage, undefined, applicationVersion);
    await stage.place({ status: 'ENQUEUED', count: 64, version: 'v1' });
    return () => claim(stage, 1_000);
  },
  'a move of workflows to another version': async ({ repository, place }) => {
    const ids = await place({ status: 'ENQUEUED', count: 250, version: 'v0' });
    return () => repository.control.setVersion([...ids, 'history 5', 'nobody'], 'v1', ALONE);
  },
  'a move of a version to another': async ({ repository, place }) => {
    await place({ status: 'ENQUEUED', count: 250, version: 'v0' });
    return () => repository.control.setVersion({ applicationVersion: 'v0' }, 'v1', ALONE);
  },
  'a requeue of nothing': async ({ repository }) => {
    return () =>
      repository.queues.requeue({ executorIds: [EXECUTOR, 'executor 2'], countsAsRecovery: true });
  },
  'a requeue of what a dead executor owned': async (stage) => {
    await owned(stage, 64);
    const executorIds = [EXECUTOR, stage.unique()];
    return () => stage.repository.queues.requeue({ executorIds, countsAsRecovery: true });
  },
  'a look for strays': async (stage) => {
    const owners = await owned(stage, 64);
    return () =>
      stage.repository.queues.requeue({
        executorIds: [EXECUTOR],
        except: owners.map(({ workflowId }) => workflowId),
        before: new Date(),
        countsAsRecovery: false,
      });
  },
  'a claim when nothing is due': async (stage) => {
    await stage.place({ status: 'DELAYED', count: 10 });
    return () => claim(stage, 1_000);
  },
  'a claim of what is due': async (stage) => {
    await stage.place({ status: 'DELAYED', count: 64, dueInSeconds: -1 });
    return () => claim(stage, 1_000);
  },
  'the outcomes of other processes': async ({ repository, place }) => {
    const unfinished = await place({ status: 'PENDING', count: 10, executorId: 'elsewhere' });
    const ids = [...many(50).map((n) => `history ${n + 1}`), ...unfinished, 'nobody'];
    return () => repository.workflows.outcomes(ids);
  },
  'a look at a workflow': async ({ repository }) => {
    return () => repository.workflows.find('history 3');
  },
  'the outcomes of 500 workflows': async ({ repository }) => {
    return () => repository.workflows.outcomes(many(500).map((n) => `history ${n + 1}`));
  },
  'a cancellation': async ({ repository, place }) => {
    const ids = await place({ status: 'ENQUEUED', count: 250 });
    return () => repository.control.cancel([...ids, 'history 4', 'nobody'], ALONE);
  },
  'a resumption': async ({ repository, place }) => {
    const ids = await place({ status: 'CANCELLED', count: 250 });
    return () => repository.control.resume([...ids, 'history 5', 'nobody'], undefined, ALONE);
  },
  'a cancellation with children': async ({ repository, place }) => {
    const [id] = await place({ status: 'PENDING', count: 10, executorId: 'elsewhere' });
    return () => repository.control.cancel([id!, 'history 9'], { children: true, by: 'somebody' });
  },
  'a start of children': async (stage) => {
    const owners = await owned(stage, 64, 'elsewhere');
    return () =>
      Promise.all(
        owners.map(({ workflowId }) =>
          stage.repository.workflows.start({
            ...newWorkflow(stage.unique(), 'executor'),
            parentId: workflowId,
          }),
        ),
      );
  },
  'an expiry of nothing': async ({ repository, place }) => {
    await place({
      status: 'PENDING',
      count: 64,
      executorId: 'elsewhere',
      deadlineInSeconds: 3_600,
    });
    return () => repository.control.expire(1_000);
  },
  'an expiry': async ({ repository, place }) => {
    await place({ status: 'PENDING', count: 64, executorId: 'elsewhere', deadlineInSeconds: -1 });
    return () => repository.control.expire(1_000);
  },
  'forks of 16 workflows': async ({ repository, unique }) => {
    const forks = many(16).map((n) => ({
      originId: `history ${n + 1}`,
      id: unique(),
      from: n % 2 === 0 ? { stepName: 'step 1' } : ({ lastFailure: true } as const),
      action: 'forked' as const,
      applicationVersion: undefined,
      place: undefined,
      limit: undefined,
      by: null,
    }));
    return () => repository.control.fork(forks);
  },
  'a deletion': async (stage) => {
    const owners = await owned(stage, 64, 'elsewhere');
    await Promise.all(owners.map((owner) => stage.repository.steps.record(owner, newStep(0))));
    const ids = owners.map(({ workflowId }) => workflowId);
    return () => stage.repository.control.delete(ids, { children: true, by: null });
  },
  'a look at what was done to a workflow': async ({ repository, place }) => {
    const ids = await place({ status: 'PENDING', count: 10, executorId: 'elsewhere' });
    await repository.control.cancel(ids, ALONE);
    return () => repository.control.actions(ids[0]!, 1_000);
  },
  'a resumption of nothing suspended': async ({ repository }) => {
    return () => repository.workflows.resumeSuspended(['Name 0', 'Name 1'], 'v1');
  },
  'a resumption of what is suspended': async ({ repository, place }) => {
    await place({ status: 'SUSPENDED', count: 10 });
    return () => repository.workflows.resumeSuspended(['Name 0', 'Name 1']);
  },
  'the steps of a workflow':
    async ({ repository }) =>
    () =>
      repository.steps.list('history 6'),
  'the histories of claimed workflows': async ({ repository }) => {
    return () => repository.steps.history(many(64).map((n) => `history ${n + 1}`));
  },
  'a page of the newest': listing({ breadth: 50 }),
  'a page of the oldest': listing({ breadth: 50, order: 'oldest' }),
  'a page of some statuses': listing({ breadth: 50, filter: { statuses: ['SUCCESS', 'ERROR'] } }),
  'workflows by ids': listing({ filter: { ids: many(200).map((n) => `history ${n + 1}`) } }),
  'workflows by an id prefix': listing({ filter: { idPrefix: 'history 77' } }),
  'workflows by an id prefix that many have': listing({ filter: { idPrefix: 'hist' } }),
  'workflows by a name': listing({ filter: { names: ['Name 3'] } }),
  'workflows by a name that few have': listing({ filter: { names: ['Name of nobody'] } }),
  'workflows by their queue': listing({ filter: { queues: ['of nobody'], onQueue: true } }),
  'workflows by their executor': listing({ filter: { executorIds: ['executor 7'] } }),
  'workflows by a version': listing({ filter: { applicationVersions: ['of nobody'] } }),
  'the children of workflows': listing({ filter: { parentIds: ['history 9', 'history 19'] } }),
  'workflows that are children': listing({ filter: { hasParent: true } }),
  'the forks of a workflow': listing({ filter: { forkedFrom: ['history 9'] } }),
  'workflows that are forks': listing({ filter: { isFork: true } }),
  'workflows by a deduplication id': listing({ filter: { deduplicationId: 'of nobody' } }),
  'workflows that have failed': listing({ filter: { statuses: ['ERROR'], hasError: true } }),
  'workflows by attributes': listing({ filter: { attributes: { customer: 40 } } }),
  'workflows by attributes and more': listing({
    filter: { attributes: { customer: 40 }, names: ['Name 3'], statuses: ['SUCCESS'] },
  }),
  'workflows by attributes of nobody': listing({ filter: { attributes: { customer: -1 } } }),
  'workflows of the last minutes': listing({ filter: { createdAfter: minutesAgo(10) } }),
  'workflows of long ago': listing({ filter: { createdBefore: minutesAgo(100_000_000) } }),
  'workflows by their start': listing({
    filter: { startedAfter: minutesAgo(200), startedBefore: minutesAgo(100) },
  }),
  'workflows by their end': listing({
    filter: { completedAfter: minutesAgo(200), completedBefore: minutesAgo(100) },
  }),
  'workflows with their payloads': listing({ loadInput: true, loadOutput: true }),
  'a count of the newest': counting({ groupBy: ['status', 'name', 'queue'] }),
  'a count in periods of time': counting({ groupBy: [], bucketMs: 60_000 }),
  'a count of what has attributes': counting({
    filter: { attributes: { customer: 40 } },
    groupBy: ['status'],
  }),
  'a count of steps': async ({ repository }) => {
    const asked = { names: undefined, endedAfter: undefined, endedBefore: undefined };
    const look = { ...asked, filter: EVERYTHING, groupBy: ['step'], bucketMs: undefined } as const;
    return () => repository.listings.countSteps(look);
  },
  'an explanation of a finished workflow': explanation(async () => 'history 9'),
  'an explanation of what runs': explanation(async (stage) => {
    const [owner] = await owned(stage);
    await stage.repository.steps.record(owner!, newStep(0));
    return owner!.workflowId;
  }),
  'an explanation of what waits': explanation(async ({ place }) => {
    await place({ status: 'ENQUEUED', count: 64 });
    return (await place({ status: 'ENQUEUED', count: 1 }))[0]!;
  }),
  'an explanation of what waits on a queue': explanation(async (stage) => {
    const queue = await queueOf(stage, {
      concurrency: 1,
      rateLimit: { limit: 1, periodMs: 60_000 },
    });
    await joined(stage);
    await stage.place({ status: 'PENDING', count: 64, executorId: EXECUTOR, queue });
    await stage.place({ status: 'ENQUEUED', count: 64, queue });
    return (await stage.place({ status: 'ENQUEUED', count: 1, queue }))[0]!;
  }),
  'an explanation of what waits in a partition': explanation(async (stage) => {
    const queue = await queueOf(stage, { partition: { concurrency: 1 } });
    await stage.place({ status: 'PENDING', count: 64, executorId: EXECUTOR, queue, partitions: 2 });
    return (await stage.place({ status: 'ENQUEUED', count: 64, queue, partitions: 2 }))[63]!;
  }),
  'a removal of what has ended': async ({ repository, place }) => {
    await place({ status: 'MAX_RECOVERY_ATTEMPTS_EXCEEDED', count: 250 });
    return () => repository.retention.remove({ ...REMOVAL, maxAgeMs: 0 });
  },
  'a removal of nothing': async ({ repository, place }) => {
    await place({ status: 'MAX_RECOVERY_ATTEMPTS_EXCEEDED', count: 10 });
    return () => repository.retention.remove({ ...REMOVAL, maxAgeMs: 3_600_000, keptFrom: '0' });
  },
  'a look for the newest that are kept': async ({ repository }) => {
    return () => repository.retention.oldestKept('SUCCESS', 1_000);
  },
  'an export': async ({ repository }) => {
    return () => repository.archives.export('history 9', { children: true, atMost: 100 });
  },
  'an import': async ({ repository, place, unique }) => {
    const [id] = await place({ status: 'CANCELLED', count: 1 });
    const [entry] = (await repository.archives.export(id!, {
      children: false,
      atMost: 1,
    }))!;
    const workflow = { ...entry!.workflow, id: unique() };
    const archived = [{ workflow, steps: [], messages: [], events: [], streams: [], tokens: [] }];
    return () => repository.archives.import(archived);
  },
  'the recovery report': async ({ repository, place }) => {
    await place({ status: 'ENQUEUED', count: 10 });
    await place({ status: 'DELAYED', count: 10 });
    return () => repository.workflows.countUnfinished(['Name 0']);
  },
  'the health report': async (stage) => {
    const { repository, place } = stage;
    const queues = [await queueOf(stage), await queueOf(stage)];
    await place({ status: 'ENQUEUED', count: 20, queue: queues[0]! });
    await place({ status: 'ENQUEUED', count: 20, queue: queues[1]!, partitions: 4 });
    return () =>
      Promise.all([
        repository.ping(),
        repository.workflows.countUnfinished(['Name 0'], 1_000),
        repository.queues.backlogs(queues, 1_000),
      ]);
  },
  'a registration': async (stage) => () => joined(stage, stage.unique()),
  'a heartbeat': async (stage) => {
    const id = await joined(stage);
    await owned(stage, 10);
    await stage.place({ status: 'PENDING', count: 10, executorId: id });
    return () =>
      stage.repository.executors.heartbeat(id, { withinMs: 10_000, mayDeclare: () => true });
  },
  'a burial': async (stage) => {
    const { executors } = stage.repository;
    const [id, name] = [EXECUTOR, stage.unique()];
    await executors.register({ id, name, leaseMs: 60_000, hostname: 'elsewhere', pid: 1 });
    await stage.kill(id);
    return () => executors.bury([id, stage.unique()]);
  },
  'a removal': async (stage) => {
    const id = await joined(stage);
    return () => stage.repository.executors.remove(id);
  },
  'a registration beside a dead neighbour': async ({ repository, unique, place, neighbour }) => {
    await place({ status: 'PENDING', count: 10, executorId: await neighbour() });
    const registration = { id: unique(), leaseMs: 60_000, hostname: hostname(), pid: process.pid };
    return () => repository.executors.register(registration);
  },
  'a look at the clock':
    async ({ repository }) =>
    () =>
      repository.executors.databaseNow(),
  'a probe':
    async ({ repository }) =>
    () =>
      repository.ping(),
  'a word to the others':
    async ({ repository }) =>
    () => {
      repository.notifier.notify('executor');
      return repository.notifier.flush();
    },
  '64 starts in one batch': async ({ repository, unique }) => {
    return () => repository.workflows.startMany(many(64).map(() => newWorkflow(unique())));
  },
  '64 starts in one batch that stand already': async ({ repository, unique }) => {
    const workflows = many(64).map(() => newWorkflow(unique()));
    await repository.workflows.startMany(workflows);
    return () => repository.workflows.startMany(workflows);
  },
  '64 starts in one batch that differ': async ({ repository, unique }) => {
    const workflows = many(64).map(() => ({ ...newWorkflow(unique()), parentId: unique() }));
    return () => repository.workflows.startMany(workflows);
  },
  'a start whose deduplication id is taken': async (stage) => {
    const { repository, unique } = stage;
    const placement = { queue: await queueOf(stage), deduplicationId: unique() };
    await repository.workflows.start({ ...newWorkflow(unique()), ...placement });
    return () => repository.workflows.start({ ...newWorkflow(unique()), ...placement });
  },
  'a claim from a queue': async (stage) => {
    const queue = await queueOf(stage);
    await stage.place({ status: 'ENQUEUED', count: 64, queue });
    return () => claim(stage, 10, [queue]);
  },
  'a claim from a queue under limits': async (stage) => {
    const rateLimit = { limit: 20, periodMs: 60_000 };
    const queue = await queueOf(stage, { concurrency: 20, workerConcurrency: 15, rateLimit });
    await stage.place({ status: 'ENQUEUED', count: 64, queue });
    await stage.place({ status: 'PENDING', count: 10, executorId: EXECUTOR, queue });
    return () => claim(stage, 1_000, [queue]);
  },
  'a claim from a queue in partitions': async (stage) => {
    const rateLimit = { limit: 5, periodMs: 60_000 };
    const queue = await queueOf(stage, { partition: { concurrency: 4, rateLimit } });
    await stage.place({ status: 'ENQUEUED', count: 64, queue, partitions: 8 });
    await stage.place({ status: 'PENDING', count: 16, executorId: EXECUTOR, queue, partitions: 8 });
    return () => claim(stage, 1_000, [queue]);
  },
  'a declaration of queues': async (stage) => () => queueOf(stage, { concurrency: 3 }),
  'a look at a queue': async (stage) => {
    const queue = await queueOf(stage);
    return () => stage.repository.queues.find(queue);
  },
  'new limits of a queue': async (stage) => {
    const queue = await queueOf(stage);
    return () => stage.repository.queues.configure(queue, { concurrency: 2 });
  },
  'a pause of a queue': async (stage) => {
    const queue = await queueOf(stage);
    return () => stage.repository.queues.setPaused(queue, true);
  },
  'the counts of a queue': async (stage) => {
    const queue = await queueOf(stage);
    await stage.place({ status: 'ENQUEUED', count: 10, queue });
    await stage.place({ status: 'DELAYED', count: 10, queue });
    return () => stage.repository.queues.counts(queue);
  },
  'a new priority': async ({ repository, place }) => {
    const ids = await place({ status: 'ENQUEUED', count: 250 });
    return () => repository.queues.setPriority([...ids, 'history 7', 'nobody'], 3);
  },
  'a new delay': async ({ repository, place }) => {
    const [id] = await place({ status: 'DELAYED', count: 10, epoch: 0 });
    return () => repository.queues.setDelay(id!, { delayMs: 1_000 });
  },
  'a replacement of what waits': async (stage) => {
    const queue = await queueOf(stage);
    const [workflowId] = await stage.place({ status: 'ENQUEUED', count: 10, epoch: 0, queue });
    const replacement = { workflowId: workflowId!, name: 'Name 0', queue, input: TEXT };
    return () => stage.repository.queues.replaceWaiting(replacement);
  },
  'a debounced start': async ({ repository, unique }) => {
    const debounce = { workflow: newWorkflow(unique()), key: unique(), periodMs: 60_000 };
    await repository.queues.debounce(debounce);
    return () => repository.queues.debounce(debounce);
  },
  'a debounced start in a workflow': async (stage) => {
    const { repository, unique } = stage;
    const [owner] = await owned(stage);
    const debounce = { workflow: newWorkflow(unique()), key: unique(), periodMs: 60_000 };
    const step = { owner: owner!, stepId: '0', name: 'debounce' };
    return () => repository.queues.debounceInWorkflow(debounce, step);
  },
  'a message': async (stage) => {
    const [owner] = await owned(stage);
    return () => stage.repository.messages.send(messageTo(owner!.workflowId));
  },
  'a message to a finished workflow': async ({ repository }) => {
    return () => repository.messages.send(messageTo('history 8'));
  },
  'a message to a workflow that waits for it': async (stage) => {
    const [owner] = await owned(stage);
    await stage.repository.workflows.settle(owner!, PARKED);
    return () => stage.repository.messages.send(messageTo(owner!.workflowId));
  },
  'the messages of 64 runs to others': async (stage) => {
    const owners = await owned(stage, 64);
    const step = { stepId: '0', name: 'send', output: TEXT };
    return () =>
      Promise.all(
        owners.map((owner, index) =>
          stage.repository.messages.send(messageTo(`history ${index + 1}`), { owner, ...step }),
        ),
      );
  },
  'a message that is received': async (stage) => {
    const [owner] = await owned(stage);
    await stage.repository.messages.send(messageTo(owner!.workflowId));
    return () => stage.repository.messages.receive(receiptOf(owner!));
  },
  'a look for messages to 64 runs': async (stage) => {
    const owners = await owned(stage, 64);
    return () =>
      Promise.all(owners.map((owner) => stage.repository.messages.receive(receiptOf(owner))));
  },
  'a receiving whose time is up': async (stage) => {
    const [owner] = await owned(stage);
    const receipt = { ...receiptOf(owner!), timeout: TEXT, tokenStepId: '0' };
    return () => stage.repository.messages.receive(receipt);
  },
  'a run that is parked until a message comes': async (stage) => {
    const [owner] = await owned(stage);
    return () => stage.repository.workflows.settle(owner!, PARKED);
  },
  'an event': async (stage) => {
    const [owner] = await owned(stage);
    const event = { key: 'progress', value: TEXT };
    return () => stage.repository.steps.record(owner!, { ...newStep(0), event });
  },
  'the events of 64 workflows': async ({ repository }) => {
    return () =>
      Promise.all(
        many(64).map((n) =>
          repository.events.latest({ workflowId: `history ${n + 1}`, key: 'progress' }),
        ),
      );
  },
  'a token': async (stage) => {
    const [owner] = await owned(stage);
    const digest = { id: stage.unique(), proof: 'proof' };
    const step = { name: 'token', output: TEXT };
    const token = { owner: owner!, stepId: '0', digest, expiresAt: undefined, step };
    return () => stage.repository.tokens.create(token);
  },
  'a decision with a token': async ({ repository }) => {
    return async () => {
      await repository.tokens.find('token 9');
      return repository.messages.send({ ...messageTo('history 9'), tokenId: 'token 9' });
    };
  },
  'an append to a stream': async (stage) => {
    const [owner] = await owned(stage);
    const append = { owner: owner!, key: 'progress', value: TEXT, stepId: '0', name: 'write' };
    return () => stage.repository.streams.append(append);
  },
  'a look at the streams of 64 workflows': async ({ repository }) => {
    const positions = many(64).map((n) => ({
      workflowId: `history ${n + 1}`,
      key: 'progress',
      fromOffset: 0,
    }));
    return () => repository.streams.read(positions);
  },
  'the statuses of 64 workflows': async ({ repository }) => {
    return () => repository.workflows.states(many(64).map((n) => `history ${n + 1}`));
  },
  'a transaction': async (stage) => {
    const attempt = attemptOf((await owned(stage))[0]!);
    const settings = { readOnly: false };
    return () => stage.repository.transactions().commit(attempt, settings, async () => TEXT);
  },
  'the failure of a transaction': async (stage) => {
    const attempt = attemptOf((await owned(stage))[0]!);
    return () => stage.repository.transactions().fail(attempt, TEXT);
  },
  'what stands for a transaction': async (stage) => {
    const attempt = attemptOf((await owned(stage))[0]!);
    await stage.repository.transactions().fail(attempt, TEXT);
    return () => stage.repository.transactions().find(attempt);
  },
  'a failure that is tried again': async (stage) => {
    const [owner] = await owned(stage);
    await stage.repository.steps.record(owner!, newStep(0));
    await stage.repository.steps.record(owner!, newStep(1));
    const settlement = { status: 'DELAYED', wakeAt: new Date(), retryFrom: 1 } as const;
    return () => stage.repository.workflows.settle(owner!, settlement);
  },
};

/** One connection to the server, and a repository over it. */
class Session {
  readonly texts = new Set<string>();
  private tampering: { part: string; how: 'lose' | 'empty' } | undefined;
  private count = 0;

  private constructor(
    private readonly pool: pg.Pool,
    private readonly client: PrismaClient,
    private readonly admin: pg.Client,
    private readonly reads: TableReads,
    readonly repository: PrismaCheckpointRepository,
  ) {}

  static async open(url: string, admin: pg.Client): Promise<Session> {
    const pool = new pg.Pool({ connectionString: url, max: 1, idleTimeoutMillis: 0 });
    if (EXPLAIN) await explainEverythingOf(pool);
    const client = new PrismaClient({ adapter: new PrismaPg(pool) });
    const repository = new PrismaCheckpointRepository(() => client, {
      migrate: false,
      session: false,
    });
    const reads = await TableReads.open(url, [pool, admin]);
    const session = new Session(pool, client, admin, reads, repository);
    session.listen();
    await repository.prepare();
    return session;
  }

  async close(): Promise<void> {
    await this.repository.close();
    await this.client.$disconnect();
    await this.pool.end();
    await this.reads.close();
  }

  /** Plans every statement. */
  async warmUp(): Promise<void> {
    for (const operation of Object.values(OPERATIONS)) await this.readsOf(operation);
  }

  async readsOf(operation: Operation): Promise<Reads> {
    const act = await operation(this.stage());
    const reads = await this.reads.during(act);
    // Each begins with what is finished; what was unfinished is left to the vacuum.
    await this.admin.query(`DELETE FROM dbos.workflows WHERE id >= 'stage' AND id < 'stagf'`);
    await this.admin.query('DELETE FROM dbos.executors');
    await this.admin.query('DELETE FROM dbos.queues');
    return reads;
  }

  private stage(): Stage {
    const prefix = `stage ${process.pid} ${(this.count += 1)} ${Math.random()}`;
    let ids = 0;
    const unique = (): string => `${prefix}-${(ids += 1)}`;
    return {
      repository: this.repository,
      unique,
      place: (rows) => writeActive(this.admin, { ...rows, prefix: `${unique()}/` }),
      neighbour: async () => {
        const id = unique();
        await this.admin.query(
          `INSERT INTO dbos.executors (id, lease_ms, hostname, pid, lock_key) VALUES ($1, 60000, $2, $3, 1)`,
          [id, hostname(), await endedPid()],
        );
        return id;
      },
      kill: (id) =>
        this.admin.query('UPDATE dbos.executors SET dead_at = now() WHERE id = $1', [id]),
      tamper: (part, how) => void (this.tampering = { part, how }),
    };
  }

  private listen(): void {
    const send = this.pool.query.bind(this.pool) as (query: {
      text?: string;
    }) => Promise<{ rows: unknown[] }>;
    const heard = async (query: { text?: string }): Promise<{ rows: unknown[] }> => {
      const text = query.text ?? '';
      this.texts.add(normalized(text));
      const answer = await send(query);
      const { tampering } = this;
      if (!tampering || !text.includes(tampering.part)) return answer;
      this.tampering = undefined;
      if (tampering.how === 'empty') return { ...answer, rows: [] };
      throw Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
    };
    Object.defineProperty(this.pool, 'query', { value: heard });
  }
}

/** Of a process that was. */
async function endedPid(): Promise<number> {
  const child = spawn(process.execPath, ['--version'], { stdio: 'ignore' });
  await once(child, 'exit');
  return child.pid!;
}

/** Plans come as notices, those of the statements in functions included. */
async function explainEverythingOf(pool: pg.Pool): Promise<void> {
  pool.on('connect', (client) => {
    client.on('notice', ({ message }) => process.stdout.write(`${message}\n\n`));
    void client.query(`LOAD 'auto_explain'`);
    void client.query(
      `SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on;
       SET auto_explain.log_level = notice; SET auto_explain.log_analyze = on; SET client_min_messages = notice`,
    );
  });
}

/** A statement without its parameters and line breaks. */
function normalized(sql: string): string {
  return sql
    .replaceAll(/\$\{[^}]*\}|\$\d+/g, '?')
    .replaceAll(/\s+/g, ' ')
    .trim();
}

const countable = await TableReads.isPossible();
const reason = countable ? '' : ' (skipped: PostgreSQL 14 cannot make its counters current)';

/** Beside a small table a scan looks cheap to the planner sooner. */
const SIZES = [20_000, LARGE];

(countable ? describe : describe.skip).each(SIZES)(
  `With %d workflows in the tables${reason}`,
  (workflows) => {
    let database: TestDatabase;
    let admin: pg.Client;

    beforeAll(async () => {
      database = await createTestDatabase();
      admin = new pg.Client({ connectionString: database.url });
      await admin.connect();
      // Statistics are what the test makes them.
      for (const table of GROWING)
        await admin.query(`ALTER TABLE dbos.${table} SET (autovacuum_enabled = off)`);
    });

    afterAll(async () => {
      await admin.end();
      await database.drop();
    });

    /** Operations that read more than they may, and what they read. */
    async function excessive(session: Session): Promise<Record<string, Reads>> {
      const found: Record<string, Reads> = {};
      for (const [name, operation] of Object.entries(OPERATIONS)) {
        const reads = await session.readsOf(operation);
        if (FIGURES) process.stdout.write(`${name}: ${JSON.stringify(reads)}\n`);
        const most = IS_LOOK.test(name)
          ? LOOKS
          : { ...MOST, entries: MOST_ENTRIES[name] ?? MOST.entries };
        const kinds = Object.keys(most) as Array<keyof Reads>;
        if (kinds.some((kind) => reads[kind] > most[kind])) found[name] = reads;
      }
      return found;
    }

    async function excessiveOnFreshConnection(): Promise<Record<string, Reads>> {
      const session = await Session.open(database.url, admin);
      const found = await excessive(session);
      await session.close();
      return found;
    }

    describe('that were never analysed', () => {
      let early: Session;

      beforeAll(async () => {
        early = await Session.open(database.url, admin);
        await early.warmUp();
        await admin.query(`TRUNCATE ${GROWN}, dbos.executors`);
        await writeHistory(admin, workflows);
      }, FILLING_MS);

      afterAll(() => early.close());

      it('a connection that made its plans while they were empty reads its own rows only', async () => {
        expect(await excessive(early)).toEqual({});
      });

      it('a fresh connection reads its own rows only', async () => {
        expect(await excessiveOnFreshConnection()).toEqual({});
      });

      it('every statement of the repositories is among those', async () => {
        const missing = (await statementsInSources()).filter((text) => !early.texts.has(text));
        expect(missing).toEqual([]);
      });
    });

    describe('that are analysed', () => {
      beforeAll(async () => {
        await admin.query(`ANALYZE ${GROWN}`);
      }, FILLING_MS);

      it('a fresh connection reads its own rows only', async () => {
        expect(await excessiveOnFreshConnection()).toEqual({});
      });

      it('a fresh connection reads its own rows only when much is unfinished that others have to do', async () => {
        const ofOthers = { count: BACKLOG, name: 'Name of others', executorId: 'another' };
        for (const status of UNFINISHED)
          await writeActive(admin, { ...ofOthers, status, prefix: status, queue: 'of others' });
        expect(await excessiveOnFreshConnection()).toEqual({});
      });
    });

    describe('that were analysed when all were few and unfinished', () => {
      let early: Session;

      beforeAll(async () => {
        await admin.query(`TRUNCATE ${GROWN}, dbos.executors`);
        for (const status of UNFINISHED)
          await writeActive(admin, { status, count: 3, prefix: status, executorId: EXECUTOR });
        await admin.query(`ANALYZE ${GROWN}`);
        early = await Session.open(database.url, admin);
        await early.warmUp();
        for (const table of GROWING) await admin.query(`DELETE FROM dbos.${table}`);
        await writeHistory(admin, workflows);
      }, FILLING_MS);

      afterAll(() => early.close());

      it('a connection that made its plans then reads its own rows only', async () => {
        expect(await excessive(early)).toEqual({});
      });

      it('a fresh connection reads its own rows only', async () => {
        expect(await excessiveOnFreshConnection()).toEqual({});
      });
    });
  },
);

describe('What a statement does in batches', () => {
  it('is done to the end when suspended workflows are resumed', async () => {
    const database = await createTestDatabase();
    const admin = new pg.Client({ connectionString: database.url });
    await admin.connect();
    const session = await Session.open(database.url, admin);
    await writeActive(admin, { status: 'SUSPENDED', count: 2_500, prefix: 'suspended ' });
    const resumed = await session.repository.workflows.resumeSuspended(['Name 0']);
    await session.close();
    await admin.end();
    await database.drop();
    expect(new Set(resumed).size).toBe(2_500);
  });
});

/** What reads a table that grows, or a function of ours that may. An insert by itself reads nothing. */
const READS = new RegExp(
  String.raw`(?<!INSERT INTO )dbos\.(${GROWING.join('|')})\b|FROM dbos\.\w+\(`,
);

/** All templates of `$queryRaw` that read so, as they reach the server. */
async function statementsInSources(): Promise<string[]> {
  const directory = new URL('../../libs/dbos/src/prisma/', import.meta.url);
  const files = (await readdir(directory)).filter((file) =>
    /-(repository|pipeline)\.ts$/.test(file),
  );
  const sources = await Promise.all(
    files.map((file) => readFile(new URL(file, directory), 'utf8')),
  );
  return sources
    .flatMap((source) => [...source.matchAll(/\$queryRaw(?:<[^`]*>)?`([^`]*)`/g)])
    .map(([, text]) => normalized(text!))
    .filter((text) => READS.test(text));
}
