/** Updates: a request to a running workflow, and its reply. The request is a message, the reply an event of its own. */
import { randomUUID } from 'node:crypto';
import { momentMs, type Duration } from '../core/duration.js';
import { RunInterruptedError } from '../core/errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import { UpdateNotHandledError, UpdateTimeoutError } from '../core/message-errors.js';
import { named, validated, type Schema, type UpdateTopic } from '../core/schema.js';
import type { EncodedValue } from '../core/serialization/serializer.js';
import type { NewMessage } from '../repository/message-repository.js';
import type { DatabaseTime } from './database-time.js';
import { DEFAULT_TIMEOUT_MS, takeIds, type Events, type Reading } from './events.js';
import { deadlineOf, type RecvOptions } from './messages.js';
import type { OutcomeCodec } from './outcome.js';
import type { Patience } from './patience.js';
import type { Receiver } from './receiver.js';
import type { RunScope, RunScopes } from './run-scope.js';
import type { Sender } from './sender.js';

export interface UpdateOptions {
  /** How long to wait for the reply. Default: a minute. */
  readonly timeout?: Duration;
  /** The idempotency key: the same id again gets the reply of the first request. Default: a random UUID. */
  readonly updateId?: string;
}

/** How long a workflow waits for the next update; how it looks at one before it takes it up. */
export type UpdatesOptions<P> = RecvOptions & {
  /** Refuses an update by throwing: whoever sent it gets the error, and the workflow does not see it. */
  readonly validate?: (payload: P) => void | Promise<void>;
};

/** A request that a workflow has received. */
export interface Update<P> {
  readonly updateId: string;
  readonly payload: P;
  /** Carries it out: whoever sent it gets what `handle` returns, or the error that it throws. */
  answer<R>(handle: (payload: P) => R | Promise<R>): Promise<void>;
}

export interface UpdatesParts {
  readonly codec: OutcomeCodec;
  readonly scopes: RunScopes;
  readonly patience: Patience;
  readonly time: DatabaseTime;
  readonly sender: Sender;
  readonly receiver: Receiver;
  readonly events: Events;
}

interface Request {
  readonly id: string;
  readonly payload: unknown;
}

/** Whose updates are answered, and what the replies must be. */
interface Answered {
  readonly topic: string;
  readonly reply: Schema | undefined;
}

type Reply = { readonly value: unknown } | { readonly error: EncodedValue };

/** A request that is under way. */
interface Sent {
  readonly workflowId: string;
  readonly topic: string;
  readonly updateId: string;
}

/** What is asked, and what it must be. */
interface Asked {
  readonly payload: unknown;
  readonly schema: Schema | undefined;
}

/** No topic or key of a user contains a control character. */
export const REQUESTS = '\u0001update ';
const REPLIES = '\u0001reply ';

export class Updates {
  constructor(private readonly parts: UpdatesParts) {}

  /**
   * Sends a request and resolves with the reply. In a workflow three step ids.
   * @throws what the workflow threw; UpdateTimeoutError, UpdateNotHandledError, WorkflowNotFoundError
   */
  async send<R>(
    workflowId: string,
    topicOrName: string | UpdateTopic,
    payload: unknown,
    options: UpdateOptions = {},
  ): Promise<R> {
    const { scopes, time } = this.parts;
    const { timeout = DEFAULT_TIMEOUT_MS, updateId } = options;
    const { name: topic, schema } = named(topicOrName);
    assertIdentifier('A topic', topic);
    if (updateId !== undefined) assertIdentifier('An update id', updateId);
    const untilMs = momentMs('The timeout of an update', timeout, time.nowMs());
    const scope = scopes.outsideSteps('handle.update()');
    const sent = { workflowId, topic, updateId: updateId ?? randomUUID() };
    const request = { payload, schema, untilMs, isNamed: updateId !== undefined };
    if (scope) return this.sendFrom<R>(scope, { ...sent, ...request });
    const work = (async () => this.parts.sender.send(await this.compose(sent, request)))();
    const whatThen = `It may have been sent; send it again with updateId "${sent.updateId}".`;
    await this.parts.patience.with(work, `Update "${topic}" of workflow "${workflowId}"`, whatThen);
    return this.unwrap(sent, await this.parts.events.read<Reply>(replyOf(sent), untilMs)) as R;
  }

  private async sendFrom<R>(
    scope: RunScope,
    request: Sent & Asked & { readonly untilMs: number; readonly isNamed: boolean },
  ): Promise<R> {
    const { events, sender } = this.parts;
    const { workflowId, topic, untilMs } = request;
    const stepId = scope.sequence.takeId();
    const ids = takeIds(scope);
    const updateId = request.isNamed ? request.updateId : `${scope.run.id}\u0001${stepId}`;
    const sent = { workflowId, topic, updateId };
    const compose = (): Promise<NewMessage> => this.compose(sent, request);
    await sender.sendFrom(scope, `handle.update ${topic}`, compose, stepId);
    const take = (reading: Reading<Reply>): Reading<Reply> => reading;
    const wanted = { event: replyOf(sent), name: `handle.update ${topic} reply`, untilMs, take };
    return this.unwrap(sent, await events.readFrom(scope, wanted, ids)) as R;
  }

  /** What the schema refuses is not sent. */
  private async compose(
    { workflowId, topic, updateId }: Sent,
    { payload, schema }: Asked,
  ): Promise<NewMessage> {
    const valid = schema ? await validated(schema, payload, `update "${topic}"`) : payload;
    const request: Request = { id: updateId, payload: valid };
    return {
      workflowId,
      topic: REQUESTS + topic,
      message: this.parts.codec.serializers.encode(request, 'update'),
      idempotencyKey: REQUESTS + updateId,
    };
  }

  private unwrap(
    { workflowId, topic, updateId }: Sent,
    { value: reply, isOver }: Reading<Reply>,
  ): unknown {
    if (reply === undefined) {
      throw isOver
        ? new UpdateNotHandledError(workflowId, topic)
        : new UpdateTimeoutError(workflowId, topic, updateId);
    }
    if ('error' in reply) throw this.parts.codec.serializers.decodeError(reply.error);
    return reply.value;
  }

  /** The requests that come, one after the other. Ends when none comes in time. */
  async *receive<P>(
    topicOrName: string | UpdateTopic<unknown, P>,
    options: UpdatesOptions<P> = {},
  ): AsyncGenerator<Update<P>, void> {
    const { receiver, scopes, time } = this.parts;
    const topic = named(topicOrName).name;
    const reply = typeof topicOrName === 'string' ? undefined : topicOrName.reply;
    assertIdentifier('A topic', topic);
    const name = `flow.updates ${topic}`;
    for (;;) {
      const scope = scopes.require('flow.updates()');
      const untilMs = deadlineOf('flow.updates()', options, time.nowMs());
      const wanted = { topic: REQUESTS + topic, name, untilMs };
      const request = await receiver.receive<Request>(scope, wanted);
      if (request === undefined) return;
      const update = this.updateOf<P>({ topic, reply }, request);
      if (await this.isAccepted(update, options)) yield update;
    }
  }

  private async isAccepted<P>(
    update: Update<P>,
    { validate }: UpdatesOptions<P>,
  ): Promise<boolean> {
    if (!validate) return true;
    try {
      await validate(update.payload);
      return true;
    } catch (error) {
      await update.answer(() => {
        throw error;
      });
      return false;
    }
  }

  private updateOf<P>(answered: Answered, { id, payload }: Request): Update<P> {
    return {
      updateId: id,
      payload: payload as P,
      answer: (handle) => this.answer(answered, id, () => handle(payload as P)),
    };
  }

  private async answer(
    { topic, reply: schema }: Answered,
    id: string,
    work: () => unknown,
  ): Promise<void> {
    const { codec, events, scopes } = this.parts;
    const scope = scopes.require('Answering an update');
    const reply = await this.outcomeOf(async () => {
      const value = await work();
      return schema ? validated(schema, value, `reply to update "${topic}"`) : value;
    });
    const encode = (): EncodedValue => codec.serializers.encode(reply, 'reply');
    await events.publish(scope, { name: `update.answer ${topic}`, key: REPLIES + id, encode });
  }

  private async outcomeOf(work: () => unknown): Promise<Reply> {
    try {
      return { value: await work() };
    } catch (error) {
      if (error instanceof RunInterruptedError) throw error; // it is the run that ends, not the update that fails
      return { error: this.parts.codec.serializers.encodeError(error) };
    }
  }
}

function replyOf({ workflowId, updateId }: Sent): { workflowId: string; key: string } {
  return { workflowId, key: REPLIES + updateId };
}
