// An engine on a test database whose clock stands still until the test moves it; tests write its workflows in place.
import { PrismaPg } from '@prisma/adapter-pg';
import { SerializerSet, type WorkflowHandle } from 'nestjs-dbos';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import type { EngineOptions } from '../../libs/dbos/src/engine/engine-options.js';
import { PrismaCheckpointRepository } from '../../libs/dbos/src/prisma/prisma-checkpoint-repository.js';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { createTestDatabase, type TestDatabase } from './database.js';
import { eventually } from './eventually.js';
import { FakeClock } from './fake-clock.js';
import { FaultyClient } from './faulty-client.js';
import { letClaimsBeLate } from './unhurried.js';

/** The body of a workflow. */
export type EngineScript<T = unknown> = (engine: Engine) => T | Promise<T>;

export interface TestEngineSettings {
  readonly url: string;
  /** What workflows do that another engine has started, by their ids. */
  readonly scripts?: Readonly<Record<string, EngineScript>>;
  readonly options?: EngineOptions;
}

export interface TestEngine {
  readonly engine: Engine;
  readonly clock: FakeClock;
  readonly prisma: PrismaClient;
  readonly faults: FaultyClient;
  /** Resolves when somebody waits for `ms` milliseconds. */
  timer(ms: number): Promise<void>;
  /** Lets `ms` milliseconds pass as soon as somebody waits for them. */
  pass(ms: number): Promise<void>;
  /** What the workflow of this id does when it is started or taken up again. */
  define(workflowId: string, script: EngineScript): void;
  /** Starts a workflow with this body. */
  begin<T>(script: EngineScript<T>, workflowId?: string): Promise<WorkflowHandle<Awaited<T>>>;
  close(): Promise<void>;
  /** As `TestApp.kill`: cut off from the database, and declared dead there. */
  kill(): Promise<void>;
}

/** Long, so that nobody but the loops waits for them: a timer tells whose it is. */
const RARELY = { pollIntervalMs: 77_777 };
const WORKFLOW = 'Scripted';
/** Makes jitter nothing: delays are what they were without it. */
const NO_JITTER = 0.5;
let count = 0;

export async function startTestEngine(settings: TestEngineSettings): Promise<TestEngine> {
  const prisma = new PrismaClient({
    adapter: new PrismaPg({ connectionString: settings.url, max: 5 }),
  });
  const faults = new FaultyClient(prisma);
  const clock = new FakeClock();
  const repository = new PrismaCheckpointRepository(() => faults.client, { migrate: false });
  letClaimsBeLate(repository);
  const options = {
    ...RARELY,
    applicationVersion: 'test',
    serializers: new SerializerSet(),
    ...settings.options,
  };
  const engine = new Engine(options, repository, { clock, random: () => NO_JITTER });
  const scripts = new Map(Object.entries(settings.scripts ?? {}));
  engine.register(WORKFLOW, () => {
    const script = scripts.get(engine.flow.workflowId);
    if (!script) throw new Error(`There is no script for ${engine.flow.workflowId}.`);
    return script(engine);
  });
  await engine.launch();
  engine.admit();
  const timer = (ms: number): Promise<void> =>
    eventually(() => expect(clock.pending.map(Math.round)).toContain(ms));
  let ended = false;
  const stop = async (): Promise<void> => {
    await drivenBy(clock, engine.shutdown({ graceMs: 0 }));
    await prisma.$disconnect();
  };
  return {
    engine,
    clock,
    prisma,
    faults,
    timer,
    pass: async (ms) => {
      await timer(ms);
      clock.advance(ms);
    },
    define: (workflowId, script) => void scripts.set(workflowId, script),
    begin: <T>(script: EngineScript<T>, workflowId = `scripted-${(count += 1)}`) => {
      scripts.set(workflowId, script);
      return engine.start<Awaited<T>>(WORKFLOW, [], { workflowId });
    },
    close: async () => {
      if (ended) return;
      ended = true;
      await stop();
    },
    kill: async () => {
      ended = true;
      faults.die();
      await repository.close();
      await prisma.$executeRaw`UPDATE dbos.executors SET dead_at = now() WHERE id = ${engine.executorId}`;
      await stop();
    },
  };
}

/** Lets time pass until `work` is done: shutdown waits by the engine's clock. */
export async function drivenBy(clock: FakeClock, work: Promise<void>): Promise<void> {
  const ended = new AbortController();
  const finished = work.finally(() => ended.abort());
  while (!ended.signal.aborted) {
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(10);
  }
  await finished;
}

export interface TestEngines {
  start(settings?: Omit<TestEngineSettings, 'url'>): Promise<TestEngine>;
}

/** Gives the tests of a file a database of their own, and closes what each of them has started. */
export function useTestEngines(): TestEngines {
  let database: TestDatabase;
  const started: TestEngine[] = [];
  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterEach(() => Promise.all(started.splice(0).map((engine) => engine.close())));
  afterAll(() => database.drop());
  return {
    start: async (settings) => {
      const engine = await startTestEngine({ ...settings, url: database.url });
      started.push(engine);
      return engine;
    },
  };
}

/** The ids and names of the recorded steps, in order: `['0 charge', '1 ship']`. */
export async function recordedBy({ engine }: TestEngine, workflowId: string): Promise<string[]> {
  const steps = await engine.steps(workflowId);
  return steps.map(({ stepId, name }) => `${stepId} ${name}`);
}
