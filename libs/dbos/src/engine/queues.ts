/** What is done with queues as a whole: enqueue on them, pause, resume, set their limits, look at them. */
import { momentMs, type Duration } from '../core/duration.js';
import { UnknownQueueError } from '../core/queue-errors.js';
import {
  checkedLimits,
  checkedPriority,
  delayMs,
  type EnqueueOptions,
  type QueueLimits,
} from '../core/queue.js';
import { assertIdentifier } from '../core/identifiers.js';
import { transactionOf, type TransactionalOptions } from '../core/open-transaction.js';
import type {
  Delay,
  QueueCounts,
  QueueRecord,
  QueueRepository,
} from '../repository/queue-repository.js';
import type { Dispatcher } from './dispatcher.js';
import type { Enqueuer, EnqueueItem } from './enqueuer.js';
import type { QueueRegistry } from './queue-registry.js';
import type { WorkflowRegistry } from './registry.js';
import type { RunScopes } from './run-scope.js';
import type { Transactional } from './transactional.js';

/** A queue as it stands, and what it holds. */
export type QueueReport = QueueRecord & QueueCounts;

export interface QueuesParts {
  readonly repository: { readonly queues: QueueRepository };
  readonly registry: WorkflowRegistry;
  readonly queues: QueueRegistry;
  readonly scopes: RunScopes;
  readonly enqueuer: Enqueuer;
  /** In a workflow a checkpointed operation; elsewhere as patient as callers are. */
  readonly operation: <T>(name: string, work: () => Promise<T>) => Promise<T>;
  readonly dispatcher: Dispatcher;
  readonly transactional: Transactional;
}

export class Queues {
  constructor(private readonly parts: QueuesParts) {}

  /** Resolves with the workflow's id once it is durable. In a workflow it becomes a child. */
  enqueue(
    queueName: string,
    name: string,
    args: readonly unknown[],
    options: EnqueueOptions,
  ): Promise<string> {
    const { registry, queues, scopes, enqueuer, transactional } = this.parts;
    const call = { definition: registry.get(name), queue: queues.get(queueName), args, options };
    const tx = transactionOf('enqueue()', options);
    if (tx) return transactional.enqueue(tx, call);
    const scope = scopes.outsideSteps('Enqueuing a workflow');
    return scope ? enqueuer.enqueueChild(scope, call) : enqueuer.enqueue(call);
  }

  /** All or none, in one statement. */
  async enqueueMany(
    queueName: string,
    name: string,
    items: readonly EnqueueItem[],
    options: TransactionalOptions = {},
  ): Promise<string[]> {
    const { registry, queues, scopes, enqueuer, operation, transactional } = this.parts;
    const [definition, queue] = [registry.get(name), queues.get(queueName)];
    const tx = transactionOf('enqueueMany()', options);
    if (tx) return transactional.enqueueMany(tx, { definition, queue, items });
    const scope = scopes.outsideSteps('Enqueuing workflows');
    if (!scope) return enqueuer.enqueueMany(definition, queue, items);
    // Ids that derive from the workflow's own, so that a replay before the checkpoint finds the same ones.
    const prefix = `${scope.run.id}-${scope.sequence.prefix}${scope.sequence.length}`;
    const named = items.map((item, index) => ({ workflowId: `${prefix}-${index}`, ...item }));
    return operation(`queue.enqueueMany ${queueName}`, () =>
      enqueuer.enqueueMany(definition, queue, named),
    );
  }

  /** From the next claim on nothing of the queue is claimed, by any process; what runs goes on. */
  pause(queueName: string): Promise<void> {
    return this.change(queueName, 'pause', (queues) => queues.setPaused(queueName, true));
  }

  resume(queueName: string): Promise<void> {
    return this.change(queueName, 'resume', (queues) => queues.setPaused(queueName, false));
  }

  /** Sets all limits of the queue at once, for all processes; those that are left out are lifted. */
  configure(queueName: string, limits: QueueLimits): Promise<void> {
    const checked = checkedLimits(`Queue "${queueName}"`, limits);
    return this.change(queueName, 'configure', (queues) => queues.configure(queueName, checked));
  }

  /** Of workflows that wait; returns the ids it changed. */
  async setPriority(workflowIds: readonly string[], priority: number): Promise<string[]> {
    this.parts.scopes.outsideSteps('Changing a priority');
    workflowIds.forEach((id) => assertIdentifier('A workflow id', id));
    const checked = checkedPriority(priority);
    const { repository, operation, dispatcher } = this.parts;
    return operation('queues.setPriority', async () => {
      const changed = await repository.queues.setPriority(workflowIds, checked);
      if (changed.length > 0) dispatcher.stirred(); // a claim passes by what it finds locked
      return changed;
    });
  }

  /** Of a workflow that is delayed and has not begun; false when there is none. */
  async setDelay(workflowId: string, until: Duration | Date): Promise<boolean> {
    this.parts.scopes.outsideSteps('Changing a delay');
    assertIdentifier('A workflow id', workflowId);
    const { repository, operation, dispatcher } = this.parts;
    const delay: Delay =
      until instanceof Date
        ? { runAt: new Date(momentMs('The moment', until, 0)) }
        : { delayMs: delayMs('The delay', until) };
    return operation('queues.setDelay', async () => {
      const changed = await repository.queues.setDelay(workflowId, delay);
      if (changed) dispatcher.stirred(); // the next claim of each process tells it when something is due
      return changed;
    });
  }

  /** @throws UnknownQueueError */
  report(queueName: string): Promise<QueueReport> {
    const { repository, operation } = this.parts;
    return operation(`queue.report ${queueName}`, async () => {
      const [record, counts] = await Promise.all([
        repository.queues.find(queueName),
        repository.queues.counts(queueName),
      ]);
      if (!record) throw new UnknownQueueError(queueName);
      return { ...record, ...counts };
    });
  }

  private async change(
    queueName: string,
    verb: string,
    work: (queues: QueueRepository) => Promise<boolean>,
  ): Promise<void> {
    this.parts.scopes.outsideSteps('Changing a queue');
    const { repository, operation, dispatcher } = this.parts;
    await operation(`queue.${verb} ${queueName}`, async () => {
      if (!(await work(repository.queues))) throw new UnknownQueueError(queueName);
      dispatcher.queueChanged(queueName);
      return null;
    });
  }
}
