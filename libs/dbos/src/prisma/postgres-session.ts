/**
 * The one connection of its own that a process may have: it holds the advisory lock that tells others at once when
 * the process is gone. PostgreSQL manual, "Advisory Locks": a session-level lock ends with its session.
 *
 * Everything works without it, only later: then the lease alone decides who is dead.
 */
import { Client, type ClientConfig } from 'pg';
import type { Clock, Timer } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import { faultOf } from './database-error.js';

export interface PostgresSessionSettings {
  readonly connection: ClientConfig;
  /** The channel to listen on, and who hears what comes in on it. */
  readonly channel: string;
  readonly onNotification: (payload: string | undefined) => void;
  /** The session listens (again), or does so no more: notifications may have been missed, or will be. */
  readonly onListeningChange: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

const CONNECT_TIMEOUT_MS = 5_000;
const QUERY_TIMEOUT_MS = 5_000;
const RECONNECT_PAUSE_MS = 500;
const MAX_RECONNECT_PAUSE_MS = 10_000;

/** How a session is, see `Hearing`. */
export type SessionState = 'listening' | 'connecting' | 'lost' | 'deaf' | 'off';

export class PostgresSession {
  private client: Client | undefined;
  private executorId: string | undefined;
  private heldKey: bigint | undefined;
  private connecting: Promise<void> | undefined;
  private reconnect: Timer | undefined;
  private failures = 0;
  private listening = false;
  private closed = false;
  private leadsElsewhere = false;

  constructor(private readonly settings: PostgresSessionSettings) {}

  /** The key of the advisory lock that is held now. */
  get lockKey(): bigint | undefined {
    return this.heldKey;
  }

  /** Whether notifications come in. */
  get isListening(): boolean {
    return this.listening;
  }

  get state(): SessionState {
    if (this.leadsElsewhere) return 'deaf';
    if (this.closed) return 'off';
    if (this.listening) return 'listening';
    return this.failures > 0 ? 'lost' : 'connecting';
  }

  /** The server process of this session, for the check that it is in the same database as the application. */
  async backendPid(): Promise<number | undefined> {
    const result = await this.client?.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    return result?.rows[0]?.pid;
  }

  /** Takes the lock of an executor, now and after every loss of the connection. Resolves to whether it holds it. */
  async hold(executorId: string): Promise<boolean> {
    if (this.closed) return false;
    if (this.executorId !== executorId) await this.release();
    this.executorId = executorId;
    if (this.reconnect) return false; // the connection was lost and comes back in its own time
    await (this.client ? this.lockAgain(this.client) : this.connect());
    return this.heldKey !== undefined;
  }

  private async lockAgain(client: Client): Promise<void> {
    if (this.connecting) return this.connecting;
    if (this.heldKey === undefined) await this.tryLock(client).catch(() => undefined);
  }

  /** After a rejoining the lock of the former id says nothing any more. */
  private async release(): Promise<void> {
    this.heldKey = undefined;
    await this.client?.query('SELECT pg_advisory_unlock_all()').catch(() => undefined);
  }

  /** It leads to another database, or through a pooler that hands its connection around: do without it. */
  async disable(): Promise<void> {
    this.settings.logger.warn(
      'The session of its own is not in the database of the Prisma client (or goes through a transaction-mode pooler) ' +
        'and is not used: other processes will notice the death of this one only when its lease runs out. Set ' +
        '`sessionUrl` to a direct connection string of that database, or to false.',
    );
    this.leadsElsewhere = true;
    await this.close();
  }

  async close(): Promise<void> {
    this.closed = true;
    this.reconnect?.cancel();
    const { client } = this;
    this.client = undefined;
    this.heldKey = undefined;
    this.listening = false;
    await client?.end().catch(() => undefined);
  }

  /** One connection at a time, whoever asks for it. */
  private connect(): Promise<void> {
    this.reconnect = undefined;
    if (this.closed) return Promise.resolve(); // closed while a lock was given back
    this.connecting ??= this.open().finally(() => (this.connecting = undefined));
    return this.connecting;
  }

  private async open(): Promise<void> {
    const client = new Client({
      ...this.settings.connection,
      application_name: 'nestjs-dbos session',
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: QUERY_TIMEOUT_MS,
      keepAlive: true,
    });
    // Permanent: a connection may break at any time, and an error without a listener ends the process.
    client.on('error', (error) => this.lost(client, error));
    client.on('end', () => this.lost(client));
    client.on('notification', ({ payload }) => this.settings.onNotification(payload));
    // node-postgres never settles the connecting of a client that is ended meanwhile.
    const ended = new Promise<void>((resolve) => client.once('end', resolve));
    this.client = client;
    try {
      await Promise.race([client.connect(), ended]);
      if (this.closed) return await client.end(); // closed while it was connecting
      await this.tryLock(client);
      await client.query(`LISTEN ${client.escapeIdentifier(this.settings.channel)}`);
      this.listening = true;
      this.settings.onListeningChange();
      this.failures = 0;
    } catch (error) {
      this.lost(client, error);
    }
  }

  private async tryLock(client: Client): Promise<void> {
    const { rows } = await client.query<{ key: string; held: boolean }>(
      `SELECT key, pg_try_advisory_lock(key) AS held
         FROM (SELECT hashtextextended('nestjs-dbos executor ' || $1, 0) AS key) AS lock`,
      [this.executorId],
    );
    const [row] = rows;
    this.heldKey = row?.held ? BigInt(row.key) : undefined;
  }

  private lost(client: Client, error?: unknown): void {
    if (this.client !== client) return;
    this.client = undefined;
    this.heldKey = undefined;
    this.listening = false;
    if (this.closed) return;
    this.settings.onListeningChange();
    this.failures += 1;
    if (this.failures === 1) {
      this.settings.logger.warn(
        'The session that shows this process alive broke; connecting again',
        {
          fault: faultOf(error),
        },
      );
    }
    client.end().catch(() => undefined);
    const pauseMs = Math.min(
      RECONNECT_PAUSE_MS * 2 ** Math.min(this.failures - 1, 10),
      MAX_RECONNECT_PAUSE_MS,
    );
    this.reconnect = this.settings.clock.schedule(pauseMs, () => void this.connect());
  }
}
