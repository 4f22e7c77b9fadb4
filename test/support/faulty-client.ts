// The application's Prisma client with faults between it and the engine: statements counted, failed, or their answers lost.
import type {
  PrismaClientLike,
  PrismaStatements,
} from '../../libs/dbos/src/prisma/prisma-client.js';

/** When a statement's fault strikes: before it reaches the server, or after the server committed it. */
type Moment = 'before' | 'after';

interface Fault {
  readonly matches: (sql: string) => boolean;
  readonly moment: Moment;
  readonly error: () => Error;
  remaining: number;
}

type RawQuery = (sql: TemplateStringsArray, ...values: unknown[]) => PromiseLike<unknown>;

/** An error as the driver adapter reports a SQLSTATE for a raw query. */
export function sqlStateError(sqlState: string): Error {
  return Object.assign(new Error(`Raw query failed. Code: ${sqlState}`), {
    name: 'PrismaClientKnownRequestError',
    code: 'P2010',
    meta: { driverAdapterError: { cause: { originalCode: sqlState, kind: 'postgres' } } },
  });
}

/** A connection that broke, without a word from the server. */
export function connectionError(): Error {
  return Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
}

export class FaultyClient {
  readonly statements: string[] = [];
  private readonly faults: Fault[] = [];
  private dead = false;

  /** Hand this to the engine in place of the client. */
  readonly client: PrismaClientLike;

  constructor(real: PrismaClientLike) {
    this.client = this.proxyOf(real);
  }

  /** A transaction as a whole is the statement `TRANSACTION`: its answer is the news that it was committed. */
  private proxyOf<Client extends PrismaStatements>(real: Client): Client {
    const raw =
      (method: '$queryRaw' | '$executeRaw'): RawQuery =>
      (sql, ...values) =>
        this.pass(sql.join('?'), () =>
          (real[method] as unknown as RawQuery).call(real, sql, ...values),
        );
    const transaction: PrismaClientLike['$transaction'] = (work, options) => {
      const within = (inner: PrismaStatements) => work(this.proxyOf(inner));
      const run = () => (real as unknown as PrismaClientLike).$transaction(within, options);
      return this.pass('TRANSACTION', run) as ReturnType<typeof run>;
    };
    return new Proxy(real, {
      get: (target, property) => {
        if (property === '$queryRaw' || property === '$executeRaw') return raw(property);
        if (property === '$transaction') return transaction;
        const value: unknown = Reflect.get(target, property, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }

  /** Statements whose text contains `part`. */
  matching(part: string): string[] {
    return this.statements.filter((sql) => sql.includes(part));
  }

  /** The next `times` statements that contain `part` fail without reaching the server. */
  failNext(part: string, error: () => Error = connectionError, times = 1): void {
    this.addFault(part, 'before', error, times);
  }

  /** The next `times` statements that contain `part` are committed, but their answers are lost. */
  loseAnswerOfNext(part: string, times = 1): void {
    this.addFault(part, 'after', connectionError, times);
  }

  /** From now on nothing gets through in either direction, as after the death of the process. */
  die(): void {
    this.dead = true;
  }

  private addFault(part: string, moment: Moment, error: () => Error, remaining: number): void {
    this.faults.push({ matches: (sql) => sql.includes(part), moment, error, remaining });
  }

  private async pass(sql: string, run: () => PromiseLike<unknown>): Promise<unknown> {
    if (this.dead) throw connectionError();
    this.statements.push(sql);
    const fault = this.faults.find(({ remaining, matches }) => remaining > 0 && matches(sql));
    if (fault) fault.remaining -= 1;
    if (fault?.moment === 'before') throw fault.error();
    const answer = await run();
    if (this.dead) throw connectionError();
    if (fault) throw fault.error();
    return answer;
  }
}
