/**
 * Starts, enqueues and sends within a transaction of the application: what that commits and this are one. A workflow that
 * was started there is claimed as any that waits, and all processes are told of it in the moment of the commit.
 */
import {
  ForbiddenInStepError,
  InvalidArgumentError,
  WorkflowIdConflictError,
} from '../core/errors.js';
import type { OpenTransaction } from '../core/open-transaction.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { NewMessage } from '../repository/message-repository.js';
import type { StartedWorkflow } from '../repository/workflow-repository.js';
import type { Diagnostics } from './diagnostics.js';
import type { EnqueueCall, EnqueueManyCall, Enqueuer } from './enqueuer.js';
import type { RunScopes } from './run-scope.js';
import { deliveryOf, sendingOf, type Delivery } from './sender.js';
import { checkedCall, type Parent, type StartCall, type Starter } from './starter.js';
import type { Transactions } from './transactions.js';

export interface TransactionalParts {
  readonly repository: CheckpointRepository;
  readonly scopes: RunScopes;
  readonly transactions: Transactions;
  readonly starter: Starter;
  readonly enqueuer: Enqueuer;
  readonly diagnostics: Diagnostics;
}

export class Transactional {
  constructor(private readonly parts: TransactionalParts) {}

  /** @throws what `Starter.start` throws, and what the database says */
  async start(tx: OpenTransaction, call: StartCall): Promise<string> {
    const parent = this.parentWithin(tx, 'Starting a workflow');
    const { repository, starter, diagnostics } = this.parts;
    const { name } = call.definition;
    return diagnostics.call({ kind: 'start', name }, async (event) => {
      const workflow = starter.compose((await checkedCall(call)) ?? call, parent, event);
      const within = repository.within(tx);
      const standing = await within.workflows.start(workflow);
      const { id } = workflow;
      if (standing.name !== name) throw new WorkflowIdConflictError(id, standing.name, name);
      if (standing.created) await within.announce({ work: [] });
      return id;
    });
  }

  async enqueue(tx: OpenTransaction, call: EnqueueCall): Promise<string> {
    const parent = this.parentWithin(tx, 'Enqueuing a workflow');
    const { repository, enqueuer } = this.parts;
    const within = repository.within(tx);
    const announce = (): Promise<void> => within.announce({ work: [call.queue.name] });
    const writer = {
      begin: async (...[workflow]: Parameters<Enqueuer['begin']>): Promise<StartedWorkflow> => {
        const standing = await within.workflows.start(workflow);
        if (standing.created) await announce();
        return standing;
      },
      replace: async (...[workflowId, workflow]: Parameters<Enqueuer['replace']>) => {
        const isReplaced = await within.queues.replaceWaiting({ ...workflow, workflowId });
        if (isReplaced) await announce();
        return isReplaced;
      },
    };
    return enqueuer.enqueueThrough(writer, call, parent);
  }

  async enqueueMany(tx: OpenTransaction, call: EnqueueManyCall): Promise<string[]> {
    this.parentWithin(tx, 'Enqueuing workflows');
    const { repository, enqueuer } = this.parts;
    const within = repository.within(tx);
    return enqueuer.enqueueManyThrough(async (workflows) => {
      const standing = await within.workflows.startMany(workflows);
      await within.announce({ work: [call.queue.name] });
      return standing;
    }, call);
  }

  /** @throws WorkflowNotFoundError */
  async send(
    tx: OpenTransaction,
    compose: () => NewMessage | Promise<NewMessage>,
  ): Promise<Delivery> {
    this.parentWithin(tx, 'Sending a message');
    const message = await compose();
    const within = this.parts.repository.within(tx);
    return this.parts.diagnostics.call(sendingOf(message), async () => {
      const delivery = deliveryOf(message, await within.messages.send(message));
      // Whether it runs or is parked may change until the commit: both are told.
      await within.announce({ arrival: [message.workflowId], work: [] });
      return delivery;
    });
  }

  /**
   * The workflow of which this is part: in a `@Transaction()` step its own transaction is one commit with its checkpoint.
   * In any other step, and between the steps, a replay would do it again.
   * @throws ForbiddenInStepError, InvalidArgumentError
   */
  private parentWithin(tx: OpenTransaction, what: string): Parent | undefined {
    const { scopes, transactions } = this.parts;
    const scope = scopes.current;
    if (!scope) return undefined;
    if (transactions.isOpen(tx)) return scope.run;
    if (scope.step) throw new ForbiddenInStepError(what, scope.step.stepName);
    throw new InvalidArgumentError(
      `${what} with \`tx\` in workflow "${scope.run.id}": a replay would do it again. Do it in a @Transaction() method, ` +
        'with flow.prisma() as tx, or leave tx out.',
    );
  }
}
