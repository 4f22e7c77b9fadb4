/**
 * What the library needs of the application's Prisma client, by shape: a generated client of any Prisma 7 and an
 * `$extends`-ed one both have it, and the library is coupled to neither.
 */

/** Statements as tagged templates: values are parameters, never text. */
export interface PrismaStatements {
  $queryRaw<T = unknown>(query: TemplateStringsArray, ...values: unknown[]): PromiseLike<T>;
  $executeRaw(query: TemplateStringsArray, ...values: unknown[]): PromiseLike<number>;
  $queryRawUnsafe<T = unknown>(query: string, ...values: unknown[]): PromiseLike<T>;
  $executeRawUnsafe(query: string, ...values: unknown[]): PromiseLike<number>;
}

/** Limits of an interactive transaction, in milliseconds, and its isolation, as Prisma names them. */
export interface PrismaTransactionOptions {
  readonly maxWait?: number;
  readonly timeout?: number;
  readonly isolationLevel?: 'ReadUncommitted' | 'ReadCommitted' | 'RepeatableRead' | 'Serializable';
}

export interface PrismaClientLike extends PrismaStatements {
  $transaction<T>(
    work: (transaction: PrismaStatements) => Promise<T>,
    options?: PrismaTransactionOptions,
  ): Promise<T>;
}

/** What Prisma's client keeps of its own settings and its driver adapter, as far as it is looked at. */
interface ClientInternals {
  readonly _engineConfig?: {
    readonly adapter?: { readonly config?: { readonly max?: unknown } };
    readonly transactionOptions?: { readonly timeout?: unknown };
  };
}

/** Prisma's own (reference of `$transaction`, `timeout`). */
const DEFAULT_TRANSACTION_TIMEOUT_MS = 5_000;

/** That of `pg`, which makes the pool of `@prisma/adapter-pg`. */
const DEFAULT_POOL_SIZE = 10;

/** How many connections the client may open at most, as far as can be told. */
export function poolSizeOf(client: PrismaClientLike): number {
  const { _engineConfig } = client as ClientInternals;
  const max = _engineConfig?.adapter?.config?.max;
  return typeof max === 'number' && max >= 1 ? max : DEFAULT_POOL_SIZE;
}

/** How long the client lets a transaction be open that says nothing of it, as far as can be told. */
export function transactionTimeoutOf(client: PrismaClientLike): number {
  const { _engineConfig } = client as ClientInternals;
  const timeout = _engineConfig?.transactionOptions?.timeout;
  return typeof timeout === 'number' && timeout > 0 ? timeout : DEFAULT_TRANSACTION_TIMEOUT_MS;
}
