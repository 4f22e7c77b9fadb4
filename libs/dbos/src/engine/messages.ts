/** Messages: sent to workflows from anywhere, received by them one after the other, each exactly once. */
import { momentMs, type Duration } from '../core/duration.js';
import { InvalidArgumentError, WorkflowNotFoundError } from '../core/errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import { RecvTimeoutError } from '../core/message-errors.js';
import type {
  Destination,
  MessageStep,
  NewMessage,
} from '../repository/message-repository.js';
import type { Notifier } from '../repository/notifier.js';
import { checkpoint, type OperationReport } from './checkpoint.js';
import type { Dispatcher } from './dispatcher.js';
import type { ExecutorIdentity } from './executor-identity.js';
import type { Patience } from './patience.js';
import { Receiver, type ReceiverParts } from './receiver.js';
import type { WorkflowRegistry } from './registry.js';
import type { RunScope, RunScopes } from './run-scope.js';

export interface SendOptions {
  /** Which of its topics the workflow receives the message on. Default: none, which is one of its own. */
  readonly topic?: string;
  /** Of messages with one key a workflow gets the first, whatever their topics. */
  readonly idempotencyKey?: string;
}

/** How long to wait for a message. Default: as long as it takes; the workflow need not stay in memory for it. */
export type RecvOptions =
  | { readonly timeout?: Duration; readonly deadline?: undefined }
  | { readonly deadline: Date; readonly timeout?: undefined };

export interface MessagesParts extends ReceiverParts {
  readonly identity: ExecutorIdentity;
  readonly registry: WorkflowRegistry;
  readonly scopes: RunScopes;
  readonly patience: Patience;
  readonly notifier: Notifier;
  readonly dispatcher: Dispatcher;
}

/** No topic of a user is empty. */
const NO_TOPIC = '';

export class Messages {
  private readonly receiver: Receiver;

  constructor(private readonly parts: MessagesParts) {
    this.receiver = new Receiver(parts);
  }

  /**
   * Resolves once the message is durable. In a workflow it is sent exactly once, whatever dies.
   * @throws WorkflowNotFoundError, InvalidArgumentError, UnserializableValueError, DatabaseUnavailableError
   */
  async send(workflowId: string, message: unknown, options: SendOptions = {}): Promise<void> {
    const scope = this.parts.scopes.outsideSteps('Sending a message');
    const composed = this.compose(workflowId, message, options);
    if (scope) return this.sendFrom(scope, composed);
    const what = `Sending a message to workflow "${workflowId}"`;
    const whatThen = 'It may have been sent; give an idempotencyKey to send it again safely.';
    return this.parts.patience.with(this.deliver(composed), what, whatThen);
  }

  private compose(workflowId: string, message: unknown, options: SendOptions): NewMessage {
    const { topic, idempotencyKey } = options;
    if (message === undefined) {
      throw new InvalidArgumentError(
        'A message must not be undefined, which is what recv() gives when none came. Send null.',
      );
    }
    if (idempotencyKey !== undefined) assertIdentifier('An idempotency key', idempotencyKey);
    return {
      workflowId: assertIdentifier('A workflow id', workflowId),
      topic: checkedTopic(topic),
      message: this.parts.codec.serializers.encode(message, 'message'),
      ...(idempotencyKey !== undefined && { idempotencyKey }),
    };
  }

  private sendFrom(scope: RunScope, message: NewMessage): Promise<void> {
    const name = `workflows.send ${message.topic}`.trimEnd();
    const { owner } = scope.run;
    const output = this.parts.codec.serializers.encode(undefined);
    const produce = async (stepId: string, report: OperationReport): Promise<void> => {
      await this.deliver(message, { owner, stepId, name, output }, scope);
      report.recorded = { output, error: null };
    };
    return checkpoint(scope, { name, produce });
  }

  private async deliver(message: NewMessage, step?: MessageStep, scope?: RunScope): Promise<void> {
    const sending = await this.parts.repository.messages.send(message, step);
    switch (sending.result) {
      case 'sent':
        return this.tell(message, sending.destination);
      case 'unknown':
        throw new WorkflowNotFoundError(message.workflowId);
      case 'lost':
        return scope?.run.lost();
      default:
        return sending satisfies never;
    }
  }

  /** Whoever may be waiting for the message: here, in the process that runs the workflow, or in the database. */
  private tell({ workflowId, topic }: NewMessage, destination: Destination): void {
    const { arrivals, dispatcher, identity, notifier, registry } = this.parts;
    const { executorId, isWoken, name, queue } = destination;
    if (isWoken) {
      if (registry.names().includes(name)) dispatcher.offered(queue ?? undefined);
      else notifier.notify('work', queue ?? undefined);
      return;
    }
    arrivals.arrived({ kind: 'message', workflowId, name: topic });
    if (executorId !== null && executorId !== identity.id) notifier.notify('arrival', workflowId);
  }

  /** The next message of a topic, or undefined when none came in time. Takes two step ids, whatever happens. */
  async receive<T>(topic?: string, options: RecvOptions = {}): Promise<T | undefined> {
    const scope = this.parts.scopes.require('flow.recv()');
    const untilMs = this.deadlineOf(options);
    return this.receiver.receive<T>(scope, checkedTopic(topic), untilMs);
  }

  /** @throws RecvTimeoutError */
  async receiveOrThrow<T>(topic: string | undefined, options?: RecvOptions): Promise<T> {
    const message = await this.receive<T>(topic, options);
    if (message !== undefined) return message;
    const { run } = this.parts.scopes.require('flow.recvOrThrow()');
    throw new RecvTimeoutError(run.id, topic);
  }

  private deadlineOf({ timeout, deadline }: RecvOptions): number {
    if (timeout !== undefined && deadline !== undefined) {
      throw new InvalidArgumentError('flow.recv(): give a timeout or a deadline, not both.');
    }
    const until = deadline ?? timeout;
    if (until === undefined) return Infinity;
    return momentMs('The timeout of flow.recv()', until, this.parts.time.nowMs());
  }
}

function checkedTopic(topic: string | undefined): string {
  return topic === undefined ? NO_TOPIC : assertIdentifier('A topic', topic);
}
