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
