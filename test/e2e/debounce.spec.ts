// Debounced starts: of many calls one run remains, with the last input.
import { Injectable } from '@nestjs/common';
import { Workflow, WorkflowService } from 'nestjs-dbos';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { connectionError } from '../support/faulty-client.js';
import { startTestApp, type TestApp, type TestAppSettings } from '../support/test-app.js';

@Injectable()
class Reindexing {
  readonly runs: string[] = [];

  @Workflow()
  async run(product: string): Promise<string> {
    this.runs.push(product);
    return `indexed ${product}`;
  }
}

@Injectable()
class Editing {
  constructor(private readonly workflows: WorkflowService) {}

  /** One edit after the other: of which product, and for how long the reindexing is put off. */
  @Workflow()
  async run(edits: Array<[product: string, periodMs: number]>): Promise<string[]> {
    const ids = [];
    for (const [product, periodMs] of edits) {
      const handle = await this.workflows
        .debounce(Reindexing, { key: 'edit', periodMs })
        .run(product);
      ids.push(handle.workflowId);
    }
    return ids;
  }
}

describe('A debounced workflow', () => {
  let database: TestDatabase;
  let app: TestApp;
  let key = '';
  let count = 0;

  beforeAll(async () => {
    database = await createTestDatabase();
  });
  beforeEach(async () => {
    app = await startApp();
    key = `key ${(count += 1)}`;
  });
  afterEach(async () => {
    await app.prisma.$executeRaw`TRUNCATE dbos.workflows, dbos.steps`;
    await app.close();
  });
  afterAll(() => database.drop());

  const startApp = (options: TestAppSettings['options'] = {}): Promise<TestApp> =>
    startTestApp({ url: database.url, providers: [Reindexing, Editing], options });

  /** Nothing begins while `calls` are made, however long they take. */
  async function beforeAnythingRuns<T>(calls: (api: TestApp) => Promise<T>): Promise<T> {
    await app.close();
    const api = await startApp({ runWorkflows: false });
    try {
      return await calls(api);
    } finally {
      await api.close();
      app = await startApp();
    }
  }
  const runs = (): string[] => app.get(Reindexing).runs;

  /** Milliseconds between a call and the start of what it put off, by the database's clock. */
  async function waited(workflowId: string): Promise<number> {
    const [row] = await app.prisma.$queryRaw<Array<{ ms: number }>>`
      SELECT extract(epoch FROM started_at - created_at)::float8 * 1000 AS ms
        FROM dbos.workflows WHERE id = ${workflowId}`;
    return row?.ms ?? Number.NaN;
  }

  it('B56: runs once for three calls, with the input of the last, under one id', async () => {
    const calls = [
      ['first', 3_600_000],
      ['second', 3_600_000],
      ['third', 300],
    ] as const;
    const ids = new Set<string>();
    for (const [product, periodMs] of calls) {
      const handle = await app.workflows.debounce(Reindexing, { key, periodMs }).run(product);
      ids.add(handle.workflowId);
    }
    expect(ids.size).toBe(1);
    const [id = ''] = ids;
    expect(await app.workflows.handle(id).result()).toBe('indexed third');
    expect(runs()).toEqual(['third']);
    expect(await waited(id)).toBeGreaterThanOrEqual(300);
  });

  it('B56: starts at the latest so long after the first call', async () => {
    const options = { key, periodMs: 3_600_000, maxWaitMs: 200 };
    const { workflowId } = await beforeAnythingRuns(async ({ workflows }) => {
      const handle = await workflows.debounce(Reindexing, options).run('first');
      await workflows.debounce(Reindexing, options).run('second');
      return handle;
    });
    expect(await app.workflows.handle(workflowId).result()).toBe('indexed second');
    expect(await waited(workflowId)).toBeGreaterThanOrEqual(200);
  });

  it('B56: that has started leaves the next call to another', async () => {
    const options = { key, periodMs: 10 };
    const first = await app.workflows.debounce(Reindexing, options).run('first');
    await first.result();
    const second = await app.workflows.debounce(Reindexing, options).run('second');
    expect(second.workflowId).not.toBe(first.workflowId);
    expect(await second.result()).toBe('indexed second');
  });

  it('is one for each key', async () => {
    const handles = await Promise.all(
      ['a', 'b'].map((part) =>
        app.workflows.debounce(Reindexing, { key: `${key} ${part}`, periodMs: 10 }).run(part),
      ),
    );
    await Promise.all(handles.map((handle) => handle.result()));
    expect(runs().sort()).toEqual(['a', 'b']);
  });

  it('is one, however many call at once', async () => {
    const handles = await beforeAnythingRuns(({ workflows }) =>
      Promise.all(
        Array.from({ length: 30 }, (_, index) =>
          workflows.debounce(Reindexing, { key, periodMs: 200 }).run(`${index}`),
        ),
      ),
    );
    expect(new Set(handles.map(({ workflowId }) => workflowId)).size).toBe(1);
    await app.workflows.handle(handles[0]?.workflowId ?? '').result();
    expect(runs()).toHaveLength(1);
  });

  it('that is resumed starts at once, and the next call begins anew', async () => {
    const handle = await app.workflows.debounce(Reindexing, { key, periodMs: 3_600_000 }).run('a');
    await app.workflows.resume(handle.workflowId);
    await handle.result();
    const next = await app.workflows.debounce(Reindexing, { key, periodMs: 10 }).run('b');
    expect(await next.result()).toBe('indexed b');
  });

  it('can be cancelled, and then leaves its key to another', async () => {
    const first = await app.workflows.debounce(Reindexing, { key, periodMs: 3_600_000 }).run('a');
    await app.workflows.cancel(first.workflowId);
    const second = await app.workflows.debounce(Reindexing, { key, periodMs: 10 }).run('b');
    expect(await second.result()).toBe('indexed b');
    expect(runs()).toEqual(['b']);
  });

  it('in a workflow puts off as elsewhere, and a replay finds the same', async () => {
    const handle = await app.workflows.start(Editing).run([
      ['a', 3_600_000],
      ['b', 1],
    ]);
    const [first, second] = await handle.result();
    expect(second).toBe(first);
    expect(await app.workflows.handle(first ?? '').result()).toBe('indexed b');
    expect((await app.workflows.steps(handle.workflowId)).map(({ name }) => name)).toEqual([
      'debounce Reindexing.run',
      'debounce Reindexing.run',
    ]);
  });

  it('B56: is not put off twice when the answer to a call in a workflow is lost', async () => {
    app.faults.loseAnswerOfNext('dbos.debounce_workflow');
    const handle = await app.workflows.start(Editing).run([['a', 1]]);
    const [id] = await handle.result();
    expect(await app.workflows.handle(id ?? '').result()).toBe('indexed a');
    await eventually(async () =>
      expect(await app.workflows.list({ status: 'SUCCESS' })).toMatchObject({
        workflows: { length: 2 },
      }),
    );
    expect(runs()).toEqual(['a']);
  });

  it('B56: is not put off twice when the process dies between the bounce and its answer', async () => {
    app.faults.loseAnswerOfNext('dbos.debounce_workflow', 100);
    const { workflowId } = await app.workflows.start(Editing).run([['a', 3_600_000]]);
    await eventually(() =>
      expect(app.faults.matching('dbos.debounce_workflow').length).toBeGreaterThan(0),
    );
    await app.kill();
    app = await startApp();
    const [id = ''] = await app.workflows.handle<string[]>(workflowId).result();
    const putOff = await app.prisma.$queryRaw`
      SELECT id FROM dbos.workflows WHERE name = 'Reindexing.run'`;
    expect(putOff).toEqual([{ id }]);
    await app.workflows.resume(id);
    expect(await app.workflows.handle(id).result()).toBe('indexed a');
  });

  it('tells that it may not have been put off when the database does not answer', async () => {
    app.faults.failNext('dbos.debounce_workflow', connectionError);
    await expect(
      app.workflows.debounce(Reindexing, { key, periodMs: 10 }).run('a'),
    ).rejects.toMatchObject({ code: 'DBOS_DATABASE_UNAVAILABLE' });
  });

  it.each([
    { key: '', periodMs: 1 },
    { key: 'a', periodMs: -1 },
    { key: 'a', periodMs: Number.NaN },
    { key: 'a', periodMs: 1, maxWaitMs: -5 },
    { key: 'a', periodMs: 1, maxWaitMs: Infinity },
  ])('with %j is refused', async (options) => {
    await expect(app.workflows.debounce(Reindexing, options).run('a')).rejects.toMatchObject({
      code: 'DBOS_INVALID_ARGUMENT',
    });
  });
});
