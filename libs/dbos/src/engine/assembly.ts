/** Puts an engine together: plain constructors, and the one place that tells the parts of each other. */
import { OwnershipLostError } from '../core/errors.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import { ArrivalWatch } from './arrival-watch.js';
import { Branches } from './branches.js';
import { Deadlines, type DeadlinesParts } from './deadlines.js';
import { CompletionCleanup } from './completion-cleanup.js';
import { DatabaseTime } from './database-time.js';
import { Debouncer } from './debouncer.js';
import { Diagnostics } from './diagnostics.js';
import { Dispatcher } from './dispatcher.js';
import type { ResolvedEngineOptions } from './engine-options.js';
import { Enqueuer } from './enqueuer.js';
import { Events } from './events.js';
import { Executor } from './executor.js';
import { Flow } from './flow.js';
import { Interceptors } from './interceptors.js';
import { Interruptions } from './interruptions.js';
import { Lease } from './lease.js';
import { Lifecycle } from './lifecycle.js';
import type { Loop, LoopSettings } from './loop.js';
import { Membership } from './membership.js';
import { Messages } from './messages.js';
import { OutcomeCodec } from './outcome.js';
import { OutcomeWatch } from './outcome-watch.js';
import { Patience } from './patience.js';
import type { ParkedUntil } from './presence.js';
import { QueueRegistry } from './queue-registry.js';
import { Recovery } from './recovery.js';
import { Receiver } from './receiver.js';
import { RecoveryLog } from './recovery-log.js';
import { WorkflowRegistry } from './registry.js';
import { Retention } from './retention.js';
import { RunScopes } from './run-scope.js';
import { Sender } from './sender.js';
import { Sleeper } from './sleep.js';
import { Slots } from './slots.js';
import { Starter } from './starter.js';
import { Stranded } from './stranded.js';
import { readStatuses, type StatusWatch } from './status-reader.js';
import { Streams } from './streams.js';
import { Watch } from './watch.js';
import { Tokens } from './tokens.js';
import { Transactional } from './transactional.js';
import { Transactions } from './transactions.js';
import { Updates } from './updates.js';

export type Assembly = ReturnType<typeof assemble>;

export function assemble(options: ResolvedEngineOptions, repository: CheckpointRepository) {
  const { clock, random, logger, pollIntervalMs } = options;
  const loop = { clock, random, logger };
  const polled = { ...loop, intervalMs: pollIntervalMs };
  const lifecycle = new Lifecycle(clock, (workflowId) => follow.statuses.changed(workflowId));
  const common = { ...commonParts(options, repository, () => dispatcher), lifecycle };
  const { lease, time, notifier } = common;
  const onDeadline = (deadline: Date): void => deadlines.expect(deadline);
  const executor: Executor = new Executor({
    ...common,
    outcomes: () => outcomes,
    onStray: () => dispatcher.suspectStrays({ haveRun: true }),
    onDeadline,
    onParked: (parked) => awaitWaking(dispatcher, parked, time),
  });
  const outcomes = new OutcomeWatch(repository.workflows, executor, pollIntervalMs, loop);
  const { interruptions, deadlines }: Endings = endings(
    { ...common, executor, outcomes, onExpired: () => dispatcher.stirred() },
    polled,
  );
  const starter: Starter = new Starter({
    ...common,
    executor,
    onDeadline,
    mayOwn: () => lease.isValid && !dispatcher.isLookingForStrays,
    onEnqueued: () => dispatcher.offered(),
    onStray: () => dispatcher.suspectStrays({ haveRun: false }),
  });
  const dispatcher: Dispatcher = new Dispatcher(
    { ...common, executor, starting: () => starter.starting },
    polled,
  );
  const enqueuer = new Enqueuer({
    ...common,
    starter,
    onEnqueued: (queue, delayMs) => dispatcher.enqueued(queue, delayMs),
  });
  const debouncer = new Debouncer({ ...common, starter, dispatcher, onDeadline });
  const members = membersWith({ ...common, executor, dispatcher, deadlines }, polled);
  const follow: Followed = followed(common, polled, outcomes);
  notifier.subscribe('work', () => dispatcher.wake());
  return {
    common,
    executor,
    outcomes,
    interruptions,
    deadlines,
    starter,
    dispatcher,
    enqueuer,
    debouncer,
    ...members,
    ...follow,
    retention: retentionOf(options, repository),
    cleanup: repository.completions.isNeeded
      ? new CompletionCleanup(repository.completions, loop)
      : undefined,
    ...exchange(options, { ...common, dispatcher, starter, enqueuer }),
  };
}

/** The background duties that are put together here. */
export function dutiesOf(assembly: Assembly): Loop[] {
  const { membership, recoveryLoop, dispatcher, outcomes, streams, statuses } = assembly;
  const { arrivals, deadlines, interruptions, retention, cleanup } = assembly;
  const forRuns = [dispatcher, deadlines, interruptions];
  const forWaiters = [outcomes, streams.watch, statuses, arrivals];
  const duties = [membership, recoveryLoop, ...forRuns, ...forWaiters, retention, cleanup];
  return duties.filter((duty) => duty !== undefined);
}

interface Members {
  readonly stranded: Stranded;
  readonly recoveryLoop: Recovery;
  readonly membership: Membership;
}

/** This process among the others. */
function membersWith(
  parts: CommonParts & {
    readonly executor: Executor;
    readonly dispatcher: Dispatcher;
    readonly deadlines: Deadlines;
  },
  polled: Omit<LoopSettings, 'name'>,
): Members {
  const { executor, dispatcher, deadlines, notifier } = parts;
  const stranded = new Stranded(parts);
  const recoveryLoop = new Recovery(
    { ...parts, stranded, onRequeued: () => dispatcher.stirred() },
    polled,
  );
  const membership = new Membership(
    {
      ...parts,
      onExpelled: () => executor.interruptAll((id) => new OwnershipLostError(id)),
      onDead: (ids) => recoveryLoop.found(ids),
      onDeadlineWithin: (ms) => deadlines.wakeWithin(ms),
    },
    polled,
  );
  // Whoever hears of others, or hears nothing any more, shows itself alive: its lock alone says so no longer.
  notifier.subscribe('executor', () => membership.wake());
  return { stranded, recoveryLoop, membership };
}

interface Endings {
  readonly interruptions: Interruptions;
  readonly deadlines: Deadlines;
}

/** What ends runs from outside. */
function endings(
  parts: CommonParts & Pick<DeadlinesParts, 'executor' | 'onExpired'> & { outcomes: OutcomeWatch },
  polled: Omit<LoopSettings, 'name'>,
): Endings {
  const interruptions = new Interruptions(parts, polled);
  parts.notifier.subscribe('cancel', (workflowIds) => interruptions.told(workflowIds));
  return { interruptions, deadlines: new Deadlines({ ...parts, interruptions }, polled) };
}

function awaitWaking(
  dispatcher: Dispatcher,
  { wakeAt, topics }: ParkedUntil,
  time: DatabaseTime,
): void {
  if (topics.length > 0) dispatcher.wake(); // a message may have come while it was being parked
  if (wakeAt) dispatcher.dueWithin(Math.max(0, wakeAt.getTime() - time.nowMs()));
}

/** What the code of workflows calls, and how it and the outside world talk to each other. */
function exchange(
  options: ResolvedEngineOptions,
  common: CommonParts & {
    readonly dispatcher: Dispatcher;
    readonly starter: Starter;
    readonly enqueuer: Enqueuer;
  },
) {
  const { clock, random, logger, pollIntervalMs, parkAfterMs } = options;
  const { flow, transactions } = forWorkflows(options, common);
  const transactional = new Transactional({ ...common, transactions });
  const arrivals = new ArrivalWatch({ clock, random, logger, intervalMs: pollIntervalMs });
  common.notifier.subscribe('arrival', (workflowIds) => arrivals.arrivedElsewhere(workflowIds));
  const parts = { ...common, arrivals };
  const sender = new Sender(parts);
  const receiver = new Receiver({ ...parts, parkAfterMs });
  const events = new Events(parts);
  const all = { ...parts, sender, receiver, events, transactional };
  return {
    flow,
    transactions,
    transactional,
    arrivals,
    events,
    messages: new Messages(all),
    tokens: new Tokens(all),
    updates: new Updates(all),
  };
}

type CommonParts = ReturnType<typeof commonParts>;

/** What most parts need; each names in its own interface what it takes of it. */
function commonParts(
  options: ResolvedEngineOptions,
  repository: CheckpointRepository,
  dispatcher: () => Dispatcher,
) {
  const { identity, version, clock, random, logger } = options;
  return {
    identity,
    version,
    clock,
    random,
    logger,
    repository,
    notifier: repository.notifier,
    runsWorkflows: options.runWorkflows,
    registry: new WorkflowRegistry(),
    scopes: new RunScopes(),
    codec: new OutcomeCodec(options.serializers),
    carriers: options.carriers,
    interceptors: new Interceptors(),
    slots: new Slots(options.maxConcurrentWorkflows, () => dispatcher().slotFreed()),
    queues: new QueueRegistry(options.listen, {
      queueLeft: (queue) => dispatcher().queueLeft(queue),
      queueFreed: (queue) => dispatcher().queueFreed(queue),
    }),
    patience: new Patience(clock, options.databasePatienceMs),
    lease: new Lease(clock, options.leaseMs),
    time: new DatabaseTime(clock),
    recovery: new RecoveryLog(),
    diagnostics: new Diagnostics({ identity, version }),
  };
}

interface Followed {
  readonly streams: Streams;
  readonly statuses: StatusWatch;
}

/** What others follow of workflows, and what tells them that there may be news. */
function followed(
  common: ReturnType<typeof commonParts>,
  polled: Omit<LoopSettings, 'name'>,
  outcomes: OutcomeWatch,
): Followed {
  const streams = new Streams(common, polled);
  const statuses: StatusWatch = new Watch({
    ...polled,
    name: 'Watching statuses',
    read: (questions) => readStatuses(common.repository.workflows, common.codec, questions),
  });
  outcomes.whenLeft((workflowId) => {
    streams.left(workflowId);
    statuses.changed(workflowId);
  });
  return { streams, statuses };
}

function retentionOf(
  { retention: rules, clock, random, logger }: ResolvedEngineOptions,
  { retention }: CheckpointRepository,
): Retention | undefined {
  return rules && new Retention({ retention, rules, logger }, { clock, random, logger });
}

/** What the code of workflows calls. */
function forWorkflows({ parkAfterMs }: ResolvedEngineOptions, common: CommonParts) {
  const { scopes, time, clock } = common;
  const sleeper = new Sleeper(clock, time, parkAfterMs);
  const flow = new Flow(
    { ...common, longWaitMs: parkAfterMs },
    sleeper,
    new Branches(scopes),
    time,
  );
  return { flow, transactions: new Transactions(common) };
}
