/** Messages: sent to workflows from anywhere, received by them one after the other, each exactly once. */
import { momentMs, type Duration } from '../core/duration.js';
import { InvalidArgumentError } from '../core/errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import { RecvTimeoutError } from '../core/message-errors.js';
import { transactionOf, type TransactionalOptions } from '../core/open-transaction.js';
import { named, validated, type Topic } from '../core/schema.js';
import type { NewMessage } from '../repository/message-repository.js';
import type { DatabaseTime } from './database-time.js';
import type { OutcomeCodec } from './outcome.js';
import type { Patience } from './patience.js';
import type { Receiver } from './receiver.js';
import type { RunScopes } from './run-scope.js';
import type { Sender } from './sender.js';
import type { Transactional } from './transactional.js';
import { givenOptions } from '../core/given.js';

export interface SendOptions extends TransactionalOptions {
  /** Which of its topics the workflow receives the message on. Default: none, which is one of its own. */
  readonly topic?: string | Topic;
  /** Of messages with one key a workflow gets the first, whatever their topics. */
  readonly idempotencyKey?: string;
}

/** How long to wait for a message. Default: as long as it takes; the workflow need not stay in memory for it. */
export type RecvOptions =
  | { readonly timeout?: Duration; readonly deadline?: undefined }
  | { readonly deadline: Date; readonly timeout?: undefined };

export interface MessagesParts {
  readonly codec: OutcomeCodec;
  readonly scopes: RunScopes;
  readonly patience: Patience;
  readonly time: DatabaseTime;
  readonly sender: Sender;
  readonly receiver: Receiver;
  readonly transactional: Transactional;
}

/** No topic of a user is empty. */
const NO_TOPIC = '';

export class Messages {
  constructor(private readonly parts: MessagesParts) {}

  /**
   * Resolves once the message is durable. In a workflow it is sent exactly once, whatever dies.
   * @throws WorkflowNotFoundError, InvalidArgumentError, UnserializableValueError, DatabaseUnavailableError
   */
  async send(workflowId: string, message: unknown, options: SendOptions = {}): Promise<void> {
    const tx = transactionOf('send()', options);
    const { patience, sender, scopes, transactional } = this.parts;
    const scope = tx ? undefined : scopes.outsideSteps('Sending a message');
    const { name, compose } = this.prepare(workflowId, message, options);
    if (tx) {
      await transactional.send(tx, compose);
      return;
    }
    if (scope) return sender.sendFrom(scope, `workflows.send ${name}`.trimEnd(), compose);
    const work = (async () => sender.send(await compose()))();
    const what = `Sending a message to workflow "${workflowId}"`;
    const whatThen = 'It may have been sent; give an idempotencyKey to send it again safely.';
    await patience.with(work, what, whatThen);
  }

  /** What is wrong with the call is said at once; what a schema says may come later. */
  private prepare(
    workflowId: string,
    message: unknown,
    { topic, idempotencyKey }: SendOptions,
  ): { readonly name: string; readonly compose: () => NewMessage | Promise<NewMessage> } {
    if (message === undefined) {
      throw new InvalidArgumentError(
        'A message must not be undefined, which is what recv() gives when none came. Send null.',
      );
    }
    if (idempotencyKey !== undefined) assertIdentifier('An idempotency key', idempotencyKey);
    const { name, schema } = checkedTopic(topic);
    const { serializers } = this.parts.codec;
    const address = {
      workflowId: assertIdentifier('A workflow id', workflowId),
      topic: name,
      ...(idempotencyKey !== undefined && { idempotencyKey }),
    };
    if (!schema) {
      const composed = { ...address, message: serializers.encode(message, 'message') };
      return { name, compose: () => composed };
    }
    const compose = async (): Promise<NewMessage> => {
      const valid = await validated(schema, message, `message on topic "${name}"`);
      return { ...address, message: serializers.encode(valid, 'message') };
    };
    return { name, compose };
  }

  /** The next message of a topic, or undefined when none came in time. Takes two step ids, whatever happens. */
  async receive<T>(
    topicOrName?: string | Topic<unknown, T>,
    options: RecvOptions = {},
  ): Promise<T | undefined> {
    const scope = this.parts.scopes.require('flow.recv()');
    const topic = checkedTopic(topicOrName).name;
    const name = `flow.recv ${topic}`.trimEnd();
    const untilMs = deadlineOf('flow.recv()', options, this.parts.time.nowMs());
    return this.parts.receiver.receive<T>(scope, { topic, name, untilMs });
  }

  /** @throws RecvTimeoutError */
  async receiveOrThrow<T>(
    topic: string | Topic<unknown, T> | undefined,
    options?: RecvOptions,
  ): Promise<T> {
    const message = await this.receive<T>(topic, options);
    if (message !== undefined) return message;
    const { run } = this.parts.scopes.require('flow.recvOrThrow()');
    throw new RecvTimeoutError(run.id, topic === undefined ? undefined : named(topic).name);
  }
}

/** Epoch milliseconds; `Infinity` for none. @throws InvalidArgumentError */
export function deadlineOf(what: string, options: RecvOptions, nowMs: number): number {
  const { timeout, deadline } = givenOptions(what, options);
  if (timeout !== undefined && deadline !== undefined)
    throw new InvalidArgumentError(`${what}: give a timeout or a deadline, not both.`);
  const until = deadline ?? timeout;
  return until === undefined ? Infinity : momentMs(`The timeout of ${what}`, until, nowMs);
}

function checkedTopic(topic: string | Topic | undefined): ReturnType<typeof named> {
  if (topic === undefined) return { name: NO_TOPIC, schema: undefined };
  const given = named(topic);
  assertIdentifier('A topic', given.name);
  return given;
}
