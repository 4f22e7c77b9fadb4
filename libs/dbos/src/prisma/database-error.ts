/**
 * What an error of the database means for a statement of ours. The class follows from where the error arose (our
 * own statement) and from PostgreSQL's SQLSTATE, never from the wording of a message.
 */
import { DatabaseUnavailableError, DbosError } from '../core/errors.js';

/** What the driver says of an error; all of it optional, because it may not even have reached the server. */
interface PrismaErrorShape {
  readonly name?: unknown;
  readonly code?: unknown;
  readonly meta?: {
    readonly code?: unknown;
    readonly driverAdapterError?: {
      readonly cause?: { readonly originalCode?: unknown; readonly kind?: unknown };
    };
  };
  readonly cause?: { readonly originalCode?: unknown; readonly kind?: unknown };
}

/**
 * - `row`: this row cannot be stored (data exceptions, constraint violations, limits of the program): the same
 *   statement without it may well succeed.
 * - `defect`: our statement or the client is wrong; trying again cannot help.
 * - `infrastructure`: everything else. The work waits until the database is well again.
 */
export type DatabaseErrorClass = 'row' | 'defect' | 'infrastructure';

/** SQLSTATE classes (PostgreSQL manual, appendix A): 22 data exception, 23 integrity, 54 program limit exceeded. */
const ROW_CLASSES = new Set(['22', '23', '54']);

export function classifyDatabaseError(error: unknown): DatabaseErrorClass {
  const sqlState = sqlStateOf(error);
  if (sqlState !== undefined)
    return ROW_CLASSES.has(sqlState.slice(0, 2)) ? 'row' : 'infrastructure';
  const { name } = (error ?? {}) as PrismaErrorShape;
  if (name === 'PrismaClientValidationError' || isOurRefusal(error)) return 'defect';
  return 'infrastructure';
}

/** The SQLSTATE that PostgreSQL gave, if the error comes from there. */
export function sqlStateOf(error: unknown): string | undefined {
  const { code, meta, cause } = (error ?? {}) as PrismaErrorShape;
  const candidates = [
    meta?.driverAdapterError?.cause?.originalCode,
    meta?.code,
    cause?.originalCode,
    code,
  ];
  return candidates.find((candidate): candidate is string => isSqlState(candidate));
}

/** Five characters, as in `57P01`. Prisma's own codes (`P2010`) have the same form and are told apart by their P. */
function isSqlState(candidate: unknown): boolean {
  return (
    typeof candidate === 'string' &&
    /^[0-9A-Z]{5}$/.test(candidate) &&
    !/^P[0-9]{4}$/.test(candidate)
  );
}

/** "Undefined function" and "invalid schema name" (ibid.): the database has no tables of the library, or old ones. */
const NO_TABLES = new Set(['42883', '3F000']);

export function isWithoutTables(error: unknown): boolean {
  return NO_TABLES.has(sqlStateOf(error) ?? '');
}

/** A word for logs that leaks no payload: the SQLSTATE, or the kind of failure. */
export function faultOf(error: unknown): string {
  const { code, name, meta } = (error ?? {}) as PrismaErrorShape;
  const kind = meta?.driverAdapterError?.cause?.kind;
  const words = [sqlStateOf(error), kind, code, name];
  return words.find((word): word is string => typeof word === 'string' && word !== '') ?? 'unknown';
}

/** The client could not even be had; only a statement without an answer is the infrastructure's fault. */
function isOurRefusal(error: unknown): boolean {
  return error instanceof DbosError && !(error instanceof DatabaseUnavailableError);
}
