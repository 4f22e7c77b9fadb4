/**
 * Transactions in a database of the application that is not the one with the workflow tables. A row in a table of its own
 * says that a step was committed there, and how; the checkpoint follows. Whoever comes to the step again finds that row.
 */
import type { EncodedValue } from '../core/serialization/serializer.js';
import type {
  Standing,
  StandingOutcome,
  TransactionAttempt,
  TransactionBody,
  TransactionEnd,
  TransactionRepository,
  TransactionSettings,
  TransactionStep,
} from '../repository/transaction-repository.js';
import { transactionTimeoutOf, type PrismaStatements } from './prisma-client.js';
import type { TransactionRepositoryParts } from './prisma-transaction-repository.js';
import { encoded } from './rows.js';
import { optionsOf, tryTransaction } from './transaction-try.js';

interface CompletionRow {
  serialization: string;
  output: string | null;
  error: string | null;
}

export class SeparateTransactions implements TransactionRepository {
  /** @param parts the database is that of the application */
  constructor(private readonly parts: TransactionRepositoryParts) {}

  get timeoutMs(): number {
    return transactionTimeoutOf(this.parts.client());
  }

  /** There is no fence here: a former owner may commit as long as nobody else has, and then its outcome counts. */
  async commit(
    attempt: TransactionAttempt,
    settings: TransactionSettings,
    body: TransactionBody,
  ): Promise<TransactionEnd> {
    const known = mayBeKnown(attempt) ? await this.find(attempt) : undefined;
    if (known) return known;
    const { client, places } = this.parts;
    const call = { name: attempt.name, settings };
    return places.within(() =>
      tryTransaction(client(), call, body, async (transaction, output) => {
        const outcome = { output, error: null };
        if (await complete(transaction, attempt, outcome))
          return { result: 'recorded', standing: standingOf(outcome) };
        const [row] = await completionOf(transaction, attempt);
        return row ? standing(row) : { result: 'lost' };
      }),
    );
  }

  /** Here as well, so that nobody can commit it afterwards. */
  async fail(attempt: TransactionAttempt, error: EncodedValue): Promise<Standing> {
    const outcome = { output: null, error };
    await this.parts.database.query(async (statements) => [
      await complete(statements, attempt, outcome),
    ]);
    return (await this.find(attempt)) ?? standingOf(outcome);
  }

  async find(step: TransactionStep): Promise<Standing | undefined> {
    const { database } = this.parts;
    const [row] = await database.query<CompletionRow>((client) => completionOf(client, step));
    return row && standing(row);
  }

  plain<T>(settings: TransactionSettings, body: (client: unknown) => Promise<T>): Promise<T> {
    return this.parts.client().$transaction(async (transaction) => {
      if (settings.readOnly) await transaction.$executeRaw`SET TRANSACTION READ ONLY`;
      return body(transaction);
    }, optionsOf(settings));
  }
}

/** Not so at the very first try of the first run, which is nearly every one. */
function mayBeKnown({ owner, failures, attempts }: TransactionAttempt): boolean {
  return owner.epoch > 1 || failures > 0 || attempts > 1;
}

/** @returns whether it was written: nobody else had done so */
async function complete(
  statements: PrismaStatements,
  { owner, stepId, name, failures }: TransactionAttempt,
  { output, error }: StandingOutcome,
): Promise<boolean> {
  const format = (output ?? error)?.format ?? null;
  const written = await statements.$executeRaw`
    INSERT INTO dbos.transaction_completions
           (workflow_id, step_id, failures, name, epoch, serialization, output, error)
    VALUES (${owner.workflowId}, ${stepId}, ${failures}::integer, ${name}, ${owner.epoch}::integer, ${format},
            ${output?.text ?? null}, ${error?.text ?? null})
        ON CONFLICT DO NOTHING`;
  return written > 0;
}

function completionOf(
  statements: PrismaStatements,
  { owner, stepId, failures }: TransactionStep,
): PromiseLike<CompletionRow[]> {
  return statements.$queryRaw`
    SELECT serialization, output, error
      FROM dbos.transaction_completions
     WHERE workflow_id = ${owner.workflowId} AND step_id = ${stepId} AND failures = ${failures}::integer`;
}

function standing({ serialization, output, error }: CompletionRow): Standing {
  return standingOf({
    output: encoded(output, serialization),
    error: encoded(error, serialization),
  });
}

/** The checkpoint is still to be recorded, or stands already. */
function standingOf(outcome: StandingOutcome): Standing {
  return { result: 'standing', outcome, isCheckpoint: false };
}
