/** The checkpoint repository over the application's own Prisma client: no second pool, no second configuration. */
import { SystemClock, type Clock } from '../core/clock.js';
import { IsolationLevelError } from '../core/errors.js';
import type { OpenTransaction } from '../core/open-transaction.js';
import { SILENT_LOGGER, type Logger } from '../core/logger.js';
import { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { TransactionRepository } from '../repository/transaction-repository.js';
import type { TransactionalRepository } from '../repository/transactional-repository.js';
import { Completions } from './completions.js';
import { Database } from './database.js';
import {
  assertMigrated,
  migrate,
  prismaMigrationTarget,
  type MigrationTarget,
} from './migrator.js';
import { DriverStatements } from './driver-statements.js';
import type { PrismaClientLike, PrismaStatements } from './prisma-client.js';
import { CHANNEL, PostgresNotifier } from './postgres-notifier.js';
import { PostgresSession, type SessionState } from './postgres-session.js';
import { PrismaControlRepository } from './prisma-control-repository.js';
import { PrismaArchiveRepository } from './prisma-archive-repository.js';
import { PrismaEventRepository } from './prisma-event-repository.js';
import { PrismaExecutorRepository } from './prisma-executor-repository.js';
import { PrismaExplanationRepository } from './prisma-explanation-repository.js';
import { PrismaListingRepository } from './prisma-listing-repository.js';
import { PrismaMessageRepository } from './prisma-message-repository.js';
import { PrismaQueueRepository } from './prisma-queue-repository.js';
import { PrismaRetentionRepository } from './prisma-retention-repository.js';
import { PrismaScheduleRepository } from './prisma-schedule-repository.js';
import { PrismaStepRepository } from './prisma-step-repository.js';
import { PrismaStreamRepository } from './prisma-stream-repository.js';
import { PrismaTransactionalRepository } from './prisma-transactional-repository.js';
import { PrismaTokenRepository } from './prisma-token-repository.js';
import { PrismaWorkflowRepository } from './prisma-workflow-repository.js';
import { SharedDriver, type DriverPool } from './shared-driver.js';
import { StartPipeline } from './start-pipeline.js';
import { TransactionClients, type TransactionClient } from './transaction-clients.js';
import { TransitionPipeline } from './transition-pipeline.js';

export interface PrismaRepositoryOptions {
  /** Applies pending migrations at launch; otherwise a schema that is behind fails the launch. */
  readonly migrate: boolean;
  readonly clock?: Clock;
  readonly logger?: Logger;
  /** A statement without an answer for this long is given up and sent again. Default 10,000. */
  readonly statementTimeoutMs?: number;
  /**
   * The one session of its own, by which notifications come in and others notice at once when this process is gone: a
   * connection string, `false` for none. Default: as the pool beneath the client connects, or none where that is not
   * known.
   */
  readonly session?: string | false;
  /** Whether statements may go to the pool beneath the client. Default true. */
  readonly directStatements?: boolean;
  /** Whose transactions steps may be, the one by default first. Default: those of the client. */
  readonly transactionClients?: readonly TransactionClient[];
}

/** The pool beneath the client, as long as it is used. */
interface Shortcut {
  readonly statements: PrismaStatements;
  readonly release: () => Promise<void>;
}

export class PrismaCheckpointRepository extends CheckpointRepository {
  readonly workflows: PrismaWorkflowRepository;
  readonly control: PrismaControlRepository;
  readonly steps: PrismaStepRepository;
  readonly queues: PrismaQueueRepository;
  readonly executors: PrismaExecutorRepository;
  readonly schedules: PrismaScheduleRepository;
  readonly streams: PrismaStreamRepository;
  readonly messages: PrismaMessageRepository;
  readonly events: PrismaEventRepository;
  readonly tokens: PrismaTokenRepository;
  readonly completions: Completions;
  readonly listings: PrismaListingRepository;
  readonly explanations: PrismaExplanationRepository;
  readonly retention: PrismaRetentionRepository;
  readonly archives: PrismaArchiveRepository;
  private readonly database: Database;
  private readonly transactionClients: TransactionClients;
  readonly notifier: PostgresNotifier;
  private session: PostgresSession | undefined;
  private readonly logger: Logger;
  private shortcut: Shortcut | undefined;

  constructor(
    /** Asked for at the first statement: a container may make the client later than its users. */
    private readonly client: () => PrismaClientLike,
    private readonly options: PrismaRepositoryOptions,
  ) {
    super();
    const { clock = new SystemClock(), logger = SILENT_LOGGER, statementTimeoutMs } = options;
    this.logger = logger;
    const settings = {
      clock,
      logger,
      ...(statementTimeoutMs !== undefined && { statementTimeoutMs }),
    };
    const database = new Database(() => this.statements, settings);
    const transitions = new TransitionPipeline(database);
    this.database = database;
    this.workflows = new PrismaWorkflowRepository(
      database,
      new StartPipeline(database),
      transitions,
    );
    this.control = new PrismaControlRepository(database);
    this.steps = new PrismaStepRepository(database, transitions);
    this.queues = new PrismaQueueRepository(database);
    this.schedules = new PrismaScheduleRepository(database);
    this.streams = new PrismaStreamRepository(database);
    this.messages = new PrismaMessageRepository(database);
    this.events = new PrismaEventRepository(database);
    this.tokens = new PrismaTokenRepository(database);
    this.listings = new PrismaListingRepository(database);
    this.explanations = new PrismaExplanationRepository(database);
    this.retention = new PrismaRetentionRepository(database);
    this.archives = new PrismaArchiveRepository(database);
    this.executors = new PrismaExecutorRepository(database, () => this.session);
    const { transactionClients = [{ token: undefined, client }] } = options;
    this.transactionClients = new TransactionClients(transactionClients, database, settings);
    this.completions = new Completions(this.transactionClients.separateDatabases, this.workflows);
    const listens = (): boolean => this.session?.isListening ?? false;
    const sessionState = (): SessionState => this.session?.state ?? 'off';
    this.notifier = new PostgresNotifier({
      database,
      clock,
      logger,
      listens,
      session: sessionState,
    });
  }

  transactions(token?: unknown): TransactionRepository {
    return this.transactionClients.of(token);
  }

  within(transaction: OpenTransaction): TransactionalRepository {
    return new PrismaTransactionalRepository(transaction);
  }

  /** The pool beneath the client where it can be shared, else the client. */
  private get statements(): PrismaStatements {
    return this.shortcut?.statements ?? this.client();
  }

  /**
   * To be called as soon as the client exists: once it has connected, its pool can be shared no more.
   * @returns whether it can be
   */
  findDriver(): boolean {
    if (this.options.directStatements === false) return false;
    return SharedDriver.beneath(this.client()) !== undefined;
  }

  async prepare(): Promise<void> {
    const client = this.client(); // one that cannot be had will not come by waiting
    this.openSession(await this.takeShortcut(client));
    await this.assertReadCommitted(); // waits for a database that is still starting
    const target = prismaMigrationTarget(client, this.statements);
    await this.bringUpToDate(target);
    await this.transactionClients.prepare(this.options);
  }

  private async bringUpToDate(target: MigrationTarget): Promise<void> {
    if (!this.options.migrate) return assertMigrated(target);
    const { applied } = await migrate(target);
    if (applied.length > 0)
      this.logger.log('Applied migrations of the workflow tables', { applied });
  }

  private async assertReadCommitted(): Promise<void> {
    const [row] = await this.database.query<{ level: string }>(
      (client) => client.$queryRaw`SELECT current_setting('transaction_isolation') AS level`,
    );
    if (row && row.level !== 'read committed') throw new IsolationLevelError(row.level);
  }

  async ping(): Promise<void> {
    await this.database.once((client) => client.$queryRaw<unknown[]>`SELECT 1 AS pong`);
  }

  async close(): Promise<void> {
    this.database.close();
    this.transactionClients.close();
    this.notifier.close();
    await this.session?.close();
    await this.shortcut?.release();
  }

  private async takeShortcut(client: PrismaClientLike): Promise<DriverPool | undefined> {
    if (this.options.directStatements === false) return undefined;
    const used = await SharedDriver.beneath(client)?.use();
    if (!used) return undefined;
    this.shortcut = { statements: new DriverStatements(used.pool), release: used.release };
    return used.pool;
  }

  private openSession(pool: DriverPool | undefined): void {
    const { session, clock = new SystemClock() } = this.options;
    const connection = typeof session === 'string' ? { connectionString: session } : pool?.options;
    if (session === false || !connection) return;
    const { logger, notifier } = this;
    this.session = new PostgresSession({
      connection,
      channel: CHANNEL,
      clock,
      logger,
      onNotification: (payload) => notifier.received(payload),
      onListeningChange: () => notifier.listeningChanged(),
    });
  }
}
