// What the engine does when the database refuses, forgets to answer, or goes away for a while: it waits and goes on.
import { Injectable } from '@nestjs/common';
import { Workflow, WorkflowContext, WorkflowService } from 'nestjs-dbos';
import { RowRefusedError } from '../../libs/dbos/src/core/errors.js';
import { WritePipeline } from '../../libs/dbos/src/prisma/write-pipeline.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { sqlStateError } from '../support/faulty-client.js';
import { startGatedApp, type GatedApp } from '../support/gated-app.js';
import { Ledger } from '../support/ledger.js';
import type { TestAppSettings } from '../support/test-app.js';

@Injectable()
class Orders {
  /** Every body that ran, as `workflow/step`. */
  readonly bodies: string[] = [];

  constructor(
    private readonly flow: WorkflowContext,
    private readonly workflows: WorkflowService,
  ) {}

  /** An order within an order. */
  @Workflow({ name: 'Parent' })
  async parent(steps: number): Promise<number> {
    return this.workflows.execute(Orders).run(steps);
  }

  @Workflow({ name: 'Order' })
  async run(steps: number): Promise<number> {
    let sum = 0;
    for (let index = 0; index < steps; index += 1) {
      sum += await this.flow.step(`step ${index}`, () => this.body(index, index));
    }
    return sum;
  }

  /** Two steps with a sleep in between, so that it parks where that is allowed. */
  @Workflow({ name: 'Nap' })
  async nap(): Promise<string> {
    await this.flow.step('before', () => this.body('before', null));
    await this.flow.sleep(1);
    return this.flow.step('after', () => this.body('after', 'rested'));
  }

  @Workflow({ name: 'Saying' })
  async say(...words: string[]): Promise<string> {
    const said = words.map((word) => this.flow.step(`say ${word}`, () => this.body(word, word)));
    return (await Promise.all(said)).join(' ');
  }

  @Workflow({ name: 'Line' })
  async line(first: string, second: string): Promise<string> {
    await this.flow.step(`say ${first}`, () => this.body(first, first));
    return this.flow.step(`say ${second}`, () => this.body(second, second));
  }

  private async body<T>(step: string | number, value: T): Promise<T> {
    this.bodies.push(`${this.flow.workflowId}/${step}`);
    await new Promise((resolve) => setImmediate(resolve));
    return value;
  }
}

/** Parts of the statements that the engine sends. */
const START = 'dbos.start_workflows';
const TRANSITION = 'dbos.write_transitions';
const CLAIM = 'dbos.claim_workflows';
const HISTORY = 'dbos.step_histories';
const HEARTBEAT = 'dbos.heartbeat';
const REQUEUE = 'recovery_attempts = w.recovery_attempts +';
const EVERY_KIND = [START, TRANSITION, CLAIM, HISTORY, HEARTBEAT, REQUEUE];

/** Faults that say nothing about our data (PostgreSQL manual, appendix A). */
const SQLSTATES = [
  '40001',
  '40P01',
  '55P03',
  '57014',
  '53100',
  '53300',
  '25006',
  '57P01',
  '08006',
  '08P01',
];

let database: TestDatabase;
let ledger: Ledger;
let app: GatedApp;
let orders: Orders;

async function startApp(settings: Omit<TestAppSettings, 'url'> = {}): Promise<void> {
  app = await startGatedApp({ url: database.url, providers: [Orders], ...settings });
  orders = app.get(Orders);
}

/** Starts that many orders of five steps at once, and waits for their results. */
async function orderMany(count: number): Promise<number[]> {
  const ids = Array.from({ length: count }, (_, index) => `order-${index}`);
  return Promise.all(ids.map((id) => app.workflows.execute(Orders, { workflowId: id }).run(5)));
}

const onceEach = (count: number, steps: number): string[] =>
  Array.from({ length: count }, (_, order) =>
    Array.from({ length: steps }, (_unused, step) => `order-${order}/${step}`),
  )
    .flat()
    .sort();

const rows = (): Promise<unknown[]> =>
  ledger.query('SELECT id, status, epoch, recovery_attempts FROM dbos.workflows ORDER BY id');

const undisturbed = (id: string): object => ({
  id,
  status: 'SUCCESS',
  epoch: 1,
  recovery_attempts: 0,
});

const terminateBackends = (filter = 'true'): Promise<unknown> =>
  ledger.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid() AND ${filter}`,
  );

beforeAll(async () => {
  database = await createTestDatabase();
  ledger = await Ledger.open(database.url);
});

afterEach(async () => {
  await app.close();
  await ledger.query('TRUNCATE dbos.workflows, dbos.steps, dbos.executors');
});

afterAll(async () => {
  await ledger.close();
  await database.drop();
});

describe('B13: A commit whose answer was lost', () => {
  beforeEach(() => startApp());

  it('of a start is the start of this one run', async () => {
    app.faults.loseAnswerOfNext(START);
    expect(await app.workflows.execute(Orders, { workflowId: 'B13' }).run(3)).toBe(3);
    expect(await rows()).toEqual([undisturbed('B13')]);
    expect(orders.bodies).toEqual(['B13/0', 'B13/1', 'B13/2']);
  });

  it('of a checkpoint is this checkpoint', async () => {
    app.faults.loseAnswerOfNext(TRANSITION, 2);
    expect(await app.workflows.execute(Orders, { workflowId: 'B13' }).run(3)).toBe(3);
    expect(await rows()).toEqual([undisturbed('B13')]);
    expect(orders.bodies).toEqual(['B13/0', 'B13/1', 'B13/2']);
  });

  it('of an outcome is this outcome', async () => {
    app.faults.loseAnswerOfNext(TRANSITION, 2);
    expect(await app.workflows.execute(Orders, { workflowId: 'B13' }).run(0)).toBe(0);
    expect(await rows()).toEqual([undisturbed('B13')]);
    const claims = app.faults.matching(CLAIM).length;
    await eventually(() => expect(app.faults.matching(CLAIM).length).toBeGreaterThan(claims + 1));
    expect(app.faults.matching(REQUEUE)).toEqual([]); // nothing was taken for lost
  });

  it('of the last checkpoint and the outcome is both', async () => {
    app.faults.loseAnswerOfNext(TRANSITION);
    expect(await app.workflows.execute(Orders, { workflowId: 'B13' }).run(1)).toBe(0);
    expect(await rows()).toEqual([undisturbed('B13')]);
    expect(orders.bodies).toEqual(['B13/0']);
  });

  it('of a parking leaves the workflow asleep, once', async () => {
    await app.close();
    await startApp({ options: { parkAfterMs: 0 } });
    app.faults.loseAnswerOfNext(TRANSITION, 3);
    expect(await app.workflows.execute(Orders, { workflowId: 'B13' }).nap()).toBe('rested');
    expect(orders.bodies).toEqual(['B13/before', 'B13/after']);
  });

  it('harms nothing, whichever statements it hits', async () => {
    app.faults.loseAnswerOfNext('', 25);
    expect(await orderMany(20)).toEqual(Array.from({ length: 20 }, () => 10));
    expect(orders.bodies.toSorted()).toEqual(onceEach(20, 5));
  });
});

describe('A fault of the infrastructure', () => {
  const OPTIONS = { leaseMs: 500, parkAfterMs: 0 };

  /** A workflow that a process left behind when it died: one step is recorded. */
  const leaveBehind = (id: string): Promise<unknown> =>
    ledger.query(
      `WITH left_behind AS (
         INSERT INTO dbos.workflows (id, name, status, executor_id, epoch, serialization, input)
         VALUES ($1, 'Nap', 'PENDING', 'long dead', 1, 'json', '[]'))
       INSERT INTO dbos.steps (workflow_id, step_id, name, epoch, serialization, output, started_at)
       VALUES ($1, '0', 'before', 1, 'json', 'null', now())`,
      [id],
    );

  it.each(SQLSTATES)('%s is waited out at every kind of statement', async (sqlState) => {
    await startApp({ options: OPTIONS });
    for (const part of EVERY_KIND) app.faults.failNext(part, () => sqlStateError(sqlState), 2);
    const sent = (): number[] => EVERY_KIND.map((part) => app.faults.matching(part).length);
    const before = sent();

    const started = app.workflows.execute(Orders, { workflowId: 'started' }).nap();
    await leaveBehind('recovered');

    expect(await started).toBe('rested');
    expect(await app.workflows.handle('recovered').result()).toBe('rested');
    expect(orders.bodies.toSorted()).toEqual([
      'recovered/after',
      'started/after',
      'started/before',
    ]);
    // Two failures and at least one that got through, of each kind.
    await eventually(() =>
      sent().forEach((count, kind) => expect(count - (before[kind] ?? 0)).toBeGreaterThan(2)),
    );
  });

  it.each(SQLSTATES)('%s is known as PostgreSQL itself reports it', async (sqlState) => {
    await ledger.query(
      `CREATE SEQUENCE public.faults;
       CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN
         IF nextval('public.faults') <= 4 THEN
           RAISE EXCEPTION 'a fault of the test' USING ERRCODE = '${sqlState}';
         END IF;
         RETURN NEW;
       END $$;
       CREATE TRIGGER fail BEFORE INSERT ON dbos.steps FOR EACH ROW EXECUTE FUNCTION public.fail()`,
    );
    try {
      await startApp();
      expect(await app.workflows.execute(Orders, { workflowId: 'real' }).run(2)).toBe(1);
      expect(await rows()).toEqual([undisturbed('real')]);
    } finally {
      await ledger.query('DROP SEQUENCE public.faults; DROP FUNCTION public.fail CASCADE');
    }
  });

  it.each(['TypeError', 'PrismaClientValidationError', 'SomethingElse'])(
    'that nobody foresaw leaves no workflow behind either (%s)',
    async (name) => {
      await startApp();
      const fault =
        name === 'TypeError' ? new TypeError('of the driver') : new Error('of the client');
      app.faults.failNext(TRANSITION, () => Object.assign(fault, { name }));
      const handle = await app.workflows.start(Orders, { workflowId: 'unforeseen' }).run(2);
      expect(await handle.result()).toBe(1);
    },
  );

  it('that swallows one heartbeat costs the executor nothing', async () => {
    await startApp({ options: { leaseMs: 600 } });
    const swallowed = app.gates.hold(HEARTBEAT, 'unsent');
    await swallowed.reached;
    const beats = app.faults.matching(HEARTBEAT).length;
    await eventually(() =>
      expect(app.faults.matching(HEARTBEAT).length).toBeGreaterThan(beats + 5),
    ).finally(() => swallowed.open());
  });
});

describe('A row that PostgreSQL refuses', () => {
  beforeEach(async () => {
    await ledger.query(
      `ALTER TABLE dbos.steps ADD CONSTRAINT no_poison CHECK (output NOT LIKE '%poison%');
       ALTER TABLE dbos.workflows ADD CONSTRAINT no_venom CHECK (input NOT LIKE '%venom%')`,
    );
    await startApp();
  });

  afterEach(() =>
    ledger.query(
      `ALTER TABLE dbos.steps DROP CONSTRAINT no_poison;
       ALTER TABLE dbos.workflows DROP CONSTRAINT no_venom`,
    ),
  );

  const WORDS = Array.from({ length: 20 }, (_, index) =>
    index === 13 ? 'poison' : `word${index}`,
  );

  it('is refused alone among those that leave in the same statement', async () => {
    const pipeline = new WritePipeline<string, string>({
      lanes: 1,
      maxItems: 100,
      maxBytes: 100_000,
      keyOf: (item) => item,
      bytesOf: () => 1,
      write: async (items) => {
        if (items.includes('poison')) throw new RowRefusedError('refused');
        return items.map((item) => `${item} written`);
      },
    });

    const answers = await Promise.allSettled(WORDS.map((word) => pipeline.submit(word)));

    expect(answers.filter(({ status }) => status === 'rejected')).toHaveLength(1);
    expect(answers[13]).toMatchObject({ reason: { code: 'DBOS_ROW_REFUSED' } });
    expect(answers[14]).toMatchObject({ value: 'word14 written' });
  });

  it.each(['say', 'line'] as const)(
    'ends its own workflow as ERROR and no neighbour (%s)',
    async (method) => {
      const ended = await Promise.allSettled(
        WORDS.map((word) =>
          app.workflows.execute(Orders, { workflowId: word })[method](word, 'and on'),
        ),
      );

      expect(ended.filter(({ status }) => status === 'rejected')).toHaveLength(1);
      expect(ended[13]).toMatchObject({
        reason: {
          code: 'DBOS_CHECKPOINT_REFUSED',
          message: expect.stringContaining('"say poison"') as string,
        },
      });
      expect(await ledger.query('SELECT max(epoch) AS epoch FROM dbos.workflows')).toEqual([
        { epoch: 1 },
      ]);
    },
  );

  it('is named also when it is the last thing that the workflow does', async () => {
    await expect(
      app.workflows.execute(Orders, { workflowId: 'last' }).line('fine', 'poison'),
    ).rejects.toMatchObject({
      code: 'DBOS_CHECKPOINT_REFUSED',
      message: expect.stringContaining('"say poison"') as string,
    });
  });

  it('is named also when a good step of the same workflow left with it', async () => {
    await expect(
      app.workflows.execute(Orders, { workflowId: 'beside' }).say('fine', 'poison'),
    ).rejects.toMatchObject({
      code: 'DBOS_CHECKPOINT_REFUSED',
      message: expect.stringContaining('"say poison"') as string,
    });
  });

  it('fails the start that brought it, and no other start', async () => {
    const started = await Promise.allSettled(
      ['one', 'venom', 'other'].map((word) => app.workflows.execute(Orders).say(word)),
    );
    expect(started).toMatchObject([
      { value: 'one' },
      { reason: { code: 'DBOS_ROW_REFUSED' } },
      { value: 'other' },
    ]);
  });
});

describe('B14: Workflows end with the right value', () => {
  const TENS = Array.from({ length: 50 }, () => 10);
  const configure = (setting: string): Promise<unknown> =>
    ledger.query(`ALTER DATABASE ${database.name} ${setting}`);

  afterEach(async () => {
    await ledger.query('ROLLBACK');
    await configure('RESET ALL');
    await terminateBackends();
  });

  it('although all backends are terminated ten times while they run', async () => {
    await startApp({ options: { sessionUrl: database.url } });
    const parents = Promise.all(TENS.map(() => app.workflows.execute(Orders).parent(5)));
    const results = orderMany(50);
    for (let round = 1; round <= 10; round += 1) {
      await eventually(() => expect(orders.bodies.length).toBeGreaterThanOrEqual(round * 45));
      await terminateBackends();
    }

    expect(await results).toEqual(TENS);
    expect(await parents).toEqual(TENS);
    expect(orders.bodies).toHaveLength(500);
    expect(new Set(orders.bodies).size).toBe(500);
  });

  it('although the database is read-only for a while', async () => {
    await startApp();
    const results = orderMany(50);
    await eventually(() => expect(orders.bodies.length).toBeGreaterThanOrEqual(20));
    await configure('SET default_transaction_read_only = on');
    await terminateBackends();
    const sent = app.faults.matching(TRANSITION).length;
    await eventually(() =>
      expect(app.faults.matching(TRANSITION).length).toBeGreaterThan(sent + 4),
    );
    await configure('RESET default_transaction_read_only');
    await terminateBackends();

    expect(await results).toEqual(TENS);
    expect(orders.bodies.toSorted()).toEqual(onceEach(50, 5));
  });

  it('although a lock and a statement_timeout cancel their statements for a while', async () => {
    await configure(`SET statement_timeout = '250ms'`);
    await startApp();
    const results = orderMany(50);
    await ledger.query('BEGIN; LOCK TABLE dbos.steps IN EXCLUSIVE MODE');
    const sent = app.faults.matching(TRANSITION).length;
    await eventually(() =>
      expect(app.faults.matching(TRANSITION).length).toBeGreaterThan(sent + 6),
    );
    await ledger.query('COMMIT');

    expect(await results).toEqual(TENS);
    expect(orders.bodies.toSorted()).toEqual(onceEach(50, 5));
  });

  it.each([1, 2])('on a pool of %s', async (poolSize) => {
    await startApp({ poolSize });
    expect(await orderMany(50)).toEqual(TENS);
    expect(orders.bodies.toSorted()).toEqual(onceEach(50, 5));
  });
});

describe('The session that shows a process alive', () => {
  it('is one and holds its lock again after its backend was terminated', async () => {
    await startApp({ options: { sessionUrl: database.url } });
    for (let round = 1; round <= 3; round += 1) {
      await terminateBackends(`application_name = 'nestjs-dbos session'`);
      await eventually(async () =>
        expect(
          await ledger.query(
            `SELECT FROM pg_stat_activity a JOIN pg_locks l USING (pid)
              WHERE datname = current_database() AND application_name = 'nestjs-dbos session'
                AND l.locktype = 'advisory' AND l.granted`,
          ),
        ).toHaveLength(1),
      );
      await eventually(async () =>
        expect(
          await ledger.query(
            `SELECT lock_key IS NOT NULL AS locked,
                    (SELECT count(*)::int FROM pg_stat_activity
                      WHERE datname = current_database()
                        AND application_name = 'nestjs-dbos session') AS sessions
               FROM dbos.executors`,
          ),
        ).toEqual([{ locked: true, sessions: 1 }]),
      );
    }
  });

  it('is not given up when it breaks just while the process looks whether others see its lock', async () => {
    await startApp({ options: { sessionUrl: database.url } });
    const gate = app.gates.hold('AS visible', 'unsent');
    await ledger.query('UPDATE dbos.executors SET dead_at = now()'); // it joins again
    await gate.reached;
    await terminateBackends(`application_name = 'nestjs-dbos session'`);

    gate.open();

    await eventually(async () =>
      expect(
        await ledger.query(
          'SELECT lock_key IS NOT NULL AS locked FROM dbos.executors WHERE dead_at IS NULL',
        ),
      ).toEqual([{ locked: true }]),
    );
  });
});
