/** The type of a client's transactions, told from the client's own type: nothing of a generated client is imported. */

/** Whatever has interactive transactions, as every Prisma client. */
export interface TransactionalClient {
  readonly $transaction: (...args: never[]) => unknown;
}

/** What `$transaction` hands to its callback, models and all. */
export type TransactionOf<Client extends TransactionalClient> = Client['$transaction'] extends (
  work: (transaction: infer Transaction) => Promise<unknown>,
  ...rest: never[]
) => unknown
  ? Transaction
  : never;
