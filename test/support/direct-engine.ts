// An engine over a real Prisma client, with nothing in between, and what the server knows of its connections.
import { PrismaPg } from '@prisma/adapter-pg';
import { SerializerSet } from 'nestjs-dbos';
import pg from 'pg';
import { SILENT_LOGGER } from '../../libs/dbos/src/core/logger.js';
import type { EngineOptions } from '../../libs/dbos/src/engine/engine-options.js';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import {
  PrismaCheckpointRepository,
  type PrismaRepositoryOptions,
} from '../../libs/dbos/src/prisma/prisma-checkpoint-repository.js';
import type { PrismaClientLike } from '../../libs/dbos/src/prisma/prisma-client.js';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { eventually } from './eventually.js';

export interface DirectEngine {
  readonly engine: Engine;
  readonly repository: PrismaCheckpointRepository;
  /** Runs one workflow that adds up `steps` steps, each of which returns its number. */
  sum(steps: number): Promise<number>;
  /** Bodies that ran, as `workflow/step`. */
  readonly bodies: string[];
  /** What it warned of. */
  readonly warnings: string[];
}

const QUICK = {
  pollIntervalMs: 20,
  shutdown: { graceMs: 200 },
} as const;

/** Launched over the client, and admitted. */
export async function startDirectEngine(
  client: PrismaClientLike,
  options: Partial<PrismaRepositoryOptions> = {},
  engineOptions: EngineOptions = {},
): Promise<DirectEngine> {
  const warnings: string[] = [];
  const logger = { ...SILENT_LOGGER, warn: (message: string) => void warnings.push(message) };
  const repository = new PrismaCheckpointRepository(() => client, {
    migrate: false,
    session: false,
    logger,
    ...options,
  });
  const engine = new Engine(
    { ...QUICK, applicationVersion: 'test', serializers: new SerializerSet(), ...engineOptions },
    repository,
  );
  const bodies: string[] = [];
  const body = (index: number): number => {
    bodies.push(`${engine.flow.workflowId}/${index}`);
    return index;
  };
  engine.register('Sum', async (steps) => {
    let sum = 0;
    for (let index = 0; index < Number(steps); index += 1)
      sum += await engine.flow.step(`step ${index}`, () => body(index));
    return sum;
  });
  await engine.launch();
  engine.admit();
  return {
    engine,
    repository,
    bodies,
    warnings,
    sum: (steps) => engine.execute('Sum', [steps]),
  };
}

/** Where connections go that a test wants to tell from others: the server calls them by `name`. */
export class NamedConnections {
  readonly url: string;

  private constructor(
    private readonly observer: pg.Client,
    url: string,
    private readonly name: string,
  ) {
    const named = new URL(url);
    named.searchParams.set('application_name', name);
    this.url = named.href;
  }

  static async open(url: string, name: string): Promise<NamedConnections> {
    const observer = new pg.Client({ connectionString: url });
    await observer.connect();
    return new NamedConnections(observer, url, name);
  }

  client(max = 2): PrismaClient {
    return new PrismaClient({ adapter: new PrismaPg({ connectionString: this.url, max }) });
  }

  /**
   * How many there are once there are `most`, or more. A pool on a busy machine may answer everybody on its first
   * connection before the second one stands: then `use` has it open that, too.
   */
  async countOf(most: number, use: () => Promise<unknown>): Promise<number> {
    return eventually(async () => {
      await use();
      const count = await this.count();
      if (count < most) throw new Error(`Only ${count} of ${most} connections are open.`);
      return count;
    });
  }

  /** How many there are now. */
  async count(): Promise<number> {
    const { rows } = await this.observer.query<{ count: number }>(
      `SELECT count(*)::int AS count FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = $1`,
      [this.name],
    );
    return rows[0]!.count;
  }

  /** Ends all of them from the server's side; returns how many there were. */
  async terminate(): Promise<number> {
    const { rowCount } = await this.observer.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = $1`,
      [this.name],
    );
    return rowCount ?? 0;
  }

  async close(): Promise<void> {
    await this.observer.end();
  }
}

/** Keeps `count` connections of the client's pool busy at the same time, so that it has opened that many. */
export async function saturate(client: PrismaClient, count: number): Promise<void> {
  await Promise.all(
    Array.from({ length: count }, () => client.$queryRaw`SELECT pg_sleep(0.02)::text AS slept`),
  );
}

/** Names under which statements are prepared in the pool; the client itself names none. */
export function statementNames(pool: pg.Pool): string[] {
  const names: string[] = [];
  const original = pool.query.bind(pool) as (query: { name?: string }) => unknown;
  Object.defineProperty(pool, 'query', {
    value: (query: { name?: string }) => {
      names.push(query.name ?? '');
      return original(query);
    },
  });
  return names;
}
