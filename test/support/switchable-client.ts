// A Prisma client that a test can take away from the engine and give back: the database refuses, or never answers.
import type { PrismaClientLike } from '../../libs/dbos/src/prisma/prisma-client.js';

export type DatabaseState = 'up' | 'refusing' | 'silent';

const RAW = new Set<string | symbol>([
  '$queryRaw',
  '$executeRaw',
  '$queryRawUnsafe',
  '$executeRawUnsafe',
  '$transaction',
]);

export class SwitchableClient {
  state: DatabaseState = 'up';
  /** Calls that did not reach the database. */
  refused = 0;

  /** Hand this to the engine in place of the client. */
  readonly client: PrismaClientLike;

  constructor(real: PrismaClientLike) {
    this.client = new Proxy(real, {
      get: (target, property) => {
        const value: unknown = Reflect.get(target, property, target);
        if (typeof value !== 'function') return value;
        if (!RAW.has(property)) return value.bind(target) as unknown;
        return (...args: unknown[]) => this.pass(() => Reflect.apply(value, target, args));
      },
    });
  }

  private pass(call: () => unknown): unknown {
    if (this.state === 'up') return call();
    this.refused += 1;
    if (this.state === 'silent') return new Promise<never>(() => {});
    return Promise.reject(
      Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }),
    );
  }
}
