/** Retention in PostgreSQL: one call of a function for each batch. */
import type { TerminalStatus } from '../core/status.js';
import type {
  Removal,
  RemovalBatch,
  RetentionRepository,
} from '../repository/retention-repository.js';
import type { Database } from './database.js';

interface RemovalRow {
  readonly removed: number;
  readonly reached: string | null;
  readonly isBusy: boolean;
}

export class PrismaRetentionRepository implements RetentionRepository {
  constructor(private readonly database: Database) {}

  async remove({ outcome, maxAgeMs, keptFrom, after, size }: RemovalBatch): Promise<Removal> {
    const [row] = await this.database.query<RemovalRow>(
      (client) => client.$queryRaw`
        SELECT removed, reached::text, is_busy AS "isBusy"
          FROM dbos.remove_ended_workflows(${outcome}, ${maxAgeMs ?? null}::float8, ${keptFrom ?? null}::bigint,
                                           ${after ?? '-1'}::bigint, ${size}::integer)`,
    );
    const { removed = 0, reached = null, isBusy = false } = row ?? {};
    return { removed, reached: reached ?? undefined, isBusy };
  }

  async oldestKept(outcome: TerminalStatus, count: number): Promise<string | undefined> {
    const [row] = await this.database.query<{ seq: string | null }>(
      (client) =>
        client.$queryRaw`SELECT seq::text FROM dbos.oldest_kept(${outcome}, ${count}::integer) AS seq`,
    );
    return row?.seq ?? undefined;
  }
}
