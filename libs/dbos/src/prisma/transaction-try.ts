/** One try of an interactive transaction of the application's client, and what became of it. */
import { LeaseInDoubtSignal, TransactionAbortedError } from '../core/transaction-errors.js';
import type {
  Standing,
  Lost,
  TransactionBody,
  TransactionEnd,
  TransactionSettings,
} from '../repository/transaction-repository.js';
import { classifyDatabaseError, sqlStateOf } from './database-error.js';
import type {
  PrismaClientLike,
  PrismaStatements,
  PrismaTransactionOptions,
} from './prisma-client.js';

/** Serialization failure and deadlock (PostgreSQL manual, appendix A), and Prisma's word for both. */
const CONFLICTS = new Set(['40001', '40P01']);
const WRITE_CONFLICT = 'P2034';
/** Classes of a server in trouble: connection, resources, an operator's intervention (not of one query), system. */
const OUT_OF_ORDER = /^(08|53|57P|58)/;
/** "Read-only transaction": where none was asked for, the server takes no writes now, as a replica that is being promoted. */
const READ_ONLY = '25006';
/** "Current transaction is aborted": a statement failed before, and somebody caught its error. */
const ABORTED = '25P02';
/** Prisma: the transaction API; with a timeout it has expired, otherwise it was never begun. */
const TRANSACTION_API = 'P2028';
/** Prisma: no connection came free. */
const POOL_TIMEOUT = 'P2024';
/** An error may stand behind another; so many are looked through. */
const MAX_CAUSES = 10;

interface Circumstances {
  readonly name: string;
  /** Whether the outcome was being written, so that it may stand. */
  readonly isSealing: boolean;
  readonly settings: TransactionSettings;
}

interface PrismaError {
  readonly code?: unknown;
  readonly meta?: { readonly timeout?: unknown };
}

/** Leaves the callback of the transaction, so that it is rolled back. */
class RollbackSignal extends Error {
  constructor(readonly end: TransactionEnd) {
    super('The transaction is rolled back.');
  }
}

/**
 * @param seal writes the outcome as the last statement; what stands instead, if anything, rolls the transaction back
 */
export async function tryTransaction(
  client: PrismaClientLike,
  { name, settings }: { readonly name: string; readonly settings: TransactionSettings },
  body: TransactionBody,
  seal: (
    transaction: PrismaStatements,
    output: Awaited<ReturnType<TransactionBody>>,
  ) => Promise<Standing | Lost | { readonly result: 'recorded'; readonly standing: Standing }>,
): Promise<TransactionEnd> {
  let isSealing = false;
  try {
    return await client.$transaction(async (transaction) => {
      if (settings.readOnly) await transaction.$executeRaw`SET TRANSACTION READ ONLY`;
      const output = await bodyOf(transaction, body, settings);
      if (settings.readOnly) return readOnly(output);
      isSealing = true;
      const sealed = await seal(transaction, output);
      if (sealed.result !== 'recorded') throw new RollbackSignal(sealed);
      return sealed.standing;
    }, optionsOf(settings));
  } catch (error) {
    if (error instanceof RollbackSignal) return error.end;
    return endOf(error, { name, isSealing, settings });
  }
}

export function optionsOf(settings: TransactionSettings): PrismaTransactionOptions {
  const { isolationLevel, timeoutMs, maxWaitMs } = settings;
  return {
    ...(isolationLevel !== undefined && { isolationLevel }),
    ...(timeoutMs !== undefined && { timeout: timeoutMs }),
    ...(maxWaitMs !== undefined && { maxWait: maxWaitMs }),
  };
}

/** A value that was only read is recorded afterwards: nothing can be written here. */
function readOnly(output: Awaited<ReturnType<TransactionBody>>): Standing {
  return { result: 'standing', outcome: { output, error: null }, isCheckpoint: false };
}

async function bodyOf(
  transaction: PrismaStatements,
  body: TransactionBody,
  settings: TransactionSettings,
): ReturnType<TransactionBody> {
  try {
    return await body(transaction);
  } catch (error) {
    const end = passingFault(error, settings);
    if (end) throw new RollbackSignal(end);
    // A driver that has lost its connection says so in an error like any other: only the connection can tell.
    throw new RollbackSignal({
      result: (await isAlive(transaction)) ? 'failed' : 'unknown',
      error,
    });
  }
}

/** Whether the server still answers in this transaction, be it with a refusal. */
async function isAlive(transaction: PrismaStatements): Promise<boolean> {
  try {
    await transaction.$queryRaw`SELECT 1 AS alive`;
    return true;
  } catch (error) {
    return sqlStateOf(error) === ABORTED || (error as PrismaError).code === TRANSACTION_API;
  }
}

/** Of an error that did not come from the body: in beginning, sealing or committing. */
function endOf(error: unknown, { name, isSealing, settings }: Circumstances): TransactionEnd {
  const end = passingFault(error, settings);
  if (end) return end;
  if (sqlStateOf(error) === ABORTED)
    return { result: 'failed', error: new TransactionAbortedError(name, error) };
  const { code } = (error ?? {}) as PrismaError;
  const isOurs = code !== TRANSACTION_API && code !== POOL_TIMEOUT;
  if (isOurs && classifyDatabaseError(error) !== 'infrastructure')
    return { result: 'failed', error };
  return { result: isSealing ? 'unknown' : 'unbegun', error };
}

/**
 * What is nobody's fault: another transaction, the time, the state of the server. Looked for behind errors of the
 * application as well: it may have wrapped what Prisma threw.
 */
function passingFault(thrown: unknown, settings: TransactionSettings): TransactionEnd | undefined {
  if (thrown instanceof LeaseInDoubtSignal) return { result: 'unbegun', error: thrown };
  let error = thrown;
  for (let depth = 0; depth < MAX_CAUSES && error instanceof Error; depth += 1) {
    const { code, meta } = error as PrismaError;
    const sqlState = sqlStateOf(error);
    if (CONFLICTS.has(sqlState ?? '') || code === WRITE_CONFLICT)
      return { result: 'conflict', error: thrown };
    if (code === TRANSACTION_API && meta?.timeout !== undefined)
      return { result: 'expired', error: thrown };
    const isClosed = sqlState === READ_ONLY && !settings.readOnly;
    if (isClosed || OUT_OF_ORDER.test(sqlState ?? '')) return { result: 'unknown', error: thrown };
    error = error.cause;
  }
  return undefined;
}
