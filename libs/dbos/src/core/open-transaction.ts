/** A transaction of the application that is open, as it is handed to the library. */
import { givenOptions } from './given.js';
import { InvalidTransactionClientError } from './transaction-errors.js';

/** What `prisma.$transaction(async (tx) => …)` hands to its callback, by shape. */
export interface OpenTransaction {
  $queryRaw(query: TemplateStringsArray, ...values: unknown[]): PromiseLike<unknown>;
  $executeRaw(query: TemplateStringsArray, ...values: unknown[]): PromiseLike<number>;
}

/** For operations that may be part of a transaction of the application. */
export interface TransactionalOptions {
  /**
   * The client of an open transaction: what the operation writes is committed with it, or rolled back. Default: none, and
   * the operation is durable once it resolves.
   */
  readonly tx?: OpenTransaction;
}

/**
 * The transaction among the options, if there is one. One that is named but missing is refused: the caller believes to be
 * in a transaction. So is a Prisma client itself, which, other than its transactions, can connect.
 * @throws InvalidTransactionClientError; InvalidArgumentError for options that are no object
 */
export function transactionOf(
  operation: string,
  options: TransactionalOptions,
): OpenTransaction | undefined {
  if (!('tx' in givenOptions(operation, options))) return undefined;
  const { tx } = options as { readonly tx?: Partial<OpenTransaction & { $connect: unknown }> };
  const isClient = typeof tx?.$queryRaw === 'function' && typeof tx.$executeRaw === 'function';
  if (!isClient || typeof tx.$connect === 'function')
    throw new InvalidTransactionClientError(operation);
  return tx as OpenTransaction;
}
