/** The clients of the application whose transactions steps may be. */
import { RegistrationError } from '../core/errors.js';
import { Semaphore } from '../core/semaphore.js';
import type { TransactionRepository } from '../repository/transaction-repository.js';
import type { Database } from './database.js';
import { poolSizeOf, type PrismaClientLike } from './prisma-client.js';
import { PrismaTransactionRepository } from './prisma-transaction-repository.js';

/** A client by its injection token. */
export interface TransactionClient {
  readonly token: unknown;
  readonly client: () => PrismaClientLike;
}

export class TransactionClients {
  private readonly repositories = new Map<unknown, TransactionRepository>();

  /** @param clients the first is the one by default */
  constructor(
    private readonly clients: readonly TransactionClient[],
    private readonly database: Database,
  ) {}

  /** @throws RegistrationError */
  of(token: unknown = this.clients[0]?.token): TransactionRepository {
    const known = this.repositories.get(token);
    if (known) return known;
    const entry = this.clients.find((client) => client.token === token);
    if (!entry) {
      const name = typeof token === 'function' ? token.name : String(token);
      throw new RegistrationError(
        `@Transaction() asks for the Prisma client "${name}", which DbosModule was not told of. List it in ` +
          '`transactionClients`.',
      );
    }
    const repository = this.open(entry);
    this.repositories.set(token, repository);
    return repository;
  }

  private open({ client }: TransactionClient): TransactionRepository {
    // One connection is left to the statements of the engine, above all to the heartbeat.
    const places = new Semaphore(Math.max(1, poolSizeOf(client()) - 1));
    return new PrismaTransactionRepository({ client, database: this.database, places });
  }
}
