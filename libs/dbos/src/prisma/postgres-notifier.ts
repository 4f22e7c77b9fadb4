/**
 * Notifications through PostgreSQL: heard on the session of its own, sent as statements of their own.
 *
 * Never inside of the transaction that they tell of: a commit that notifies takes a lock of the whole database
 * (PostgreSQL, `PreCommit_Notify`), and the hot path would queue up behind it.
 */
import { randomUUID } from 'node:crypto';
import { cleanContext } from '../core/clean-context.js';
import type { Clock, Timer } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import type { Hearing, Notifier, Topic } from '../repository/notifier.js';
import type { Database } from './database.js';
import type { SessionState } from './postgres-session.js';

export const CHANNEL = 'nestjs_dbos';

/** Between two notifications; the first leaves at once. Under load one of them stands for thousands of changes. */
const PAUSE_MS = 10;
/** A connection that has not delivered what was sent to it by now does not deliver. */
const PROOF_MS = 3_000;
/** One that takes longer is not worth waiting for: the others will have polled. */
const TIMEOUT_MS = 2_000;
/** A payload must be shorter than 8,000 bytes (PostgreSQL manual, "NOTIFY"); subjects beyond this are left out. */
const MAX_PAYLOAD_BYTES = 7_000;

/** Stands for whoever sent a notification within a transaction: this very process as well as another. */
export const TRANSACTION = 'transaction';

interface Notification {
  /** Whose it is: a sender hears its own as well. */
  readonly from: string;
  readonly topics: Partial<Record<Topic, readonly string[]>>;
}

export interface NotifierParts {
  readonly database: Database;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Whether the session listens. */
  readonly listens: () => boolean;
  /** How the session is. */
  readonly session: () => SessionState;
}

export class PostgresNotifier implements Notifier {
  private readonly id = randomUUID();
  private readonly inCleanContext = cleanContext();
  private readonly subscribers = new Map<Topic, Set<(subjects: ReadonlySet<string>) => void>>();
  private readonly waiting = new Map<Topic, Set<string>>();
  /** What nobody was told of because nobody was known to listen. */
  private readonly untold = new Set<Topic>();
  private sending: Promise<void> | undefined;
  private isHeard = false;
  /** What the session listens to has come in: not every connection that listens hears (a pooler's does not). */
  private isProven = false;
  private mustProve = false;
  private hasWarned = false;
  /** It has listened for long without hearing itself. */
  private isOverdue = false;
  private proof: Timer | undefined;

  constructor(private readonly parts: NotifierParts) {}

  get isListening(): boolean {
    return this.isProven && this.parts.listens();
  }

  get hearing(): Hearing {
    const session = this.parts.session();
    if (session !== 'listening') return session;
    if (this.isProven) return 'listening';
    return this.isOverdue ? 'deaf' : 'connecting';
  }

  get hasAudience(): boolean {
    return this.isHeard;
  }

  set hasAudience(isHeard: boolean) {
    this.isHeard = isHeard;
    if (!isHeard) return;
    for (const topic of this.untold) this.notify(topic);
    this.untold.clear();
  }

  subscribe(topic: Topic, wake: (subjects: ReadonlySet<string>) => void): void {
    const subscribers = this.subscribers.get(topic) ?? new Set();
    this.subscribers.set(topic, subscribers.add(wake));
  }

  notify(topic: Topic, subject = ''): void {
    if (!this.isHeard) {
      this.untold.add(topic);
      return;
    }
    const subjects = this.waiting.get(topic) ?? new Set();
    this.waiting.set(topic, subjects.add(subject));
    this.sendSoon();
  }

  async flush(): Promise<void> {
    while (this.sending) await this.sending;
  }

  /** What came in on the channel. Anything may be sent there by anybody. */
  received(payload: string | undefined): void {
    const notification = parsed(payload);
    if (!notification) return;
    if (notification.from === this.id) {
      this.isProven = true;
      this.isOverdue = false;
      return;
    }
    if (notification.from !== TRANSACTION) this.hasAudience = true;
    for (const [topic, subjects] of Object.entries(notification.topics))
      this.wake(topic as Topic, new Set(subjectsOf(subjects)));
  }

  /**
   * The session listens (again), or does so no more. Some notifications may have been missed: everybody is to look for
   * themselves. Whether it hears is told by whether it hears itself.
   */
  listeningChanged(): void {
    this.isProven = false;
    this.proof?.cancel();
    for (const topic of this.subscribers.keys()) this.wake(topic, new Set());
    if (!this.parts.listens()) return;
    this.mustProve = true;
    this.sendSoon();
  }

  private wake(topic: Topic, subjects: ReadonlySet<string>): void {
    for (const wake of this.subscribers.get(topic) ?? []) wake(subjects);
  }

  close(): void {
    this.proof?.cancel();
  }

  private sendSoon(): void {
    this.sending ??= this.inCleanContext(() => this.sendAll()).finally(() => {
      this.sending = undefined;
    });
  }

  private async sendAll(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve)); // whatever this turn still has to tell goes along
    while (this.waiting.size > 0 || this.mustProve) {
      if (this.mustProve) this.expectProof();
      this.mustProve = false;
      const payload = this.takePayload();
      await this.parts.database
        .once(
          (client) =>
            client.$queryRaw<unknown[]>`SELECT pg_notify(${CHANNEL}, ${payload})::text AS sent`,
          { timeoutMs: TIMEOUT_MS },
        )
        .catch(() => undefined); // the others will find out by polling
      await new Promise<void>((resolve) => this.parts.clock.schedule(PAUSE_MS, resolve));
    }
  }

  private expectProof(): void {
    this.proof = this.parts.clock.schedule(PROOF_MS, () => {
      if (this.isProven || !this.parts.listens()) return;
      this.isOverdue = true;
      if (this.hasWarned) return;
      this.hasWarned = true;
      this.parts.logger.warn(
        'Notifications of other processes do not come in (a transaction-mode pooler does not deliver them): polling ' +
          'stands in for them. Set `sessionUrl` to a direct connection string of the database, or to false.',
      );
    });
  }

  private takePayload(): string {
    const topics = Object.fromEntries(
      [...this.waiting].map(([topic, subjects]) => [topic, [...subjects]]),
    );
    this.waiting.clear();
    return notificationOf(this.id, topics);
  }
}

/** @param from whoever is of this name does not listen to it */
export function notificationOf(from: string, topics: Notification['topics']): string {
  const payload = JSON.stringify({ from, topics } satisfies Notification);
  if (Buffer.byteLength(payload) <= MAX_PAYLOAD_BYTES) return payload;
  const withoutSubjects = Object.fromEntries(Object.keys(topics).map((topic) => [topic, []]));
  return JSON.stringify({ from, topics: withoutSubjects } satisfies Notification);
}

/** Undefined when it may be about anything: one was left out, they were too many to be sent, or it is nothing of ours. */
function subjectsOf(sent: unknown): readonly string[] | undefined {
  const areNamed =
    Array.isArray(sent) && sent.every((subject) => typeof subject === 'string' && subject !== '');
  return areNamed && sent.length > 0 ? sent : undefined;
}

function parsed(payload: string | undefined): Notification | undefined {
  try {
    const value = JSON.parse(payload ?? '') as Partial<Notification> | null;
    const isOurs = typeof value?.from === 'string' && typeof value.topics === 'object';
    return isOurs && value.topics ? (value as Notification) : undefined;
  } catch {
    return undefined;
  }
}
