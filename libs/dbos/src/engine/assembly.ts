/** Puts an engine together: plain constructors, and the one place that tells the parts of each other. */
import { OwnershipLostError } from '../core/errors.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import { Branches } from './branches.js';
import { DatabaseTime } from './database-time.js';
import { Debouncer } from './debouncer.js';
import { Dispatcher } from './dispatcher.js';
import type { ResolvedEngineOptions } from './engine-options.js';
import { Enqueuer } from './enqueuer.js';
import { Executor } from './executor.js';
import { Flow } from './flow.js';
import { Lease } from './lease.js';
import { Membership } from './membership.js';
import { OutcomeCodec } from './outcome.js';
import { OutcomeWatch } from './outcome-watch.js';
import { Patience } from './patience.js';
import { QueueRegistry } from './queue-registry.js';
import { Recovery } from './recovery.js';
import { RecoveryLog } from './recovery-log.js';
import { WorkflowRegistry } from './registry.js';
import { RunScopes } from './run-scope.js';
import { Sleeper } from './sleep.js';
import { Slots } from './slots.js';
import { Starter } from './starter.js';

export type Assembly = ReturnType<typeof assemble>;

export function assemble(options: ResolvedEngineOptions, repository: CheckpointRepository) {
  const { clock, random, logger, pollIntervalMs } = options;
  const loop = { clock, random, logger };
  const polled = { ...loop, intervalMs: pollIntervalMs };
  const common = commonParts(options, repository, () => dispatcher);
  const { lease, time, notifier } = common;
  const executor: Executor = new Executor({
    ...common,
    outcomes: () => outcomes,
    onStray: () => dispatcher.suspectStrays({ haveRun: true }),
    onParked: (wakeAt) => dispatcher.dueWithin(Math.max(0, wakeAt.getTime() - time.nowMs())),
  });
  const outcomes = new OutcomeWatch(repository.workflows, executor, pollIntervalMs, loop);
  const starter: Starter = new Starter({
    ...common,
    executor,
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
    onEnqueued: (queue, delayMs) => dispatcher.offered(queue, delayMs),
  });
  const debouncer = new Debouncer({ ...common, starter, dispatcher });
  const recoveryLoop = new Recovery({ ...common, onRequeued: () => dispatcher.stirred() }, polled);
  const membership = new Membership(
    {
      ...common,
      onExpelled: () => executor.interruptAll((id) => new OwnershipLostError(id)),
      onDead: (ids) => recoveryLoop.found(ids),
    },
    loop,
  );
  notifier.subscribe('work', () => dispatcher.wake());
  // Whoever hears of others, or hears nothing any more, shows itself alive: its lock alone says so no longer.
  notifier.subscribe('executor', () => membership.wake());
  const flow = flowWith(options, common);
  return {
    common,
    executor,
    outcomes,
    starter,
    dispatcher,
    enqueuer,
    debouncer,
    recoveryLoop,
    membership,
    flow,
  };
}

/** What most parts need; each names in its own interface what it takes of it. */
function commonParts(
  options: ResolvedEngineOptions,
  repository: CheckpointRepository,
  dispatcher: () => Dispatcher,
) {
  const { identity, applicationVersion, clock, random, logger } = options;
  return {
    identity,
    applicationVersion,
    clock,
    random,
    logger,
    repository,
    notifier: repository.notifier,
    runsWorkflows: options.runWorkflows,
    registry: new WorkflowRegistry(),
    scopes: new RunScopes(),
    codec: new OutcomeCodec(options.serializers),
    slots: new Slots(options.maxConcurrentWorkflows, () => dispatcher().slotFreed()),
    queues: new QueueRegistry(options.listen, (queue) => dispatcher().queueFreed(queue)),
    patience: new Patience(clock, options.databasePatienceMs),
    lease: new Lease(clock, options.leaseMs),
    time: new DatabaseTime(clock),
    recovery: new RecoveryLog(),
  };
}

function flowWith(
  { clock, random, parkAfterMs }: ResolvedEngineOptions,
  { scopes, time }: { readonly scopes: RunScopes; readonly time: DatabaseTime },
): Flow {
  const surroundings = { scopes, clock, random, longWaitMs: parkAfterMs };
  return new Flow(surroundings, new Sleeper(clock, time, parkAfterMs), new Branches(scopes), time);
}
