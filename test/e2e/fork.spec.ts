// Forks: a new workflow that begins where another stood at a step; restarts; and resumption onto a queue.
import { Injectable } from '@nestjs/common';
import {
  DbosModule,
  Queue,
  Workflow,
  WorkflowContext,
  WorkflowService,
  getQueueToken,
  type ForkOptions,
  type WorkflowHandle,
} from 'nestjs-dbos';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { eventually } from '../support/eventually.js';
import { startTestApp } from '../support/test-app.js';
import { NestApps, stepNames, type NestApp } from '../support/nest-app.js';

@Injectable()
class Journal {
  /** Bodies that ran, as `workflow/step`. */
  readonly bodies: string[] = [];
  failing: string | undefined;
}

@Injectable()
class Trips {
  constructor(
    private readonly journal: Journal,
    private readonly flow: WorkflowContext,
    private readonly workflows: WorkflowService,
  ) {}

  /** Five stages, each of which returns a multiple of its number. */
  @Workflow({ name: 'Trip' })
  async run(factor: number): Promise<number> {
    let sum = 0;
    for (let stage = 0; stage < 5; stage += 1) sum += await this.stage(stage, factor);
    return sum;
  }

  /** Each stage sets an event and appends to a stream. */
  @Workflow({ name: 'Telling' })
  async tell(): Promise<string> {
    for (const word of ['one', 'two', 'three']) {
      await this.flow.setEvent('last', word);
      await this.flow.writeStream('words', word);
    }
    await this.flow.closeStream('words');
    return 'told';
  }

  @Workflow({ name: 'Caught' })
  async caught(): Promise<string> {
    await this.stage(0, 1);
    await this.stage(1, 1).catch(() => undefined);
    await this.stage(2, 1);
    throw new Error('no use');
  }

  @Workflow({ name: 'Broken' })
  async broken(): Promise<string> {
    await this.stage(0, 1);
    await this.stage(1, 1);
    if (this.journal.failing === 'code') throw new Error('a bug');
    return 'mended';
  }

  /** Branches, and a step after them. */
  @Workflow({ name: 'Branching' })
  async branch(): Promise<number[]> {
    await this.stage(0, 1);
    const sides = await this.flow.all([() => this.stage(1, 1), () => this.stage(2, 1)]);
    return [...sides, await this.stage(3, 1)];
  }

  @Workflow({ name: 'Listening' })
  async listen(): Promise<string | undefined> {
    await this.stage(0, 1);
    return this.flow.recv<string>('mail', { timeout: '400ms' });
  }

  /** Waits for what this very workflow never sets. */
  @Workflow({ name: 'Watching' })
  async watch(): Promise<unknown> {
    return this.workflows.getEvent(this.flow.workflowId, 'ready', { timeout: '400ms' });
  }

  @Workflow({ name: 'WithChild' })
  async withChild(): Promise<number> {
    const handle = await this.workflows.start(Trips).run(1);
    await this.stage(9, 1);
    return handle.result();
  }

  @Workflow({ name: 'Forking' })
  async forks(id: string): Promise<string[]> {
    const one = await this.workflows.fork(id, { from: 2 });
    const many = await this.workflows.forkMany([id], { from: 2 });
    return [one.workflowId, ...many.map(({ workflowId }) => workflowId)];
  }

  private stage(stage: number, factor: number): Promise<number> {
    const name = `stage ${stage}`;
    return this.flow.step(name, () => {
      this.journal.bodies.push(`${this.flow.workflowId}/${stage}`);
      if (this.journal.failing === name) throw new Error(`no way at ${name}`);
      return stage * factor;
    });
  }
}

describe('A fork', () => {
  let apps: NestApps;
  let app: NestApp;

  beforeAll(async () => {
    apps = await NestApps.open();
    app = await apps.start([Journal, Trips], {
      after: [
        DbosModule.registerQueue({ name: 'roads', concurrency: 2 }),
        DbosModule.registerQueue({ name: 'rails', partition: { concurrency: 1 } }),
      ],
      options: { applicationVersion: 'new' },
    });
  });

  beforeEach(() => {
    const journal = app.app.get(Journal);
    journal.failing = undefined;
    journal.bodies.length = 0;
  });

  afterAll(async () => {
    await apps.endAll();
    await apps.close();
  });

  const journal = (): Journal => app.app.get(Journal);

  const bodiesOf = ({ workflowId }: WorkflowHandle): string[] =>
    journal()
      .bodies.filter((body) => body.startsWith(`${workflowId}/`))
      .map((body) => body.slice(workflowId.length + 1));

  async function finished(factor = 10): Promise<WorkflowHandle<number>> {
    const handle = await app.workflows.start(Trips).run(factor);
    await handle.result();
    return handle;
  }

  async function failedAt(failing: string): Promise<WorkflowHandle<number>> {
    journal().failing = failing;
    const handle = await app.workflows.start(Trips).run(10);
    await expect(handle.result()).rejects.toThrow('no way');
    journal().failing = undefined;
    return handle;
  }

  it('B59: from a step copies what lies before it and does the rest once more', async () => {
    const origin = await finished();
    const fork = await origin.fork({ from: 2 });

    expect(await fork.result()).toBe(100);

    expect(bodiesOf(fork)).toEqual(['2', '3', '4']);
    expect(bodiesOf(origin)).toEqual(['0', '1', '2', '3', '4']);
    expect(await stepNames(app, fork.workflowId)).toEqual(await stepNames(app, origin.workflowId));
  });

  it('B59: says whence it comes, and leaves its origin as it was', async () => {
    const origin = await finished();
    const before = await origin.status();
    const fork = await app.workflows.fork<number>(origin.workflowId, { from: 2, by: 'Ada' });
    await fork.result();

    expect(await fork.status()).toMatchObject({
      name: 'Trip',
      status: 'SUCCESS',
      forkedFrom: origin.workflowId,
      parentId: null,
      applicationVersion: 'new',
    });
    expect(await origin.status()).toEqual(before);
    expect(await app.workflows.actions(origin.workflowId)).toMatchObject([
      { action: 'forked', by: 'Ada', detail: { into: fork.workflowId, fromStep: 2 } },
    ]);
  });

  it('B59: from the name of a step begins with the first of that name', async () => {
    const origin = await finished();
    const fork = await origin.fork({ from: { step: 'stage 3' } });
    expect(await fork.result()).toBe(100);
    expect(bodiesOf(fork)).toEqual(['3', '4']);
  });

  it('B59: from the failure does the step that failed once more', async () => {
    const origin = await failedAt('stage 3');
    const fork = await origin.fork({ from: 'failure' });
    expect(await fork.result()).toBe(100);
    expect(bodiesOf(fork)).toEqual(['3', '4']);
    expect((await origin.status()).status).toBe('ERROR');
  });

  it('B59: from the failure begins with the last step that failed, be it caught', async () => {
    journal().failing = 'stage 1';
    const origin = await app.workflows.start(Trips).caught();
    await expect(origin.result()).rejects.toThrow('no use');
    journal().failing = undefined;
    const fork = await origin.fork({ from: 'failure' });
    await expect(fork.result()).rejects.toThrow('no use');
    expect(bodiesOf(fork)).toEqual(['1', '2']);
  });

  it('B59: from the failure repeats no step when the code itself had failed', async () => {
    journal().failing = 'code';
    const origin = await app.workflows.start(Trips).broken();
    await expect(origin.result()).rejects.toThrow('a bug');
    journal().failing = undefined;
    const fork = await origin.fork({ from: 'failure' });
    expect(await fork.result()).toBe('mended');
    expect(bodiesOf(fork)).toEqual([]);
  });

  it('B59: has the events and streams of its origin as of that step', async () => {
    const origin = await app.workflows.start(Trips).tell();
    await origin.result();
    await app.workflows.start(Trips).run(1); // the queue below holds nothing up
    const fork = await origin.fork({ from: 4, queue: 'roads' });

    expect(await fork.result()).toBe('told');

    const words: string[] = [];
    for await (const word of app.workflows.readStream<string>(fork.workflowId, 'words'))
      words.push(word);
    expect(words).toEqual(['one', 'two', 'three']);
    expect(await fork.getEvent('last')).toBe('three');
  });

  it('B59: shows these before it has begun', async () => {
    const queue = app.app.get<Queue>(getQueueToken('roads'), { strict: false });
    await queue.pause();
    const origin = await app.workflows.start(Trips).tell();
    await origin.result();
    const fork = await origin.fork({ from: 4, queue: 'roads' });

    const events = await app.prisma.$queryRaw<object[]>`
      SELECT key, value FROM dbos.events WHERE workflow_id = ${fork.workflowId} ORDER BY seq`;
    const entries = await app.prisma.$queryRaw<object[]>`
      SELECT "offset", value FROM dbos.stream_entries WHERE workflow_id = ${fork.workflowId} ORDER BY 1`;
    await queue.resume();

    expect(events).toEqual([
      { key: 'last', value: '"one"' },
      { key: 'last', value: '"two"' },
    ]);
    expect(entries).toEqual([
      { offset: 0, value: '"one"' },
      { offset: 1, value: '"two"' },
    ]);
    expect(await fork.result()).toBe('told');
  });

  it('from a step after branches copies the branches', async () => {
    const origin = await app.workflows.start(Trips).branch();
    await origin.result();
    const after = await origin.fork({ from: 2 });
    expect(await after.result()).toEqual([1, 2, 3]);
    expect(bodiesOf(after)).toEqual(['3']);
  });

  it('from branches does all of them anew', async () => {
    const origin = await app.workflows.start(Trips).branch();
    await origin.result();
    const into = await origin.fork({ from: { step: 'stage 2' } });
    expect(await into.result()).toEqual([1, 2, 3]);
    expect(bodiesOf(into).toSorted()).toEqual(['1', '2', '3']);
  });

  it('from a wait waits anew', async () => {
    const origin = await app.workflows.start(Trips).listen();
    expect(await origin.result()).toBeUndefined();
    const fork = await origin.fork({ from: { step: 'flow.recv mail' } });
    await app.workflows.send(fork.workflowId, 'post', { topic: 'mail' });
    expect(await fork.result()).toBe('post');
  });

  it('B59: from a wait waits anew as long as its origin did, whose moment has passed', async () => {
    const origin = await app.workflows.start(Trips).listen();
    await origin.result();
    const fork = await origin.fork({ from: { step: 'flow.recv mail' } });
    expect(await fork.result()).toBeUndefined();

    const deadlines = await app.prisma.$queryRaw<Array<{ until: number; asked: number }>>`
      SELECT s.output::float8 AS until, extract(epoch FROM w.created_at)::float8 * 1000 AS asked
        FROM dbos.steps s JOIN dbos.workflows w ON w.id = s.workflow_id
       WHERE s.workflow_id = ${fork.workflowId} AND s.name = 'flow.recv deadline'`;
    expect(deadlines).toHaveLength(1);
    expect(deadlines[0]!.until).toBeGreaterThanOrEqual(deadlines[0]!.asked + 400);
  });

  it('B59: from a wait for an event waits anew as well', async () => {
    const origin = await app.workflows.start(Trips).watch();
    expect(await origin.result()).toBeUndefined();
    const fork = await origin.fork({ from: { step: 'workflows.getEvent ready' } });
    await fork.result();
    const [deadline] = (await app.workflows.steps(fork.workflowId)).filter(
      ({ name }) => name === 'workflows.getEvent deadline',
    );
    const { createdAt } = await fork.status();
    expect(deadline?.output).toBeGreaterThanOrEqual(createdAt.getTime() + 400);
  });

  it('attaches to the children that its origin had started before that step', async () => {
    const origin = await app.workflows.start(Trips).withChild();
    expect(await origin.result()).toBe(10);
    const fork = await origin.fork({ from: 1 });
    expect(await fork.result()).toBe(10);
    expect(bodiesOf(fork)).toEqual(['9']);
  });

  it('of a workflow that runs copies what it has recorded', async () => {
    const handle = await app.workflows.start(Trips).listen();
    await eventually(async () => expect(await stepNames(app, handle.workflowId)).not.toEqual([]));
    const fork = await handle.fork({ from: 'failure' });
    await fork.result();
    expect(bodiesOf(fork)).toEqual([]);
    expect(await stepNames(app, fork.workflowId)).toContain('stage 0');
  });

  it('under the same id is one fork', async () => {
    const origin = await finished();
    const options: ForkOptions = { from: 2, workflowId: `${origin.workflowId} again` };
    const [one, other] = await Promise.all([origin.fork(options), origin.fork(options)]);
    await one.result();
    expect(other.workflowId).toBe(one.workflowId);
    expect(bodiesOf(one)).toEqual(['2', '3', '4']);
    expect(await app.workflows.actions(origin.workflowId)).toHaveLength(1);
  });

  it('is made once although its answer is lost', async () => {
    const origin = await finished();
    const client = await startTestApp({
      url: apps.url,
      options: { runWorkflows: false, applicationVersion: 'new' },
    });
    client.faults.loseAnswerOfNext('dbos.fork_workflows');
    const fork = await client.workflows.fork(origin.workflowId, { from: 2 });
    await client.close();
    expect(await app.workflows.handle(fork.workflowId).result()).toBe(100);
    expect(await app.workflows.actions(origin.workflowId)).toHaveLength(1);
  });

  it('is refused under an id that belongs to another', async () => {
    const [origin, other] = [await finished(), await finished()];
    const taken = origin.fork({ from: 2, workflowId: other.workflowId });
    await expect(taken).rejects.toMatchObject({ code: 'DBOS_WORKFLOW_ID_CONFLICT' });
  });

  it('of nobody, or from a step that there is not, is a typed error', async () => {
    const origin = await finished();
    await expect(app.workflows.fork('nobody', { from: 0 })).rejects.toMatchObject({
      code: 'DBOS_WORKFLOW_NOT_FOUND',
    });
    await expect(origin.fork({ from: { step: 'stage 9' } })).rejects.toMatchObject({
      code: 'DBOS_STEP_NOT_FOUND',
      message: expect.stringContaining('stage 9'),
    });
  });

  it.each([-1, 1.5, Number.NaN, 2 ** 31, 'start', null, { step: '' }])(
    'is refused from %p',
    async (from) => {
      await expect(app.workflows.fork('any', { from: from as never })).rejects.toMatchObject({
        code: 'DBOS_INVALID_ARGUMENT',
      });
    },
  );

  it('of many is one statement, and tells of those that it could make', async () => {
    const origins = [await finished(1), await finished(2)].map(({ workflowId }) => workflowId);
    const forks = await app.workflows.forkMany([...origins, 'nobody'], { from: 4 });
    expect(forks.map(({ forkedFrom }) => forkedFrom)).toEqual(origins);
    const results = forks.map(({ workflowId }) => app.workflows.handle(workflowId).result());
    expect(await Promise.all(results)).toEqual([10, 20]);
    expect(await app.workflows.forkMany([], { from: 4 })).toEqual([]);
  });

  it('in a workflow is a checkpointed operation, under an id that derives from the step', async () => {
    const origin = await finished();
    const handle = await app.workflows.start(Trips).forks(origin.workflowId);
    const id = handle.workflowId;
    expect(await handle.result()).toEqual([`${id}-0`, `${id}-1-0`]);
    expect(await app.workflows.handle(`${id}-1-0`).result()).toBe(100);
    expect(await stepNames(app, id)).toEqual(['workflows.fork', 'workflows.forkMany']);
  });

  it('waits where its origin waited, or on the queue that it is given', async () => {
    const queue = app.app.get<Queue>(getQueueToken('roads'), { strict: false });
    const origin = await queue.enqueue(Trips, { priority: 3, timeout: '1h' }).run(10);
    await origin.result();
    const same = await (await origin.fork({ from: 1 })).status();
    expect(same).toMatchObject({ queue: 'roads', priority: 3, timeoutMs: 3_600_000 });
    const place = { queue: 'rails', partitionKey: 'north', priority: 1 };
    const other = await origin.fork({ from: 1, ...place, timeout: '2h' });
    expect(await other.status()).toMatchObject({ ...place, timeoutMs: 7_200_000 });
    expect(await other.result()).toBe(100);
    const free = await origin.fork({ from: 1, timeout: null });
    expect(await free.status()).toMatchObject({ timeoutMs: null });
  });

  it('is refused on a queue that there is not, or without its partition', async () => {
    const origin = await finished();
    await expect(origin.fork({ from: 1, queue: 'river' })).rejects.toMatchObject({
      code: 'DBOS_UNKNOWN_QUEUE',
    });
    await expect(origin.fork({ from: 1, queue: 'rails' })).rejects.toMatchObject({
      code: 'DBOS_INVALID_ARGUMENT',
    });
    await expect(origin.fork({ from: 1, priority: 1 })).rejects.toMatchObject({
      code: 'DBOS_INVALID_ARGUMENT',
    });
  });

  it('from the very first step is a restart', async () => {
    const origin = await failedAt('stage 3');
    const again = await app.workflows.restart<number>(origin.workflowId, { by: 'Ada' });
    expect(await again.result()).toBe(100);
    expect(bodiesOf(again)).toEqual(['0', '1', '2', '3', '4']);
    expect(await app.workflows.actions(origin.workflowId)).toMatchObject([
      { action: 'restarted', by: 'Ada', detail: { into: again.workflowId, fromStep: 0 } },
    ]);
    expect(await (await origin.restart()).result()).toBe(100);
  });

  describe('A resumption', () => {
    it('may put the workflow on another queue', async () => {
      const queue = app.app.get<Queue>(getQueueToken('roads'), { strict: false });
      await queue.pause();
      const handle = await queue.enqueue(Trips, { deduplicationId: 'trip' }).run(10);
      await handle.cancel();
      const place = { queue: 'rails', partitionKey: 'north', priority: 2 };

      expect(await handle.resume({ ...place, by: 'Ada' })).toBe(true);

      expect(await handle.result()).toBe(100);
      expect(await handle.status()).toMatchObject({ ...place, deduplicationId: null });
      const actions = await app.workflows.actions(handle.workflowId);
      expect(actions[1]).toMatchObject({
        action: 'resumed',
        by: 'Ada',
        detail: { queue: 'rails' },
      });
      await queue.resume();
    });

    it('leaves it where it waited otherwise', async () => {
      const queue = app.app.get<Queue>(getQueueToken('roads'), { strict: false });
      await queue.pause();
      const handle = await queue.enqueue(Trips).run(10);
      await handle.cancel();
      await handle.resume();
      expect(await handle.status()).toMatchObject({ queue: 'roads', status: 'ENQUEUED' });
      await queue.resume();
      expect(await handle.result()).toBe(100);
    });

    it('of what runs, has ended or is not there changes nothing', async () => {
      const ended = await finished();
      expect(await app.workflows.resume([ended.workflowId, 'nobody'])).toEqual([]);
      expect(await app.workflows.actions(ended.workflowId)).toEqual([]);
    });

    it('is refused onto a queue that there is not', async () => {
      await expect(app.workflows.resume('any', { queue: 'river' })).rejects.toMatchObject({
        code: 'DBOS_UNKNOWN_QUEUE',
      });
      expect(app.app.get(Engine).isRunning).toBe(true);
    });
  });
});
