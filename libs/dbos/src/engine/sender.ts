/** Sends a message, and tells whoever may be waiting for it. */
import { WorkflowNotFoundError } from '../core/errors.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type {
  Destination,
  MessageStep,
  NewMessage,
  Sending,
} from '../repository/message-repository.js';
import type { Notifier } from '../repository/notifier.js';
import type { ArrivalWatch } from './arrival-watch.js';
import { checkpoint, type OperationReport } from './checkpoint.js';
import type { Diagnostics } from './diagnostics.js';
import type { Dispatcher } from './dispatcher.js';
import type { ExecutorIdentity } from './executor-identity.js';
import type { OutcomeCodec } from './outcome.js';
import type { WorkflowRegistry } from './registry.js';
import type { RunScope } from './run-scope.js';

export interface SenderParts {
  readonly repository: CheckpointRepository;
  readonly codec: OutcomeCodec;
  readonly identity: ExecutorIdentity;
  readonly registry: WorkflowRegistry;
  readonly notifier: Notifier;
  readonly arrivals: ArrivalWatch;
  readonly dispatcher: Dispatcher;
  readonly diagnostics: Diagnostics;
}

/** What became of a message: `known` is one whose key was used before, `expired` one whose token had expired. */
export type Delivery = 'sent' | 'known' | 'expired';

/** The run that sends lost its workflow. */
class SenderLostError extends Error {}

export class Sender {
  constructor(private readonly parts: SenderParts) {}

  /** @throws WorkflowNotFoundError */
  send(message: NewMessage, step?: MessageStep): Promise<Delivery> {
    return this.parts.diagnostics.call(sendingOf(message), async () => {
      const sending = await this.parts.repository.messages.send(message, step);
      if (sending.result === 'sent') this.tell(message, sending.destination);
      return deliveryOf(message, sending);
    });
  }

  /** As an operation of a workflow: the message and the checkpoint are one commit. */
  sendFrom(
    scope: RunScope,
    name: string,
    compose: () => NewMessage | Promise<NewMessage>,
    takenId = scope.sequence.takeId(),
  ): Promise<void> {
    const { run } = scope;
    const output = this.parts.codec.serializers.encode(undefined);
    const produce = async (stepId: string, report: OperationReport): Promise<void> => {
      try {
        await this.send(await compose(), { owner: run.owner, stepId, name, output });
      } catch (error) {
        if (error instanceof SenderLostError) throw await run.lost();
        throw error;
      }
      report.recorded = { output, error: null };
    };
    return checkpoint(scope, { name, produce }, takenId);
  }

  /** Whoever may be waiting for the message: here, in the process that runs the workflow, or in the database. */
  private tell({ workflowId, topic }: NewMessage, destination: Destination): void {
    const { arrivals, dispatcher, identity, notifier, registry } = this.parts;
    const { executorId, isWoken, name, queue } = destination;
    if (isWoken) {
      if (registry.names().includes(name)) dispatcher.expected(workflowId, queue ?? undefined);
      else notifier.notify('work', queue ?? undefined);
      return;
    }
    arrivals.arrived({ kind: 'message', workflowId, name: topic });
    if (executorId !== null && executorId !== identity.id) notifier.notify('arrival', workflowId);
  }
}

/** What those who watch are told of it. */
export function sendingOf({ workflowId, topic }: NewMessage) {
  return { kind: 'send', name: topic, workflowId } as const;
}

/** @throws WorkflowNotFoundError, SenderLostError */
export function deliveryOf({ workflowId }: NewMessage, sending: Sending): Delivery {
  switch (sending.result) {
    case 'sent':
      return sending.isNew ? 'sent' : 'known';
    case 'unknown':
      throw new WorkflowNotFoundError(workflowId);
    case 'lost':
      throw new SenderLostError();
    default:
      return sending.result;
  }
}
