// Engines that share a database and have schedules; a test steps their schedulers by hand, or lets them run.
import { PrismaPg } from '@prisma/adapter-pg';
import { SerializerSet } from 'nestjs-dbos';
import { defineQueue } from '../../libs/dbos/src/core/queue.js';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import type { EngineOptions } from '../../libs/dbos/src/engine/engine-options.js';
import { PrismaCheckpointRepository } from '../../libs/dbos/src/prisma/prisma-checkpoint-repository.js';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { createTestDatabase, type TestDatabase } from './database.js';
import { FakeClock } from './fake-clock.js';
import { FaultyClient } from './faulty-client.js';
import { StatementGates } from './statement-gates.js';
import { drivenBy } from './test-engine.js';
import { letClaimsBeLate } from './unhurried.js';

/** The workflow that schedules of these tests start. */
export const REPORT = 'Report';
/** A queue on which it may wait, and one on which it may not. */
export const QUEUE = 'reports';
export const PARTITIONED = 'by tenant';

export interface ScheduleEngineSettings {
  /** How far the clock of this host is ahead of the database's. Default 0. */
  readonly skewMs?: number;
  /** Whether workflows run, and ticks are fired by themselves. Default: they are not, the test takes each step. */
  readonly admitted?: boolean;
  /** Called before the launch. */
  readonly prepare?: (engine: Engine) => void;
  /** Registered besides `Report`. */
  readonly workflows?: Readonly<Record<string, (engine: Engine) => unknown>>;
  /** Whether `Report` is registered. Default true. */
  readonly reports?: boolean;
  /** Whether notifications of others come in. Default false. */
  readonly listens?: boolean;
  readonly options?: EngineOptions;
}

export interface ScheduleEngine {
  readonly engine: Engine;
  readonly clock: FakeClock;
  readonly faults: FaultyClient;
  readonly gates: StatementGates;
  /** The arguments with which `Report` was run here. */
  readonly reports: unknown[][];
  /** Looks for due ticks once; returns the pause until the next look. */
  look(): Promise<number>;
  /** As far as the database can tell, the process is dead. */
  kill(): Promise<void>;
  close(): Promise<void>;
}

/** As long as a test may wait within one; Prisma's own limits are 2 s and 5 s. */
export const LONG_TRANSACTION = { maxWait: 30_000, timeout: 30_000 };

/** Nobody but the scheduler ticks on its own within a test. */
const RARELY = { pollIntervalMs: 600_000 } as const;

async function startScheduleEngine(
  url: string,
  settings: ScheduleEngineSettings,
): Promise<ScheduleEngine> {
  const { skewMs = 0, admitted = false, prepare, workflows = {}, reports: has = true } = settings;
  const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: url, max: 3 }) });
  const gates = new StatementGates();
  const faults = new FaultyClient(gates.wrap(prisma));
  const clock = new FakeClock(Date.now() + skewMs);
  const session = settings.listens ? url : (false as const);
  const repository = new PrismaCheckpointRepository(() => faults.client, {
    migrate: false,
    session,
  });
  letClaimsBeLate(repository);
  const options = {
    ...RARELY,
    applicationVersion: 'test',
    serializers: new SerializerSet(),
    ...settings.options,
  };
  const engine = new Engine(options, repository, { clock });
  const reports: unknown[][] = [];
  if (has) engine.register(REPORT, (...args) => void reports.push(args));
  for (const [name, run] of Object.entries(workflows)) engine.register(name, () => run(engine));
  engine.queueRegistry.register(defineQueue({ name: QUEUE }));
  engine.queueRegistry.register(defineQueue({ name: PARTITIONED, partition: { concurrency: 1 } }));
  prepare?.(engine);
  await engine.launch();
  if (admitted) engine.admit();
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> => (stopped ??= drivenBy(clock, engine.shutdown({ graceMs: 0 })));
  return {
    engine,
    clock,
    faults,
    gates,
    reports,
    look: () => engine.schedules.scheduler.tick(),
    kill: async () => {
      faults.die();
      await repository.close();
      await stop();
    },
    close: async () => {
      await stop();
      await prisma.$disconnect(); // no earlier: a test may let through what was held when the process died
    },
  };
}

export interface ScheduleEngines {
  readonly prisma: PrismaClient;
  start(settings?: ScheduleEngineSettings): Promise<ScheduleEngine>;
  /** Sets the first tick that is neither fired nor passed over. */
  setNextTick(name: string, tick: Date): Promise<void>;
  /** Ids of the workflows that begin with `sched-`, in order of id. */
  runs(): Promise<string[]>;
}

/** Gives the tests of a file a database of their own; its schedules and workflows are removed after each test. */
export function useScheduleEngines(): ScheduleEngines {
  let database: TestDatabase;
  let prisma: PrismaClient;
  const started: ScheduleEngine[] = [];
  beforeAll(async () => {
    database = await createTestDatabase();
    prisma = new PrismaClient({
      adapter: new PrismaPg({ connectionString: database.url, max: 2 }),
    });
  });
  afterEach(async () => {
    await Promise.all(started.splice(0).map((engine) => engine.close()));
    await prisma.$executeRaw`TRUNCATE dbos.schedules, dbos.workflows, dbos.steps, dbos.executors, dbos.queues`;
  });
  afterAll(async () => {
    await prisma.$disconnect();
    await database.drop();
  });
  return {
    get prisma() {
      return prisma;
    },
    start: async (settings = {}) => {
      const engine = await startScheduleEngine(database.url, settings);
      started.push(engine);
      return engine;
    },
    setNextTick: async (name, tick) => {
      await prisma.$executeRaw`UPDATE dbos.schedules SET next_tick_at = ${tick} WHERE name = ${name}`;
    },
    runs: async () => {
      const rows = await prisma.$queryRaw<Array<{ id: string }>>`
        SELECT id FROM dbos.workflows WHERE id LIKE 'sched-%' ORDER BY id`;
      return rows.map(({ id }) => id);
    },
  };
}
