/**
 * Statements that go straight to the pool beneath the Prisma client: node spends a third of what the way through the
 * client costs.
 *
 * Calls of the library's functions are prepared under a name as well, so that PostgreSQL parses them once for a
 * connection. Other statements are planned anew each time: a plan that was kept from the time when the tables were
 * small would read them from end to end.
 */
import { createHash } from 'node:crypto';
import { sqlStateOf } from './database-error.js';
import { COLUMN_TYPES } from './driver-types.js';
import type { PrismaStatements } from './prisma-client.js';
import type { DriverPool } from './shared-driver.js';

interface StatementText {
  readonly text: string;
  /** Absent when it is not to be prepared. */
  readonly name?: string | undefined;
}

const CALL_OF_OURS = /^\s*SELECT [^()]* FROM dbos\.\w+\([^()]*\)\s*$/s;

/**
 * A pooler in transaction mode hands out another server connection than the one that knows the name: "invalid SQL
 * statement name" or "duplicate prepared statement" (PostgreSQL manual, appendix A). Nothing has been executed then.
 */
const NAME_REFUSED = new Set(['26000', '42P05']);

/** A template is one object for each place in the code, so its text is put together once. */
const texts = new WeakMap<TemplateStringsArray, StatementText>();

export class DriverStatements implements PrismaStatements {
  private namesAreKept = true;

  constructor(private readonly pool: DriverPool) {}

  async $queryRaw<T = unknown>(template: TemplateStringsArray, ...values: unknown[]): Promise<T> {
    return (await this.run(template, values)).rows as T;
  }

  async $executeRaw(template: TemplateStringsArray, ...values: unknown[]): Promise<number> {
    return (await this.run(template, values)).rowCount ?? 0;
  }

  async $queryRawUnsafe<T = unknown>(text: string, ...values: unknown[]): Promise<T> {
    return (await this.send({ text }, values)).rows as T;
  }

  async $executeRawUnsafe(text: string, ...values: unknown[]): Promise<number> {
    return (await this.send({ text }, values)).rowCount ?? 0;
  }

  private async run(
    template: TemplateStringsArray,
    values: readonly unknown[],
  ): ReturnType<DriverPool['query']> {
    const { name, text } = textOf(template);
    if (name === undefined || !this.namesAreKept) return this.send({ text }, values);
    try {
      return await this.send({ name, text }, values);
    } catch (error) {
      if (!NAME_REFUSED.has(sqlStateOf(error) ?? '')) throw error;
      this.namesAreKept = false;
      return this.send({ text }, values);
    }
  }

  private send(
    { name, text }: StatementText,
    values: readonly unknown[],
  ): ReturnType<DriverPool['query']> {
    return this.pool.query({ name, text, values, types: COLUMN_TYPES });
  }
}

/** A name comes from the text: whoever shares a server connection means the same statement by it. */
function textOf(template: TemplateStringsArray): StatementText {
  const known = texts.get(template);
  if (known) return known;
  const text = template.reduce((sql, part, index) => `${sql}$${index}${part}`);
  const digest = createHash('sha256').update(text).digest('hex').slice(0, 32);
  const fresh = CALL_OF_OURS.test(text) ? { text, name: `dbos_${digest}` } : { text };
  texts.set(template, fresh);
  return fresh;
}
