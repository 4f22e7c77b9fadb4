/** Why a workflow that waits to be claimed is not: what holds it back of its queue and of those who could run it. */
import type {
  ExecutorFacts,
  RateFacts,
  WorkflowFacts,
} from '../repository/explanation-repository.js';

/** Where it waits. `position` 1 is next; in its partition, where it has one. */
export interface Place {
  /** Null: on none. */
  readonly queue: string | null;
  readonly partitionKey: string | null;
  readonly position: number;
}

export type WaitingReason =
  /** Nobody alive registers its name, may run its version of the application, or listens to its queue; or nobody is alive that runs workflows. */
  | (Place & {
      readonly kind: 'no-executor';
      readonly missing: 'executor' | 'workflow' | 'version' | 'queue';
      /** Its version of the application; null: none. */
      readonly version: string | null;
      readonly executorsAlive: number;
    })
  | (Place & { readonly kind: 'queue-paused' })
  /** As many are at work as may be: in all processes, in its partition, or in each process that could run it. */
  | (Place & {
      readonly kind: 'queue-full';
      readonly limit: 'concurrency' | 'partition.concurrency' | 'workerConcurrency';
      readonly allowed: number;
      readonly atWork: number;
    })
  | (Place & {
      readonly kind: 'rate-limited';
      readonly limit: 'rateLimit' | 'partition.rateLimit';
      readonly allowed: number;
      readonly periodMs: number;
      readonly until: Date;
    })
  /** Nothing holds it back but those before it, and the slots of those who run workflows. */
  | (Place & { readonly kind: 'waiting-for-turn'; readonly executorsAlive: number });

export function reasonOfWaiting(facts: WorkflowFacts): WaitingReason {
  const { queue, partitionKey } = facts.workflow;
  const place = { queue, partitionKey, position: (facts.place?.ahead ?? 0) + 1 };
  const able = facts.executors.filter((executor) => canRun(executor, facts));
  return (
    noExecutor(facts, able, place) ??
    (facts.queue?.paused ? { ...place, kind: 'queue-paused' } : undefined) ??
    fullness(facts, able, place) ??
    exhaustion(facts, place) ?? {
      ...place,
      kind: 'waiting-for-turn',
      executorsAlive: facts.executors.length,
    }
  );
}

/** One that does not say what it takes up may take up anything. */
function mayRunVersion(
  { versions }: ExecutorFacts,
  { applicationVersion }: WorkflowFacts['workflow'],
): boolean {
  return versions?.includes(applicationVersion ?? '') ?? true;
}

function canRun(executor: ExecutorFacts, { workflow }: WorkflowFacts): boolean {
  const { workflows, queues } = executor;
  const knows = workflows?.includes(workflow.name) ?? true;
  const listens = workflow.queue === null || (queues?.includes(workflow.queue) ?? true);
  return knows && listens && mayRunVersion(executor, workflow);
}

function noExecutor(
  { executors, workflow }: WorkflowFacts,
  able: readonly ExecutorFacts[],
  place: Place,
): WaitingReason | undefined {
  if (able.length > 0) return undefined;
  const running = executors.filter(({ workflows }) => workflows === null || workflows.length > 0);
  const known = running.filter(({ workflows }) => workflows?.includes(workflow.name) ?? true);
  const missing = missingOf(running, known, workflow);
  const version = workflow.applicationVersion;
  return { ...place, kind: 'no-executor', missing, version, executorsAlive: executors.length };
}

function missingOf(
  running: readonly ExecutorFacts[],
  known: readonly ExecutorFacts[],
  workflow: WorkflowFacts['workflow'],
): 'executor' | 'workflow' | 'version' | 'queue' {
  if (running.length === 0) return 'executor';
  if (known.length === 0) return 'workflow';
  return known.some((executor) => mayRunVersion(executor, workflow)) ? 'queue' : 'version';
}

function fullness(
  { queue, place: counted }: WorkflowFacts,
  able: readonly ExecutorFacts[],
  place: Place,
): WaitingReason | undefined {
  const { concurrency, workerConcurrency, partition } = queue?.limits ?? {};
  const { atWork = 0, atWorkInPartition = 0 } = counted ?? {};
  const kind = 'queue-full';
  if (concurrency !== undefined && atWork >= concurrency)
    return { ...place, kind, limit: 'concurrency', allowed: concurrency, atWork };
  const ofPartition = partition?.concurrency;
  if (
    ofPartition !== undefined &&
    place.partitionKey !== null &&
    atWorkInPartition >= ofPartition
  ) {
    const limit = 'partition.concurrency';
    return { ...place, kind, limit, allowed: ofPartition, atWork: atWorkInPartition };
  }
  const room = able.some((one) => (one.atWork ?? 0) < (workerConcurrency ?? Infinity));
  if (workerConcurrency === undefined || room) return undefined;
  return { ...place, kind, limit: 'workerConcurrency', allowed: workerConcurrency, atWork };
}

function exhaustion({ place: counted }: WorkflowFacts, place: Place): WaitingReason | undefined {
  const { rate, partitionRate } = counted ?? {};
  if (rate) return rateLimited(place, 'rateLimit', rate);
  if (partitionRate) return rateLimited(place, 'partition.rateLimit', partitionRate);
  return undefined;
}

function rateLimited(
  place: Place,
  limit: 'rateLimit' | 'partition.rateLimit',
  { limit: allowed, periodMs, until }: RateFacts,
): WaitingReason {
  return { ...place, kind: 'rate-limited', limit, allowed, periodMs, until };
}
