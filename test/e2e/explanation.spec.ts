// Why a workflow is where it is: each reason, as data and as a sentence.
import { Injectable } from '@nestjs/common';
import {
  DbosModule,
  Step,
  Workflow,
  WorkflowContext,
  WorkflowService,
  type WorkflowExplanation,
  type WorkflowReason,
} from 'nestjs-dbos';
import { deferred, type Deferred } from '../../libs/dbos/src/core/deferred.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { createNestApp, startNestApp, type NestApp } from '../support/nest-app.js';

@Injectable()
class Life {
  gate: Deferred<void> = deferred();
  failures = 0;

  constructor(
    private readonly flow: WorkflowContext,
    private readonly workflows: WorkflowService,
  ) {}

  @Workflow()
  async run(result: string): Promise<string> {
    return result;
  }

  @Workflow()
  async failing(): Promise<void> {
    throw new Error('no more coffee');
  }

  @Workflow()
  async receiving(topic?: string, timeout?: `${number}h`): Promise<unknown> {
    return this.flow.recv(topic, timeout === undefined ? {} : { timeout });
  }

  @Workflow()
  async deciding(): Promise<unknown> {
    return (await this.flow.createToken({ timeout: '2h' })).wait();
  }

  @Workflow()
  async updating(): Promise<void> {
    for await (const update of this.flow.updates('address')) await update.answer(() => 'done');
  }

  @Workflow()
  async sleeping(duration: `${number}h`): Promise<void> {
    await this.flow.sleep(duration);
  }

  @Workflow()
  async sleepingBeside(workflowId: string): Promise<void> {
    await this.flow.all([
      () => this.flow.sleep('1h'),
      () => this.workflows.getEvent(workflowId, 'ready', { timeout: '3h' }),
    ]);
  }

  @Workflow()
  async parent(workflowId: string): Promise<void> {
    await this.workflows.execute(Life, { workflowId }).receiving('go');
  }

  @Workflow()
  async watching(workflowId: string): Promise<unknown> {
    return this.workflows.getEvent(workflowId, 'ready', { timeout: '3h' });
  }

  @Workflow()
  async stepping(): Promise<void> {
    await this.flow.step('prepare', () => 1);
    await this.gated();
  }

  @Workflow()
  async thinking(): Promise<void> {
    await this.flow.step('prepare', () => 1);
    await this.gate.promise; // between two steps, which a workflow should not do for long
  }

  @Workflow({ maxRecoveryAttempts: 0 })
  async fragile(): Promise<void> {}

  @Step({ maxRetries: 5, baseIntervalMs: 1 })
  async gated(): Promise<void> {
    if ((this.failures -= 1) >= 0) throw new Error('not yet');
    await this.gate.promise;
  }
}

const QUEUES = [
  DbosModule.registerQueue({ name: 'retried', retry: { maxRetries: 3, baseIntervalMs: 60_000 } }),
  DbosModule.registerQueue({ name: 'orders' }),
];

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

function kindOf({ reason }: WorkflowExplanation): WorkflowReason['kind'] {
  return reason.kind;
}

const day = (n: number): Date => new Date(Date.UTC(2027, 0, n));

describe('The explanation of a workflow', () => {
  let app: NestApp;
  let life: Life;
  let count = 0;
  let workflowId = '';

  beforeAll(async () => {
    app = await startNestApp({
      url: database.url,
      before: QUEUES,
      providers: [Life],
      options: { parkAfterMs: 200 },
    });
    life = app.app.get(Life);
  });
  beforeEach(() => {
    workflowId = `life ${(count += 1)}`;
    life.gate = deferred();
    life.failures = 0;
  });
  afterEach(async () => {
    life.gate.resolve();
    await app.workflows.cancel(workflowId);
  });
  afterAll(() => app.close());

  const start = () => app.workflows.start(Life, { workflowId });
  const explain = (id = workflowId): Promise<WorkflowExplanation> => app.workflows.explain(id);

  async function comesTo(
    kind: WorkflowReason['kind'],
    status: WorkflowExplanation['status'],
  ): Promise<WorkflowExplanation> {
    let last: WorkflowExplanation | undefined;
    await eventually(async () => {
      last = await explain();
      expect([kindOf(last), last.status]).toEqual([kind, status]);
    });
    return last!;
  }

  /** A workflow of a process that is no more, with what it had recorded. */
  async function leftBehind(name: string, step?: string): Promise<void> {
    await app.prisma.$executeRaw`
      INSERT INTO dbos.steps (workflow_id, step_id, name, epoch, serialization, output, started_at)
      SELECT ${workflowId}, '0', ${step ?? ''}, 1, 'json', '1', now() WHERE ${step ?? null}::text IS NOT NULL`;
    await app.prisma.$executeRaw`
      INSERT INTO dbos.workflows (id, name, status, executor_id, epoch, serialization, input)
      VALUES (${workflowId}, ${name}, 'PENDING', 'nobody', 1, 'json', '[]')`;
  }

  it('says that it ended well', async () => {
    await (await start().run('x')).result();
    const { reason, sentence } = await explain();
    expect(reason).toMatchObject({
      kind: 'ended',
      outcome: 'SUCCESS',
      at: expect.any(Date) as Date,
    });
    expect(sentence).toMatch(/^Workflow "life \d+" \(Life\.run\) ended well at 20.*Z\.$/);
  });

  it('says how it failed', async () => {
    await (await start().failing()).result().catch(() => {});
    const { reason, sentence } = await explain();
    expect(reason).toMatchObject({ kind: 'ended', outcome: 'ERROR', error: 'no more coffee' });
    expect(sentence).toContain('failed at');
    expect(sentence).toContain('no more coffee');
  });

  it('says that it was cancelled', async () => {
    await start().receiving('x');
    await app.workflows.cancel(workflowId);
    const { reason, sentence } = await explain();
    expect(reason).toMatchObject({ kind: 'ended', outcome: 'CANCELLED' });
    expect(sentence).toContain('was cancelled at');
  });

  it('says after how many recoveries it was set aside, and why', async () => {
    await leftBehind('Life.fragile', 'charge');
    const { reason, sentence } = await comesTo('dead-lettered', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED');
    expect(reason).toMatchObject({
      recoveryAttempts: 1,
      error: expect.stringContaining('set aside') as string,
      lastStep: { stepId: '0', name: 'charge' },
    });
    expect(sentence).toContain('was set aside after 1 recovery, after step 0 "charge"');
  });

  it('P17: says in what its code differs from its history', async () => {
    await leftBehind('Life.stepping', 'charge');
    const { reason, sentence } = await comesTo('suspended', 'SUSPENDED');
    expect(reason).toMatchObject({
      difference: expect.stringMatching(/charge.*prepare|prepare.*charge/s) as string,
    });
    expect(sentence).toContain('is suspended since');
  });

  it.each([
    { topic: 'approval', words: 'a message on topic "approval" until 20' },
    { topic: undefined, words: 'a message without a topic until 20' },
  ])('says that it waits for $words, parked or not', async ({ topic, words }) => {
    await start().receiving(topic, '1h');
    const inMemory = await comesTo('waiting-for-message', 'PENDING');
    const parked = await comesTo('waiting-for-message', 'DELAYED');
    for (const { reason, sentence } of [inMemory, parked]) {
      expect(reason).toMatchObject({ messages: [{ kind: 'message', topic: topic ?? '' }] });
      expect('until' in reason && reason.until!.getTime() - Date.now()).toBeGreaterThan(3_500_000);
      expect(sentence).toContain(words);
    }
  });

  it('says that it waits for a message as long as it takes', async () => {
    await start().receiving('approval');
    const { reason, sentence } = await comesTo('waiting-for-message', 'DELAYED');
    expect(reason).toMatchObject({ until: null });
    expect(sentence).toContain('waits for a message on topic "approval", as long as it takes');
  });

  it('says that it waits for the decision of a token', async () => {
    await start().deciding();
    const { reason, sentence } = await comesTo('waiting-for-message', 'DELAYED');
    expect(reason).toMatchObject({ messages: [{ kind: 'decision', stepId: '0' }] });
    expect(sentence).toContain('the decision of the token that step 0 gave out until 20');
  });

  it('says that it waits for an update', async () => {
    await start().updating();
    const { reason, sentence } = await comesTo('waiting-for-message', 'DELAYED');
    expect(reason).toMatchObject({ messages: [{ kind: 'update', topic: 'address' }] });
    expect(sentence).toContain('waits for an update "address"');
  });

  it('says for which workflow it waits', async () => {
    await start().parent(`${workflowId} child`);
    const { reason, sentence } = await comesTo('waiting-for-workflow', 'PENDING');
    expect(reason).toMatchObject({ workflowId: `${workflowId} child`, isCertain: true });
    expect(sentence).toContain(`waits for workflow "${workflowId} child" since 20`);
    await app.workflows.cancel(`${workflowId} child`);
  });

  it('says for which event of which workflow it waits', async () => {
    await start().watching('another');
    const { reason, sentence } = await comesTo('waiting-for-event', 'PENDING');
    expect(reason).toMatchObject({
      workflowId: 'another',
      key: 'ready',
      until: expect.any(Date) as Date,
    });
    expect(sentence).toContain('waits for event "ready" of workflow "another" until 20');
  });

  it('says until when it sleeps', async () => {
    await start().sleeping('1h');
    const { reason, sentence } = await comesTo('sleeping', 'DELAYED');
    expect('until' in reason && reason.until!.getTime() - Date.now()).toBeGreaterThan(3_500_000);
    expect(sentence).toContain('sleeps until 20');
  });

  it('says until when it sleeps that cannot be parked, for another branch waits', async () => {
    await start().sleepingBeside('another');
    expect((await comesTo('sleeping', 'PENDING')).sentence).toContain('sleeps until 20');
  });

  it('says when it begins that was enqueued with a delay', async () => {
    await app.workflows.enqueue(Life, { workflowId, queue: 'orders', runAt: day(1) }).run('x');
    const { reason, sentence } = await explain();
    expect(reason).toEqual({ kind: 'delayed', until: day(1), isDebounced: false });
    expect(sentence).toContain('begins at 2027-01-01T00:00:00.000Z, as it was enqueued');
  });

  it('says that it is put off', async () => {
    const handle = await app.workflows.debounce(Life, { key: 'k', periodMs: 600_000 }).run('x');
    const { reason, sentence } = await explain(handle.workflowId);
    expect(reason).toMatchObject({ kind: 'delayed', isDebounced: true });
    expect(sentence).toContain('or later if it is put off again');
    await app.workflows.cancel(handle.workflowId);
  });

  it('says when it is run again that has failed', async () => {
    await app.workflows.enqueue(Life, { workflowId, queue: 'retried' }).failing();
    const { reason, sentence } = await comesTo('retrying', 'DELAYED');
    expect(reason).toMatchObject({
      failures: 1,
      error: 'no more coffee',
      until: expect.any(Date) as Date,
    });
    expect(sentence).toContain('has failed 1 time and is run again at 20');
  });

  it('says which step it runs, since when, and at which attempt', async () => {
    life.failures = 2;
    const before = Date.now();
    await start().stepping();
    await eventually(async () =>
      expect((await explain()).reason).toMatchObject({ kind: 'running-step', attempt: 3 }),
    );
    const { reason, sentence } = await explain();
    expect(reason).toMatchObject({ stepId: '1', stepName: 'Life.gated' });
    expect('since' in reason && Math.abs(reason.since.getTime() - before)).toBeLessThan(60_000);
    expect(sentence).toMatch(/runs step 1 "Life\.gated" since 20.*Z \(attempt 3\)\.$/);
  });

  it('says that its code runs between two steps', async () => {
    await start().thinking();
    await eventually(async () =>
      expect((await explain()).reason).toMatchObject({
        kind: 'running',
        lastStep: { stepId: '0', name: 'prepare' },
      }),
    );
    expect((await explain()).sentence).toContain(`(pid ${process.pid} on `);
  });

  it('P34: says that nobody registers its name', async () => {
    await leftBehind('Old.run');
    const { reason, sentence } = await comesTo('no-executor', 'ENQUEUED');
    expect(reason).toMatchObject({ missing: 'workflow', executorsAlive: 1, queue: null });
    expect(sentence).toContain('but no live executor registers "Old.run" (1 executor alive)');
  });

  it('is refused where there is no workflow', async () => {
    await expect(explain('nobody')).rejects.toMatchObject({ code: 'DBOS_WORKFLOW_NOT_FOUND' });
  });

  describe('from another process', () => {
    let other: NestApp;

    beforeAll(async () => {
      other = await startNestApp({
        url: database.url,
        before: QUEUES,
        providers: [Life],
        options: { runWorkflows: false },
      });
    });
    afterAll(() => other.close());

    it('says where it runs, and what it recorded last', async () => {
      await start().stepping();
      await eventually(async () => {
        const { reason, sentence } = await other.workflows.explain(workflowId);
        expect(reason).toMatchObject({
          kind: 'running',
          host: { pid: process.pid },
          lastStep: { name: 'prepare' },
        });
        expect(sentence).toMatch(
          /runs on executor ".*" \(pid \d+ on .*\), after step 0 "prepare" of 20/,
        );
      });
    });

    it('says for which child it seems to wait', async () => {
      await start().parent(`${workflowId} child`);
      await eventually(async () => {
        const { reason, sentence } = await other.workflows.explain(workflowId);
        expect(reason).toMatchObject({ workflowId: `${workflowId} child`, isCertain: false });
        expect(sentence).toContain('seems to wait for workflow');
      });
      await app.workflows.cancel(`${workflowId} child`);
    });
  });
});

describe('The explanation of a workflow that waits', () => {
  /** Never launched: nobody is alive but whom the test enters, and nothing moves. */
  let app: NestApp;

  beforeAll(async () => {
    app = await createNestApp({ url: database.url, before: QUEUES, providers: [Life] });
  });
  beforeEach(
    () =>
      app.prisma
        .$executeRaw`TRUNCATE dbos.workflows, dbos.executors, dbos.queues, dbos.queue_claims`,
  );
  afterAll(() => app.prisma.$disconnect());

  const explain = async (id: string): Promise<WorkflowExplanation> => app.workflows.explain(id);

  interface Waiting {
    readonly id: string;
    readonly status?: string;
    readonly queue?: string | null;
    readonly partition?: string;
    readonly priority?: number;
    readonly executorId?: string;
  }

  async function write(...rows: Waiting[]): Promise<void> {
    for (const { id, status = 'ENQUEUED', queue = 'orders', ...row } of rows) {
      await app.prisma.$executeRaw`
        INSERT INTO dbos.workflows (id, name, status, queue, partition_key, priority, executor_id, epoch, serialization,
                                    input)
        VALUES (${id}, 'Life.run', ${status}, ${queue}, ${row.partition ?? null}, ${row.priority ?? 0},
                ${row.executorId ?? null}, 1, 'json', '[]')`;
    }
  }

  interface Alive {
    readonly id: string;
    readonly workflows?: readonly string[] | null;
    readonly queues?: readonly string[] | null;
    readonly heartbeatAgoMs?: number;
    readonly lockKey?: number;
  }

  async function enter(...executors: Alive[]): Promise<void> {
    for (const {
      id,
      workflows = ['Life.run'],
      queues = ['orders'],
      heartbeatAgoMs = 0,
      lockKey = null,
    } of executors) {
      await app.prisma.$executeRaw`
        INSERT INTO dbos.executors (id, hostname, pid, lease_ms, heartbeat_at, workflow_names, queues, lock_key)
        VALUES (${id}, 'host', 1, 60000, now() - ${heartbeatAgoMs}::int * interval '1 millisecond',
                ${workflows ? [...workflows] : null}::text[], ${queues ? [...queues] : null}::text[],
                ${lockKey}::bigint)`;
    }
  }

  async function limit(limits: Record<string, number | boolean>): Promise<void> {
    const row = JSON.stringify({
      name: 'orders',
      is_partitioned: false,
      paused: false,
      declared: {},
      ...limits,
    });
    await app.prisma.$executeRaw`
      INSERT INTO dbos.queues (name, concurrency, worker_concurrency, rate_limit, rate_period_ms, is_partitioned,
                               partition_concurrency, partition_rate_limit, partition_rate_period_ms, paused, declared)
      SELECT name, concurrency, worker_concurrency, rate_limit, rate_period_ms, is_partitioned, partition_concurrency,
             partition_rate_limit, partition_rate_period_ms, paused, declared
        FROM json_populate_record(NULL::dbos.queues, ${row}::json)`;
  }

  it('says that nobody is alive', async () => {
    await write({ id: 'w' });
    await enter({ id: 'late', heartbeatAgoMs: 61_000 });
    const { reason, sentence } = await explain('w');
    expect(reason).toMatchObject({
      kind: 'no-executor',
      missing: 'executor',
      executorsAlive: 0,
      position: 1,
    });
    expect(sentence).toContain('no process is alive that runs workflows');
  });

  it('says that those alive run nothing', async () => {
    await write({ id: 'w' });
    await enter({ id: 'api', workflows: [], queues: [] });
    expect((await explain('w')).reason).toMatchObject({ missing: 'executor', executorsAlive: 1 });
  });

  it('says that nobody who has its code listens to its queue', async () => {
    await write({ id: 'w' });
    await enter({ id: 'deaf', queues: [] }, { id: 'other', workflows: ['Other.run'] });
    const { reason, sentence } = await explain('w');
    expect(reason).toMatchObject({ kind: 'no-executor', missing: 'queue', executorsAlive: 2 });
    expect(sentence).toContain(
      'no live executor that registers "Life.run" listens to queue "orders"',
    );
  });

  it('takes an executor that does not say what it runs for one that may', async () => {
    await write({ id: 'w' });
    await enter({ id: 'old', workflows: null, queues: null });
    expect(kindOf(await explain('w'))).toBe('waiting-for-turn');
  });

  it('says that its queue is paused', async () => {
    await write({ id: 'w' });
    await enter({ id: 'one' });
    await limit({ paused: true, concurrency: 1 });
    const { reason, sentence } = await explain('w');
    expect(reason).toEqual({
      kind: 'queue-paused',
      queue: 'orders',
      partitionKey: null,
      position: 1,
    });
    expect(sentence).toContain('as number 1 on queue "orders", which is paused');
  });

  it('says that its queue is at its limit, and its position by priority and arrival', async () => {
    await write({ id: 'a' }, { id: 'urgent', priority: -1 }, { id: 'w' }, { id: 'later' });
    await write(
      { id: 'at work', status: 'PENDING', executorId: 'one' },
      { id: 'elsewhere', queue: null },
    );
    await enter({ id: 'one' });
    await limit({ concurrency: 1 });
    const { reason, sentence } = await explain('w');
    expect(reason).toMatchObject({
      kind: 'queue-full',
      limit: 'concurrency',
      allowed: 1,
      atWork: 1,
      position: 3,
    });
    expect(sentence).toContain(
      'as number 3 on queue "orders", which has 1 at work and may have 1 (concurrency)',
    );
  });

  it('says that its partition is at its limit', async () => {
    await write(
      { id: 'at work', status: 'PENDING', executorId: 'one', partition: 'a' },
      { id: 'before', partition: 'b' },
      { id: 'w', partition: 'a' },
      { id: 'free', partition: 'b' },
    );
    await enter({ id: 'one' });
    await limit({ is_partitioned: true, partition_concurrency: 1 });
    const { reason, sentence } = await explain('w');
    expect(reason).toMatchObject({
      limit: 'partition.concurrency',
      partitionKey: 'a',
      position: 1,
    });
    expect(sentence).toContain('in partition "a"');
    expect((await explain('free')).reason).toMatchObject({ kind: 'waiting-for-turn', position: 2 });
  });

  it('says that every process that could run it has as many at work as it may', async () => {
    await write({ id: 'at work', status: 'PENDING', executorId: 'one' }, { id: 'w' });
    await enter({ id: 'one' }, { id: 'deaf', queues: [] });
    await limit({ worker_concurrency: 1 });
    expect((await explain('w')).reason).toMatchObject({
      kind: 'queue-full',
      limit: 'workerConcurrency',
      allowed: 1,
    });
    await enter({ id: 'two' });
    expect(kindOf(await explain('w'))).toBe('waiting-for-turn');
  });

  it.each([
    { partition: undefined, named: 'rateLimit' },
    { partition: 'a', named: 'partition.rateLimit' },
  ])('says until when the $named is used up', async ({ partition, named }) => {
    await write({ id: 'w', ...(partition && { partition }) });
    await enter({ id: 'one' });
    await limit(
      partition
        ? { is_partitioned: true, partition_rate_limit: 2, partition_rate_period_ms: 60_000 }
        : { rate_limit: 2, rate_period_ms: 60_000 },
    );
    const key = partition ?? '';
    const claim = (agoMs: number) => app.prisma.$executeRaw`
      INSERT INTO dbos.queue_claims (queue, partition_key, claimed_at, claims)
      VALUES ('orders', ${key}, now() - ${agoMs}::int * interval '1 millisecond', 1)`;
    await claim(20_000);
    expect(kindOf(await explain('w'))).toBe('waiting-for-turn');
    await claim(90_000);
    expect(kindOf(await explain('w'))).toBe('waiting-for-turn');
    await claim(10_000);
    const { reason, sentence, at } = await explain('w');
    expect(reason).toMatchObject({
      kind: 'rate-limited',
      limit: named,
      allowed: 2,
      periodMs: 60_000,
    });
    const inMs = 'until' in reason ? reason.until!.getTime() - at.getTime() : 0;
    expect(inMs).toBeGreaterThan(35_000);
    expect(inMs).toBeLessThan(41_000);
    expect(sentence).toContain(`has used up its 2 claims in 60000 ms (${named}) until 20`);
  });

  it('says that it waits for its turn', async () => {
    await write({ id: 'a', queue: null }, { id: 'w', queue: null });
    await enter({ id: 'one' });
    const { reason, sentence } = await explain('w');
    expect(reason).toMatchObject({
      kind: 'waiting-for-turn',
      queue: null,
      position: 2,
      executorsAlive: 1,
    });
    expect(sentence).toContain(
      'waits as number 2 to be taken up for a free slot (1 executor alive)',
    );
  });

  it('says who could not claim what has become due', async () => {
    await write({ id: 'w', status: 'DELAYED', queue: null });
    await app.prisma.$executeRaw`UPDATE dbos.workflows SET wake_at = now() - interval '1 second'`;
    expect((await explain('w')).reason).toMatchObject({ kind: 'no-executor', missing: 'executor' });
  });

  it.each([
    { owner: 'has no row', executor: undefined },
    { owner: 'let its lease run out', executor: { heartbeatAgoMs: 61_000 } },
    { owner: 'lost its session and is silent', executor: { lockKey: 1, heartbeatAgoMs: 3_000 } },
  ])('says that its owner is dead, which $owner', async ({ executor }) => {
    await write({ id: 'w', status: 'PENDING', executorId: 'gone' });
    if (executor) await enter({ id: 'gone', ...executor });
    const { reason, sentence, at } = await explain('w');
    expect(reason).toMatchObject({ kind: 'owner-dead', executorId: 'gone' });
    const inMs =
      'recoveryDueAt' in reason ? reason.recoveryDueAt.getTime() - at.getTime() : Infinity;
    expect(inMs).toBeLessThanOrEqual(60_000); // a lease after a start of the server
    expect(sentence).toContain(
      'belongs to executor "gone", which is dead; others take it over by 20',
    );
  });

  it.each([
    { owner: 'sends heartbeats', executor: { heartbeatAgoMs: 20_000 } },
    { owner: 'has only lost its session', executor: { lockKey: 1 } },
  ])('says that its owner runs it, which $owner', async ({ executor }) => {
    await write({ id: 'w', status: 'PENDING', executorId: 'alive' });
    await enter({ id: 'alive', ...executor });
    expect((await explain('w')).reason).toMatchObject({ kind: 'running', executorId: 'alive' });
  });
});
