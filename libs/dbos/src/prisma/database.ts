/** The application's Prisma client as the engine uses it: one statement at a time, patient with the infrastructure. */
import { wait, type Clock } from '../core/clock.js';
import { DatabaseUnavailableError, RowRefusedError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { classifyDatabaseError, faultOf } from './database-error.js';
import type { PrismaStatements } from './prisma-client.js';

export type Statement<Row> = (client: PrismaStatements) => PromiseLike<Row[]>;

export interface DatabaseSettings {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random?: () => number;
  /**
   * A statement without an answer for this long is given up and sent again: its connection may be gone without
   * anybody having said so. Every statement of ours may run twice.
   */
  readonly statementTimeoutMs?: number;
}

/** For statements that cannot wait as long as others. */
export interface Haste {
  /** A statement without an answer for this long is sent again. */
  readonly timeoutMs?: number;
  /** Longest pause between two sendings. */
  readonly maxPauseMs?: number;
}

/** What repositories need: statements, by whatever means they are sent. */
export type Querying = Pick<Database, 'query' | 'once'>;

const DEFAULT_STATEMENT_TIMEOUT_MS = 10_000;
const FIRST_PAUSE_MS = 20;
const MAX_PAUSE_MS = 2_000;
const JITTER = 0.5;
/** How often a statement that stays refused is reported. */
const REPORT_EVERY = 20;

export class Database {
  private readonly closing = new AbortController();

  constructor(
    private readonly client: () => PrismaStatements,
    private readonly settings: DatabaseSettings,
  ) {}

  /**
   * Runs a statement that may safely run twice, waiting out every fault of the infrastructure.
   * @throws RowRefusedError when the data cannot be stored
   * @throws DatabaseUnavailableError when the database is closed meanwhile
   */
  async query<Row>(statement: Statement<Row>, haste: Haste = {}): Promise<Row[]> {
    const { timeoutMs = this.timeoutMs, maxPauseMs = MAX_PAUSE_MS } = haste;
    for (let failures = 1; ; failures += 1) {
      try {
        const rows = await this.send(statement, timeoutMs);
        if (failures > REPORT_EVERY) this.settings.logger.log('The database answers again');
        return rows;
      } catch (error) {
        this.throwUnlessPassing(error);
        this.report(error, failures);
        await this.pause(failures, maxPauseMs);
      }
    }
  }

  /**
   * Runs a statement once; for those whose repetition is for the caller to decide.
   * @throws DatabaseUnavailableError for every fault of the infrastructure
   */
  async once<Row>(statement: Statement<Row>, { timeoutMs = Infinity }: Haste = {}): Promise<Row[]> {
    try {
      return await this.send(statement, Math.min(timeoutMs, this.timeoutMs));
    } catch (error) {
      this.throwUnlessPassing(error);
      const fault = faultOf(error);
      throw new DatabaseUnavailableError(`The statement failed (${fault}).`, { cause: error });
    }
  }

  private async send<Row>(statement: Statement<Row>, timeoutMs: number): Promise<Row[]> {
    if (this.closing.signal.aborted) throw this.closed();
    return this.inTime(statement, timeoutMs);
  }

  private get timeoutMs(): number {
    return this.settings.statementTimeoutMs ?? DEFAULT_STATEMENT_TIMEOUT_MS;
  }

  /** From now on faults of the infrastructure are no longer waited out. */
  close(): void {
    this.closing.abort(this.closed());
  }

  private throwUnlessPassing(error: unknown): void {
    const kind = classifyDatabaseError(error);
    if (kind === 'row') {
      throw new RowRefusedError(`PostgreSQL refused the data (${faultOf(error)}).`, {
        cause: error,
      });
    }
    if (this.closing.signal.aborted) throw this.closed();
    if (kind === 'defect') throw error;
  }

  private inTime<Row>(statement: Statement<Row>, timeoutMs: number): Promise<Row[]> {
    return new Promise<Row[]>((resolve, reject) => {
      const answer = statement(this.client());
      const timer = this.settings.clock.schedule(timeoutMs, () =>
        reject(new DatabaseUnavailableError(`The database did not answer within ${timeoutMs} ms.`)),
      );
      answer.then(
        (rows) => {
          timer.cancel();
          resolve(rows);
        },
        (error: Error) => {
          timer.cancel();
          reject(error);
        },
      );
    });
  }

  private async pause(failures: number, maxPauseMs: number): Promise<void> {
    const { clock, random = Math.random } = this.settings;
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, 20), maxPauseMs);
    await wait(clock, pauseMs * (1 - JITTER + 2 * JITTER * random()), this.closing.signal);
  }

  private report(error: unknown, failures: number): void {
    if (failures !== 1 && failures % REPORT_EVERY !== 0) return;
    this.settings.logger.warn('A statement of the workflow engine failed and is tried again', {
      fault: faultOf(error),
      failures,
    });
  }

  private closed(): DatabaseUnavailableError {
    return new DatabaseUnavailableError('The workflow engine has been shut down.');
  }
}
