// What workflows cost, counted at the server: one statement for each start and each step, none for the end; each of them
// a commit; and bytes of the write-ahead log, with a tenth of room.
import { Injectable } from '@nestjs/common';
import {
  CheckpointRepository,
  Step,
  Transaction,
  Workflow,
  WorkflowContext,
  WorkflowService,
  type DbosModuleOptions,
} from 'nestjs-dbos';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import type { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { startNestApp, type NestApp } from '../support/nest-app.js';
import { StatementCounter, type CountedStatement } from '../support/statement-counter.js';
import { startTestApp } from '../support/test-app.js';

/** The loops ask too rarely to be seen here, but for the heartbeat, whose pace is fixed. */
const CALM = { pollIntervalMs: 600_000 } as const;

@Injectable()
class Work {
  @Workflow()
  async run(steps: number): Promise<number> {
    let sum = 0;
    for (let index = 0; index < steps; index += 1) sum += await this.step(index);
    return sum;
  }

  @Step()
  async step(index: number): Promise<number> {
    return index;
  }
}

@Injectable()
class Held {
  begun = 0;
  holds = true;

  constructor(
    private readonly work: Work,
    private readonly flow: WorkflowContext,
  ) {}

  /** Some steps, then one that is held until its executor ends. */
  @Workflow()
  async run(steps: number): Promise<string> {
    for (let index = 0; index < steps; index += 1) await this.work.step(index);
    await this.wait();
    return 'done';
  }

  @Step()
  async wait(): Promise<void> {
    this.begun += 1;
    if (!this.holds) return;
    const { signal } = this.flow.stepContext;
    await new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }
}

@Injectable()
class Letters {
  constructor(
    private readonly flow: WorkflowContext,
    private readonly workflows: WorkflowService,
  ) {}

  @Workflow()
  async receive(letterCount: number): Promise<string[]> {
    const letters: string[] = [];
    for (let index = 0; index < letterCount; index += 1)
      letters.push(await this.flow.recv<string>('letters'));
    return letters;
  }

  /** To itself, which nobody reads. */
  @Workflow()
  async send(letterCount: number): Promise<void> {
    for (let index = 0; index < letterCount; index += 1)
      await this.workflows.send(this.flow.workflowId, 'hello', { topic: 'letters' });
  }
}

@Injectable()
class Sales {
  constructor(private readonly flow: WorkflowContext) {}

  @Transaction()
  async sell(): Promise<number> {
    return this.flow.prisma<PrismaClient>().$executeRaw`SELECT 'a sale'`;
  }

  @Workflow()
  async run(): Promise<number> {
    return this.sell();
  }
}

type Kind = (statement: CountedStatement) => boolean;

const isHeartbeat: Kind = ({ sql }) => sql.includes('dbos.heartbeat');
const isClaim: Kind = ({ sql }) => sql.includes('dbos.claim_workflows');
/** Once in a lease of 10 s. */
const isReconciliation: Kind = ({ sql }) => sql.includes('orphan AS');
/** Every half minute. */
const isScheduleLook: Kind = ({ sql }) => sql.includes('next_due_in_ms');
const isHistory: Kind = ({ sql }) => sql.includes('dbos.step_histories');

function count(statements: readonly CountedStatement[], kind: Kind = () => true): number {
  return statements.filter(kind).reduce((sum, { calls }) => sum + calls, 0);
}

interface Cost {
  readonly statements: number;
  readonly commits: number;
  readonly walBytes: number;
}

/** No statement is wrapped in a transaction (see below), so each that writes is a commit. */
function costOf(sent: readonly CountedStatement[]): Cost {
  return {
    statements: count(sent),
    commits: count(sent, ({ walBytes }) => walBytes > 0),
    walBytes: sent.reduce((sum, { walBytes }) => sum + walBytes, 0),
  };
}

/** What costs more than it may, with the statements that do; undefined when nothing does. */
function excess(sent: readonly CountedStatement[], most: Cost): object | undefined {
  const cost = costOf(sent);
  const kinds = ['statements', 'commits', 'walBytes'] as const;
  return kinds.some((kind) => cost[kind] > most[kind]) ? { cost, most, sent } : undefined;
}

const countable = await StatementCounter.isPossible();
const reason = countable ? '' : ' (skipped: this server has no pg_stat_statements)';

(countable ? describe : describe.skip)(`The budget${reason}`, () => {
  let database: TestDatabase;
  let counter: StatementCounter;
  const opened: NestApp[] = [];

  beforeAll(async () => {
    database = await createTestDatabase();
    counter = await StatementCounter.open(database);
  });

  afterEach(async () => {
    for (const nestApp of opened.splice(0)) {
      await nestApp.prisma.$executeRaw`TRUNCATE dbos.workflows, dbos.steps, dbos.messages`;
      await nestApp.close();
    }
  });

  afterAll(async () => {
    await counter.close();
    await database.drop();
  });

  async function start(options: Partial<DbosModuleOptions> = CALM): Promise<NestApp> {
    const nestApp = await startNestApp({
      url: database.url,
      providers: [Work, Held, Letters, Sales],
      options,
    });
    opened.push(nestApp);
    return nestApp;
  }

  /** Has nothing to do, and has connected whatever it will need. */
  async function startIdle(options?: Partial<DbosModuleOptions>): Promise<NestApp> {
    const nestApp = await start(options);
    await nestApp.workflows.execute(Work).run(2);
    // The loops tick once at the start; a slow machine may not have come to it before the workflow ended.
    const engine = nestApp.app.get(Engine);
    await eventually(() => {
      expect(engine['parts'].dispatcher.lastTickAt).toBeDefined();
      expect(engine['parts'].outcomes.lastTickAt).toBeDefined();
      expect(engine.schedules.scheduler.lastTickAt).toBeDefined();
    });
    await nestApp.app.get(CheckpointRepository).notifier.flush(); // the others are told of our joining
    return nestApp;
  }

  /** All statements but those that come by the clock, however little is done: a busy machine may come to any of them. */
  async function counted(
    work: () => Promise<unknown>,
    byTheClock: readonly Kind[] = [isHeartbeat, isReconciliation, isScheduleLook],
  ): Promise<CountedStatement[]> {
    const statements = await counter.during(work);
    return statements.filter((statement) => !byTheClock.some((kind) => kind(statement)));
  }

  it.each([
    { steps: 0, statements: 2, walBytes: 1_020 },
    { steps: 1, statements: 2, walBytes: 1_350 },
    { steps: 2, statements: 3, walBytes: 1_730 },
    { steps: 10, statements: 11, walBytes: 4_800 },
  ])(
    'B70: a workflow of $steps steps costs $statements statements and $walBytes bytes of log at most',
    async ({ steps, statements, walBytes }) => {
      const { workflows } = await startIdle();
      const sent = await counted(() => workflows.execute(Work).run(steps));
      expect(costOf(sent)).toMatchObject({ statements, commits: statements });
      expect(excess(sent, { statements, commits: statements, walBytes })).toBeUndefined();
    },
  );

  it('B70: a transaction costs one statement beside its own, its BEGIN and its COMMIT', async () => {
    const { workflows } = await startIdle();
    await workflows.execute(Sales).run(); // the client loads what it needs
    const sent = await counted(() => workflows.execute(Sales).run());
    const ofWorkflows: Kind = ({ sql }) => /dbos\.(start|write)_/.test(sql);

    expect(count(sent, ofWorkflows)).toBe(2);
    expect(
      sent.filter((statement) => !ofWorkflows(statement)).map(({ sql }) => sql.trim().slice(0, 13)),
    ).toEqual(expect.arrayContaining(['BEGIN', 'COMMIT', 'SELECT $1', 'SELECT result']));
    expect(count(sent)).toBe(6);
  });

  it('B70: a start costs one statement', async () => {
    const { workflows, app } = await startIdle();
    const sent = await counted(async () => {
      await workflows.start(Held).run(0);
      await eventually(() => expect(app.get(Held).begun).toBe(1));
    });
    expect(costOf(sent)).toMatchObject({ statements: 1, commits: 1 });
    expect(excess(sent, { statements: 1, commits: 1, walBytes: 590 })).toBeUndefined();
  });

  it('B70: a start of a finished workflow costs one statement that writes nothing', async () => {
    const { workflows } = await startIdle();
    await workflows.execute(Work, { workflowId: 'finished' }).run(1);
    const sent = await counted(() => workflows.start(Work, { workflowId: 'finished' }).run(1));
    expect(costOf(sent)).toEqual({ statements: 1, commits: 0, walBytes: 0 });
  });

  it('B70: awaiting the result of a finished workflow costs one statement that writes nothing', async () => {
    const { workflows } = await startIdle();
    const handle = await workflows.start(Work).run(1);
    await handle.result();
    const sent = await counted(() => handle.result());
    expect(costOf(sent)).toEqual({ statements: 1, commits: 0, walBytes: 0 });
  });

  it('a message costs one statement, whoever sends it', async () => {
    const { workflows } = await startIdle();
    const handle = await workflows.execute(Letters, { workflowId: 'reader' }).send(0);
    expect(handle).toBeUndefined();
    expect(count(await counted(() => workflows.send('reader', 'hello')))).toBe(1);
    // Start and outcome besides.
    expect(count(await counted(() => workflows.execute(Letters).send(3)))).toBe(3 + 2);
  });

  it('receiving a message that is there costs one statement', async () => {
    const { workflows, prisma } = await startIdle();
    await prisma.$executeRaw`
      INSERT INTO dbos.messages (workflow_id, topic, serialization, message)
      SELECT 'reader', 'letters', 'json', '"' || n || '"' FROM generate_series(1, 3) AS n`;
    const sent = await counted(async () => {
      const letters = await workflows.execute(Letters, { workflowId: 'reader' }).receive(3);
      expect(letters).toEqual(['1', '2', '3']);
    });
    expect(count(sent)).toBe(3 + 2);
  });

  it('B70: wraps no statement in a transaction', async () => {
    const { workflows } = await startIdle();
    const sent = await counted(() => workflows.execute(Work).run(3));
    expect(sent.filter(({ sql }) => /^\s*(BEGIN|COMMIT|SAVEPOINT|SET)\b/i.test(sql))).toEqual([]);
  });

  it('B70: 64 workflows of 5 steps at once share statements and commits', async () => {
    const { workflows } = await startIdle();
    const sent = await counted(() =>
      Promise.all(Array.from({ length: 64 }, () => workflows.execute(Work).run(5))),
    );
    // One after the other they would cost 6 statements each. Together they need 6 rounds, each on at most two lanes.
    expect(excess(sent, { statements: 24, commits: 24, walBytes: 64 * 3_100 })).toBeUndefined();
  });

  it('B70: recovery of 100 workflows claims and reads all of them in a few statements', async () => {
    const dying = await startTestApp({ url: database.url, providers: [Work, Held] });
    const ids = Array.from({ length: 100 }, (_, index) => `recovered ${index}`);
    await Promise.all(ids.map((workflowId) => dying.workflows.start(Held, { workflowId }).run(2)));
    await eventually(() => expect(dying.get(Held).begun).toBe(ids.length));
    await dying.kill();

    const launched = async (): Promise<void> => {
      const { app, workflows } = await start();
      app.get(Held).holds = false;
      await Promise.all(ids.map((id) => workflows.handle(id).result()));
    };
    const sent = await counted(launched, [isHeartbeat]);

    expect(count(sent, isClaim)).toBeLessThanOrEqual(2);
    expect(count(sent, isHistory)).toBe(1);
    // The launch included; a slow machine ends the workflows in more batches than a fast one.
    expect(excess(sent, { statements: 26, commits: 16, walBytes: 100 * 2_080 })).toBeUndefined();
  });

  it('B70: an idle process asks once for each beat of each of its loops, and nothing else', async () => {
    // A tenth of the defaults; the heartbeat comes every half second.
    await startIdle({ pollIntervalMs: 100 });
    const startedAt = performance.now();
    const sent = await counter.during(() =>
      eventually(() => expect(performance.now() - startedAt).toBeGreaterThan(2_000)),
    );
    const elapsedMs = performance.now() - startedAt;

    /** Each pause may be a tenth shorter than its interval. */
    const beats = (intervalMs: number): number => Math.ceil(elapsedMs / (intervalMs * 0.9)) + 1;
    expect(count(sent, isClaim)).toBeLessThanOrEqual(beats(100));
    expect(count(sent, isHeartbeat)).toBeLessThanOrEqual(beats(500));
    expect(count(sent, isReconciliation)).toBeLessThanOrEqual(beats(10_000));
    expect(count(sent, isScheduleLook)).toBeLessThanOrEqual(beats(30_000));
    // A look for work writes nothing but, now and then, that a row it came across is dead.
    expect(costOf(sent.filter((statement) => !isHeartbeat(statement))).walBytes).toBeLessThan(500);
    expect(
      excess(sent.filter(isHeartbeat), {
        statements: beats(500),
        commits: beats(500),
        walBytes: beats(500) * 250,
      }),
    ).toBeUndefined();
    const known = [isClaim, isHeartbeat, isReconciliation, isScheduleLook];
    expect(sent.filter((statement) => !known.some((kind) => kind(statement)))).toEqual([]);
  });
});
