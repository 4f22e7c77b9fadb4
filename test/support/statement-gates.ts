// Stops statements of the engine at the door: before they are sent, or after the server has committed them and before
// the engine hears of it. The moments between which a crash or another process makes a difference.
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import type { PrismaClientLike } from '../../libs/dbos/src/prisma/prisma-client.js';

export type GateMoment = 'unsent' | 'committed';

export interface Gate {
  /** Resolves once a statement stands at the gate. */
  readonly reached: Promise<void>;
  /** Lets it through; those after it pass anyway. */
  open(): void;
}

export interface HoldOptions {
  /** How many matching statements pass before one is stopped. Default 0. */
  readonly after?: number;
}

type Visit = (sql: string, values: readonly unknown[], moment: GateMoment) => Promise<void> | void;
type RawQuery = (sql: TemplateStringsArray, ...values: unknown[]) => PromiseLike<unknown>;

export class StatementGates {
  private readonly visits: Visit[] = [];

  /** The client with gates in it, for the engine. */
  wrap(real: PrismaClientLike): PrismaClientLike {
    const raw =
      (method: '$queryRaw' | '$executeRaw'): RawQuery =>
      async (sql, ...values) => {
        await this.visit(sql.join('?'), values, 'unsent');
        const answer = await (real[method] as unknown as RawQuery).call(real, sql, ...values);
        await this.visit(sql.join('?'), values, 'committed');
        return answer;
      };
    return new Proxy(real, {
      get: (target, property) => {
        if (property === '$queryRaw' || property === '$executeRaw') return raw(property);
        const value: unknown = Reflect.get(target, property, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }

  /** Sees every statement, before it is sent and after it was committed; may delay it. */
  onEach(visit: Visit): void {
    this.visits.push(visit);
  }

  /** Stops the next statement that contains `part`; those after it pass. */
  hold(part: string, moment: GateMoment, { after = 0 }: HoldOptions = {}): Gate {
    const reached = deferred<void>();
    const opened = deferred<void>();
    let toPass = after;
    this.onEach((sql, _values, at) => {
      if (at !== moment || !sql.includes(part)) return undefined;
      toPass -= 1;
      if (toPass !== -1) return undefined;
      reached.resolve();
      return opened.promise;
    });
    return { reached: reached.promise, open: () => opened.resolve() };
  }

  /** Stops every statement that contains `part`, until the gate is opened. */
  holdAll(part: string, moment: GateMoment): Gate {
    const reached = deferred<void>();
    const opened = deferred<void>();
    this.onEach((sql, _values, at) => {
      if (at !== moment || !sql.includes(part)) return undefined;
      reached.resolve();
      return opened.promise;
    });
    return { reached: reached.promise, open: () => opened.resolve() };
  }

  private async visit(sql: string, values: readonly unknown[], moment: GateMoment): Promise<void> {
    for (const visit of this.visits) await visit(sql, values, moment);
  }
}
