/** The clients of the application whose transactions steps may be, and what each of their databases needs. */
import { RegistrationError } from '../core/errors.js';
import { Semaphore } from '../core/semaphore.js';
import { ForeignTransactionError } from '../core/transaction-errors.js';
import type { TransactionRepository } from '../repository/transaction-repository.js';
import { Database, type DatabaseSettings, type Querying } from './database.js';
import { assertMigrated, migrate, prismaMigrationTarget } from './migrator.js';
import { poolSizeOf, type PrismaClientLike } from './prisma-client.js';
import { PrismaTransactionRepository } from './prisma-transaction-repository.js';
import { SeparateTransactions } from './separate-transactions.js';

/** A transaction that has waited this long for its connection is told of. */
const LONG_WAIT_MS = 5_000;

/** A client by its injection token. */
export interface TransactionClient {
  readonly token: unknown;
  readonly client: () => PrismaClientLike;
  /** Whether it leads to another database than the one with the workflow tables. */
  readonly separateDatabase?: boolean;
}

export class TransactionClients {
  private readonly repositories = new Map<unknown, TransactionRepository>();
  private readonly databases: ReadonlyMap<TransactionClient, Database>;

  /** @param clients the first is the one by default */
  constructor(
    private readonly clients: readonly TransactionClient[],
    private readonly main: Database,
    private readonly settings: DatabaseSettings,
  ) {
    const separate = clients.filter(({ separateDatabase }) => separateDatabase);
    this.databases = new Map(
      separate.map((entry) => [entry, new Database(entry.client, settings)]),
    );
  }

  /** Those apart from the one with the workflow tables. */
  get separateDatabases(): Database[] {
    return [...this.databases.values()];
  }

  /**
   * Makes the databases ready, or verifies that they are.
   * @throws ForeignTransactionError when a client leads elsewhere than it should
   */
  async prepare(options: { readonly migrate: boolean }): Promise<void> {
    for (const entry of this.clients) {
      const database = this.databases.get(entry);
      if (!database) await this.assertSameDatabase(entry);
      else {
        await identityOf(database); // waits for one that is still starting
        const target = prismaMigrationTarget(entry.client());
        if (options.migrate) await migrate(target, { set: 'application' });
        else await assertMigrated(target, 'application');
      }
    }
  }

  private async assertSameDatabase({ token, client }: TransactionClient): Promise<void> {
    if (this.clients.length === 1) return;
    const direct: Querying['query'] = async (statement) => statement(client());
    const [here, there] = [await identityOf(this.main), await identityOf({ query: direct })];
    if (here !== there) throw new ForeignTransactionError(`The client "${nameOf(token)}"`);
  }

  /** No database of the application is waited for any more. */
  close(): void {
    for (const database of this.databases.values()) database.close();
  }

  /** @throws RegistrationError */
  of(token: unknown = this.clients[0]?.token): TransactionRepository {
    const known = this.repositories.get(token);
    if (known) return known;
    const entry = this.clients.find((client) => client.token === token);
    if (!entry) {
      throw new RegistrationError(
        `@Transaction() asks for the Prisma client "${nameOf(token)}", which DbosModule was not told of. List it in ` +
          '`transactionClients`.',
      );
    }
    const repository = this.open(entry);
    this.repositories.set(token, repository);
    return repository;
  }

  private open(entry: TransactionClient): TransactionRepository {
    const { client } = entry;
    // One connection is left to the statements of the engine, above all to the heartbeat.
    const places = new Semaphore(Math.max(1, poolSizeOf(client()) - 1), {
      clock: this.settings.clock,
      longWaitMs: LONG_WAIT_MS,
      report: (line) =>
        this.settings.logger.warn(
          'Transactions wait for a connection: shorten them, or enlarge the pool of the client',
          { client: nameOf(entry.token), atOnce: line.limit, waiting: line.waiting },
        ),
    });
    const database = this.databases.get(entry);
    return database
      ? new SeparateTransactions({ client, database, places })
      : new PrismaTransactionRepository({ client, database: this.main, places });
  }
}

function nameOf(token: unknown): string {
  return typeof token === 'function' ? token.name : String(token);
}

/** The same for two connections if they lead to one database of one server since its start. */
async function identityOf(database: Pick<Querying, 'query'>): Promise<string | undefined> {
  const [row] = await database.query<{ identity: string }>(
    (client) => client.$queryRaw`
      SELECT d.oid::text || ' ' || pg_postmaster_start_time()::text AS identity
        FROM pg_database d
       WHERE d.datname = current_database()`,
  );
  return row?.identity;
}
