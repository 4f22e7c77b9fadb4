/** Tokens: whoever holds one decides something that a workflow waits for, once. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { momentMs, type Duration } from '../core/duration.js';
import { WorkflowNotFoundError } from '../core/errors.js';
import {
  TokenExpiredError,
  TokenNotFoundError,
  TokenRejectedError,
} from '../core/message-errors.js';
import { transactionOf, type TransactionalOptions } from '../core/open-transaction.js';
import type { EncodedValue } from '../core/serialization/serializer.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { NewMessage } from '../repository/message-repository.js';
import type { TokenDigest, TokenRecord, TokenRepository } from '../repository/token-repository.js';
import { checkpoint, type OperationReport } from './checkpoint.js';
import type { DatabaseTime } from './database-time.js';
import { operation } from './operation.js';
import type { OutcomeCodec } from './outcome.js';
import type { Patience } from './patience.js';
import type { Receiver } from './receiver.js';
import type { RunScope, RunScopes } from './run-scope.js';
import type { Delivery, Sender } from './sender.js';
import type { Transactional } from './transactional.js';
import { givenOptions } from '../core/given.js';

export interface TokenOptions {
  /** How long the token can be used. Default: until it is. */
  readonly timeout?: Duration;
}

/** What a workflow gives out, and what it waits for. */
export interface DecisionToken<T> {
  /** 43 characters that fit into a URL. A secret: whoever has it may decide. */
  readonly token: string;
  readonly expiresAt: Date | undefined;
  /**
   * Waits for the decision, and may be called again.
   * @throws TokenRejectedError, TokenExpiredError
   */
  wait(): Promise<T>;
}

export interface TokensParts {
  readonly repository: CheckpointRepository;
  readonly codec: OutcomeCodec;
  readonly scopes: RunScopes;
  readonly patience: Patience;
  readonly time: DatabaseTime;
  readonly sender: Sender;
  readonly receiver: Receiver;
  readonly transactional: Transactional;
}

/** How the decision is sent: by itself, or in a transaction. */
type Sending = (message: NewMessage) => Promise<Delivery>;

/** What becomes of it: a value, or the reason of a refusal. */
type Decision = { readonly value: unknown } | { readonly reason: string | undefined };

const TOKEN_BYTES = 32;
const TOKEN = /^[A-Za-z0-9_-]{43}$/;
const CREATE = 'flow.createToken';

/** With the id of the step that gave it out. No topic or key of a user contains a control character. */
export const TOKEN_TOPIC = '\u0001token ';

export class Tokens {
  constructor(private readonly parts: TokensParts) {}

  /** The token is new on every run, and nowhere recorded; all tokens of one step stand for one decision. */
  async create<T>(options: TokenOptions = {}): Promise<DecisionToken<T>> {
    const { timeout } = givenOptions('flow.createToken()', options);
    const { scopes, time } = this.parts;
    const scope = scopes.require('flow.createToken()');
    const requested =
      timeout === undefined ? null : momentMs('The timeout of a token', timeout, time.nowMs());
    const stepId = scope.sequence.takeId();
    const token = randomBytes(TOKEN_BYTES).toString('base64url');
    const expiresAtMs = await this.enter(scope, { token, stepId, requested });
    let decision: Promise<T> | undefined;
    return {
      token,
      expiresAt: expiresAtMs === null ? undefined : new Date(expiresAtMs),
      wait: () => (decision ??= this.wait<T>(stepId, expiresAtMs ?? Infinity)),
    };
  }

  /** @returns when it expires, as it was recorded */
  private async enter(
    scope: RunScope,
    { token, stepId, requested }: { token: string; stepId: string; requested: number | null },
  ): Promise<number | null> {
    const { codec, time } = this.parts;
    let isNew = false;
    const produce = async (_stepId: string, report: OperationReport): Promise<number | null> => {
      isNew = true;
      const output = codec.serializers.encode(requested);
      await this.write(scope, { token, stepId, expiresAtMs: requested, output });
      report.recorded = { output, error: null };
      return requested;
    };
    const expiresAtMs = await checkpoint(scope, { name: CREATE, produce }, stepId);
    const isUsable = expiresAtMs === null || expiresAtMs > time.nowMs();
    if (!isNew && isUsable) await this.write(scope, { token, stepId, expiresAtMs });
    return expiresAtMs;
  }

  private async write(
    { run }: RunScope,
    given: {
      readonly token: string;
      readonly stepId: string;
      readonly expiresAtMs: number | null;
      readonly output?: EncodedValue;
    },
  ): Promise<void> {
    const { token, stepId, expiresAtMs, output } = given;
    const isOwned = await this.parts.repository.tokens.create({
      owner: run.owner,
      stepId,
      digest: digestOf(token),
      expiresAt: expiresAtMs === null ? undefined : new Date(expiresAtMs),
      step: output && { name: CREATE, output },
    });
    if (!isOwned) throw await run.lost();
  }

  private async wait<T>(stepId: string, untilMs: number): Promise<T> {
    const { receiver, scopes } = this.parts;
    const scope = scopes.require('Waiting for the decision of a token');
    const wanted = { topic: topicOf(stepId), name: 'token.wait', untilMs, tokenStepId: stepId };
    const decision = await receiver.receive<Decision>(scope, wanted);
    if (decision === undefined) throw new TokenExpiredError(scope.run.id);
    if ('reason' in decision) throw new TokenRejectedError(scope.run.id, decision.reason);
    return decision.value as T;
  }

  /**
   * @returns whether this call decided; false when another did before
   * @throws TokenNotFoundError, TokenExpiredError, UnserializableValueError, DatabaseUnavailableError
   */
  async decide(
    name: string,
    token: string,
    decision: Decision,
    options: TransactionalOptions = {},
  ): Promise<boolean> {
    const { codec, scopes, repository, sender, transactional } = this.parts;
    const tx = transactionOf(`${name}()`, options);
    if (!tx) scopes.outsideSteps(`${name}()`);
    const message = codec.serializers.encode(decision, 'decision');
    if (tx) {
      const send: Sending = (composed) => transactional.send(tx, () => composed);
      return this.send(await this.find(token, repository.within(tx).tokens), message, send);
    }
    const send: Sending = (composed) => sender.send(composed);
    return operation(this.parts, name, async () =>
      this.send(await this.find(token, repository.tokens), message, send),
    );
  }

  private async send(
    { workflowId, stepId, id }: TokenRecord,
    message: EncodedValue,
    send: Sending,
  ): Promise<boolean> {
    const topic = topicOf(stepId);
    const decided = { workflowId, topic, idempotencyKey: topic, message, tokenId: id };
    const delivery = await send(decided).catch((error: unknown) => {
      throw error instanceof WorkflowNotFoundError ? new TokenNotFoundError() : error;
    });
    if (delivery === 'expired') throw new TokenExpiredError(workflowId);
    return delivery === 'sent';
  }

  private async find(token: string, tokens: Pick<TokenRepository, 'find'>): Promise<TokenRecord> {
    if (typeof token !== 'string' || !TOKEN.test(token)) throw new TokenNotFoundError();
    const { id, proof } = digestOf(token);
    const record = await tokens.find(id);
    if (!record || !isSame(record.proof, proof)) throw new TokenNotFoundError();
    return record;
  }
}

function digestOf(token: string): TokenDigest {
  const digest = createHash('sha256').update(token).digest('hex');
  const half = digest.length / 2;
  return { id: digest.slice(0, half), proof: digest.slice(half) };
}

/** In a time that does not tell how much of it is right; how long a proof is, is no secret. */
function isSame(known: string, given: string): boolean {
  const [a, b] = [Buffer.from(known), Buffer.from(given)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function topicOf(stepId: string): string {
  return TOKEN_TOPIC + stepId;
}
