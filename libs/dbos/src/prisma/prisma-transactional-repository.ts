/** The repositories over an open transaction of the application: each statement is sent once, and is part of it. */
import { RowRefusedError } from '../core/errors.js';
import type { OpenTransaction } from '../core/open-transaction.js';
import { ForeignTransactionError } from '../core/transaction-errors.js';
import type { Topic } from '../repository/notifier.js';
import type { TransactionalRepository } from '../repository/transactional-repository.js';
import type { Querying, Statement } from './database.js';
import { classifyDatabaseError, faultOf, isWithoutTables } from './database-error.js';
import { CHANNEL, TRANSACTION, notificationOf } from './postgres-notifier.js';
import type { PrismaStatements } from './prisma-client.js';
import { PrismaMessageRepository } from './prisma-message-repository.js';
import { PrismaQueueRepository } from './prisma-queue-repository.js';
import { PrismaTokenRepository } from './prisma-token-repository.js';
import { StartPipeline } from './start-pipeline.js';

export class PrismaTransactionalRepository implements TransactionalRepository {
  readonly workflows: TransactionalRepository['workflows'];
  readonly queues: PrismaQueueRepository;
  readonly messages: PrismaMessageRepository;
  readonly tokens: PrismaTokenRepository;

  constructor(private readonly transaction: OpenTransaction) {
    const statements = new TransactionStatements(transaction as PrismaStatements);
    const starts = new StartPipeline(statements);
    this.workflows = {
      start: (workflow) => starts.start(workflow),
      startMany: (workflows) => starts.write(workflows),
    };
    this.queues = new PrismaQueueRepository(statements);
    this.messages = new PrismaMessageRepository(statements);
    this.tokens = new PrismaTokenRepository(statements);
  }

  /** Delivered at the commit, and not at all after a rollback (PostgreSQL manual, "NOTIFY"). */
  async announce(topics: Partial<Record<Topic, readonly string[]>>): Promise<void> {
    const payload = notificationOf(TRANSACTION, topics);
    await this.transaction.$executeRaw`SELECT pg_notify(${CHANNEL}, ${payload})`;
  }
}

/** Nothing is tried again: after a failed statement the transaction can do nothing more. */
class TransactionStatements implements Querying {
  constructor(private readonly transaction: PrismaStatements) {}

  async query<Row>(statement: Statement<Row>): Promise<Row[]> {
    try {
      return await statement(this.transaction);
    } catch (error) {
      if (isWithoutTables(error)) throw new ForeignTransactionError('`tx`', error);
      if (classifyDatabaseError(error) !== 'row') throw error;
      const message = `PostgreSQL refused the data (${faultOf(error)}).`;
      throw new RowRefusedError(message, { cause: error });
    }
  }

  once<Row>(statement: Statement<Row>): Promise<Row[]> {
    return this.query(statement);
  }
}
