/** Transactions in the database of the workflow tables: what the application writes and the checkpoint are one commit. */
import { Semaphore } from '../core/semaphore.js';
import { ForeignTransactionError } from '../core/transaction-errors.js';
import type { EncodedValue } from '../core/serialization/serializer.js';
import type {
  Lost,
  Standing,
  TransactionAttempt,
  TransactionBody,
  TransactionEnd,
  TransactionRepository,
  TransactionSettings,
  TransactionStep,
} from '../repository/transaction-repository.js';
import type { Database } from './database.js';
import { isWithoutTables } from './database-error.js';
import {
  transactionTimeoutOf,
  type PrismaClientLike,
  type PrismaStatements,
} from './prisma-client.js';
import { encoded } from './rows.js';
import { optionsOf, tryTransaction } from './transaction-try.js';

interface StandingRow {
  serialization: string;
  output: string | null;
  error: string | null;
}

type RecordRow = StandingRow & { result: 'recorded' | 'standing' | 'lost' };

export interface TransactionRepositoryParts {
  readonly client: () => PrismaClientLike;
  /** For what is written and read outside of the transactions. */
  readonly database: Database;
  /** How many may be open at once, so that other statements find a connection as well. */
  readonly places: Semaphore;
}

export class PrismaTransactionRepository implements TransactionRepository {
  constructor(private readonly parts: TransactionRepositoryParts) {}

  get timeoutMs(): number {
    return transactionTimeoutOf(this.parts.client());
  }

  commit(
    attempt: TransactionAttempt,
    settings: TransactionSettings,
    body: TransactionBody,
  ): Promise<TransactionEnd> {
    const { client, places } = this.parts;
    const call = { name: attempt.name, settings };
    return places.within(() =>
      tryTransaction(client(), call, body, (transaction, output) =>
        record(transaction, attempt, { output, error: null }).catch((error: unknown) => {
          if (!isWithoutTables(error)) throw error;
          throw new ForeignTransactionError(`Transaction "${attempt.name}"`, error);
        }),
      ),
    );
  }

  async fail(attempt: TransactionAttempt, error: EncodedValue): Promise<Standing | Lost> {
    const rows = await this.parts.database.query<RecordRow>((statements) =>
      recordStatement(statements, attempt, { output: null, error }),
    );
    const end = endOf(rows, { output: null, error });
    return end.result === 'recorded' ? end.standing : end;
  }

  async find({ owner, stepId }: TransactionStep): Promise<Standing | undefined> {
    const [row] = await this.parts.database.query<StandingRow>(
      (statements) => statements.$queryRaw`
        SELECT s.serialization, s.output, s.error
          FROM dbos.steps s
         WHERE s.workflow_id = ${owner.workflowId} AND s.step_id = ${stepId}`,
    );
    return row && standing(row);
  }

  plain<T>(settings: TransactionSettings, body: (client: unknown) => Promise<T>): Promise<T> {
    return this.parts.client().$transaction(async (transaction) => {
      if (settings.readOnly) await transaction.$executeRaw`SET TRANSACTION READ ONLY`;
      return body(transaction);
    }, optionsOf(settings));
  }
}

type Outcome = Standing['outcome'];
type Recording = Standing | Lost | { readonly result: 'recorded'; readonly standing: Standing };

async function record(
  statements: PrismaStatements,
  attempt: TransactionAttempt,
  outcome: Outcome,
): Promise<Recording> {
  return endOf(await recordStatement(statements, attempt, outcome), outcome);
}

function recordStatement(
  statements: PrismaStatements,
  { owner, stepId, name, attempts, startedAt }: TransactionAttempt,
  { output, error }: Outcome,
): PromiseLike<RecordRow[]> {
  const format = (output ?? error)?.format ?? null;
  const durationMs = performance.now() - startedAt;
  return statements.$queryRaw`
    SELECT result, serialization, output, error
      FROM dbos.record_transaction(${owner.workflowId}::text, ${owner.executorId}::text, ${owner.epoch}::integer,
                                   ${stepId}::text, ${name}::text, ${format}::text, ${output?.text ?? null}::text,
                                   ${error?.text ?? null}::text, ${attempts}::integer, ${durationMs}::float8)`;
}

function endOf([row]: readonly RecordRow[], outcome: Outcome): Recording {
  if (!row || row.result === 'lost') return { result: 'lost' };
  if (row.result === 'standing') return standing(row);
  return {
    result: 'recorded',
    standing: { result: 'standing', outcome, isCheckpoint: true },
  };
}

function standing({ serialization, output, error }: StandingRow): Standing {
  const outcome = {
    output: encoded(output, serialization),
    error: encoded(error, serialization),
  };
  return { result: 'standing', outcome, isCheckpoint: true };
}
