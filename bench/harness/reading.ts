/** What a stretch of work has cost. */

/** Counters of the server: ever growing, so that two of them make a cost. */
export interface Counters {
  readonly statements: number;
  readonly walBytes: number;
  /** Undefined where the server's processes cannot be seen. */
  readonly postgresCpuMs: number | undefined;
}

export interface Reading extends Counters {
  readonly elapsedMs: number;
  readonly nodeCpuMs: number;
}

/** Cost of one operation. */
export interface Cost {
  readonly statements: number;
  readonly walBytes: number;
  readonly nodeCpuUs: number;
  readonly postgresCpuUs: number | undefined;
}

export function difference(before: Counters, after: Counters): Counters {
  const { postgresCpuMs: start } = before;
  const { postgresCpuMs: end } = after;
  return {
    statements: after.statements - before.statements,
    walBytes: after.walBytes - before.walBytes,
    postgresCpuMs: start === undefined || end === undefined ? undefined : end - start,
  };
}

export function costPer(operations: number, reading: Reading): Cost {
  const { statements, walBytes, nodeCpuMs, postgresCpuMs } = reading;
  return {
    statements: statements / operations,
    walBytes: walBytes / operations,
    nodeCpuUs: (nodeCpuMs * 1_000) / operations,
    postgresCpuUs: postgresCpuMs === undefined ? undefined : (postgresCpuMs * 1_000) / operations,
  };
}
