// A Prisma client that a test can take away from the engine and give back: the database refuses, or never answers.
import type { PrismaClientLike } from '../../libs/dbos/src/prisma/prisma-client.js';

export type DatabaseState = 'up' | 'refusing' | 'silent';

const STATEMENTS = new Set<string | symbol>([
  '$queryRaw',
  '$executeRaw',
  '$queryRawUnsafe',
  '$executeRawUnsafe',
  '$transaction',
]);

export class SwitchableClient {
  /** Statements that did not reach the database. */
  refused = 0;

  /** Hand this to the engine in place of the client. */
  readonly client: PrismaClientLike;

  private current: DatabaseState = 'up';
  private readonly unanswered = new Set<() => void>();

  constructor(real: PrismaClientLike) {
    this.client = new Proxy(real, {
      get: (target, property) => {
        const value: unknown = Reflect.get(target, property, target);
        if (typeof value !== 'function') return value;
        if (!STATEMENTS.has(property)) return value.bind(target) as unknown;
        return (...args: unknown[]) => this.pass(() => Reflect.apply(value, target, args));
      },
    });
  }

  get state(): DatabaseState {
    return this.current;
  }

  /** What has waited for an answer in silence fails when the silence ends. */
  set state(state: DatabaseState) {
    this.current = state;
    if (state === 'silent') return;
    for (const fail of this.unanswered) fail();
    this.unanswered.clear();
  }

  private pass(call: () => unknown): unknown {
    if (this.current === 'up') return call();
    this.refused += 1;
    if (this.current === 'refusing') return Promise.reject(fault('ECONNREFUSED'));
    return new Promise<never>((_resolve, reject) => {
      this.unanswered.add(() => reject(fault('ECONNRESET')));
    });
  }
}

function fault(code: string): Error {
  return Object.assign(new Error(`connect ${code}`), { code });
}
