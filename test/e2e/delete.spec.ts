// Deleting workflows with everything of theirs: whatever state they are in, with their children on request.
import { Injectable } from '@nestjs/common';
import { Workflow, WorkflowContext, WorkflowService, type WorkflowHandle } from 'nestjs-dbos';
import { deferred, type Deferred } from '../../libs/dbos/src/core/deferred.js';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { startGatedApp, type GatedApp } from '../support/gated-app.js';
import type { TestAppSettings } from '../support/test-app.js';

@Injectable()
class Gate {
  readonly bodies: string[] = [];
  readonly reasons: unknown[] = [];
  readonly open: Array<Deferred<void>> = [];
  holds = true;

  async pass(body: string, signal: AbortSignal): Promise<string> {
    this.bodies.push(body);
    signal.addEventListener('abort', () => this.reasons.push(signal.reason));
    const opened = deferred<void>();
    this.open.push(opened);
    if (this.holds) await opened.promise;
    return body;
  }

  letGo(): void {
    for (const opened of this.open.splice(0)) opened.resolve();
  }
}

@Injectable()
class Records {
  constructor(
    private readonly gate: Gate,
    private readonly flow: WorkflowContext,
    private readonly workflows: WorkflowService,
  ) {}

  /** Leaves a row in every table. */
  @Workflow({ name: 'Leaving' })
  async leave(): Promise<string> {
    await this.flow.step('step', () => 'step');
    await this.flow.setEvent('event', 1);
    await this.flow.writeStream('stream', 1);
    await this.flow.createToken();
    await this.workflows.send(this.flow.workflowId, 'message');
    return 'left';
  }

  @Workflow({ name: 'Held' })
  async hold(word: string): Promise<string> {
    return this.flow.step('pass', ({ signal }) => this.gate.pass(word, signal));
  }

  @Workflow({ name: 'Generations' })
  async generations(depth: number): Promise<string> {
    const id = this.flow.workflowId;
    const options = { workflowId: `${id}+` };
    if (depth > 0) await this.workflows.start(Records, options).generations(depth - 1);
    return this.flow.step('pass', ({ signal }) => this.gate.pass(id, signal));
  }
}

const TABLES = ['workflows', 'steps', 'events', 'stream_entries', 'messages', 'tokens'];

describe('A workflow that is deleted', () => {
  let database: TestDatabase;
  const apps: GatedApp[] = [];

  beforeAll(async () => {
    database = await createTestDatabase();
  });

  afterEach(async () => {
    for (const app of apps) app.get(Gate).letGo();
    if (apps[0]) await apps[0].prisma.$executeRaw`TRUNCATE dbos.workflows, dbos.steps`;
    await Promise.all(apps.splice(0).map((app) => app.close()));
  });

  afterAll(() => database.drop());

  async function start(options: TestAppSettings['options'] = {}): Promise<GatedApp> {
    const app = await startGatedApp({ url: database.url, providers: [Gate, Records], options });
    apps.push(app);
    return app;
  }

  const gateOf = (app: GatedApp): Gate => app.get(Gate);

  async function rowsOf(app: GatedApp, id: string): Promise<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const table of TABLES) {
      const column = table === 'workflows' ? 'id' : 'workflow_id';
      const [row] = await app.prisma.$queryRawUnsafe<Array<{ count: number }>>(
        `SELECT count(*)::int AS count FROM dbos.${table} WHERE ${column} = $1`,
        id,
      );
      counts[table] = row!.count;
    }
    return counts;
  }

  async function held(app: GatedApp, workflowId: string): Promise<WorkflowHandle<string>> {
    const handle = await app.workflows.start(Records, { workflowId }).hold('first');
    await eventually(() => expect(gateOf(app).open).toHaveLength(1));
    return handle;
  }

  const isGone = { code: 'DBOS_WORKFLOW_NOT_FOUND' };

  it('is gone with all of its rows, and others keep theirs', async () => {
    const app = await start();
    const handles = [
      await app.workflows.start(Records, { workflowId: 'one' }).leave(),
      await app.workflows.start(Records, { workflowId: 'two' }).leave(),
    ];
    await Promise.all(handles.map((handle) => handle.result()));
    const before = await rowsOf(app, 'two');
    expect(Math.min(...Object.values(before))).toBeGreaterThan(0);

    expect(await app.workflows.delete('one')).toEqual(['one']);

    expect(Object.values(await rowsOf(app, 'one'))).toEqual([0, 0, 0, 0, 0, 0]);
    expect(await rowsOf(app, 'two')).toEqual(before);
    await expect(handles[0]!.status()).rejects.toMatchObject(isGone);
  });

  it('is deleted once, and what is not there is no error', async () => {
    const app = await start();
    const handle = await app.workflows.start(Records).leave();
    await handle.result();
    expect(await handle.delete()).toBe(true);
    expect(await handle.delete()).toBe(false);
    expect(await app.workflows.delete([])).toEqual([]);
  });

  it('stays on record, with who asked for it', async () => {
    const app = await start();
    const handle = await app.workflows.start(Records).leave();
    await handle.result();
    await handle.delete({ by: 'Ada' });
    expect(await app.workflows.actions(handle.workflowId)).toMatchObject([
      { workflowId: handle.workflowId, action: 'deleted', by: 'Ada' },
    ]);
  });

  it('B19: while it runs has its signals aborted, and whoever awaits it is told at once', async () => {
    const app = await start();
    const handle = await held(app, 'B19');
    const result = handle.result();
    result.catch(() => undefined);

    await handle.delete();

    expect(gateOf(app).reasons).toMatchObject([{ code: 'DBOS_WORKFLOW_DELETED' }]);
    await expect(result).rejects.toMatchObject(isGone);
    gateOf(app).letGo();
    await eventually(() => expect(app.app.get(Engine)['parts'].executor.running).toEqual([]));
    expect(await rowsOf(app, 'B19')).toMatchObject({ workflows: 0, steps: 0 });
  });

  it('B19: while it runs elsewhere has its signals aborted there', async () => {
    const runner = await start();
    const other = await start({ runWorkflows: false });
    await held(runner, 'B19 elsewhere');

    await other.workflows.delete('B19 elsewhere');

    await eventually(() =>
      expect(gateOf(runner).reasons).toMatchObject([{ code: 'DBOS_WORKFLOW_DELETED' }]),
    );
  });

  it('B19: is refused its next checkpoint when nothing has reached it before', async () => {
    const app = await start({ pollIntervalMs: 60_000 });
    await held(app, 'B19 unheard');
    await app.prisma.$queryRaw`
      SELECT id FROM dbos.delete_workflows(ARRAY['B19 unheard'], false, NULL)`;

    gateOf(app).letGo();

    await eventually(() => expect(app.app.get(Engine)['parts'].executor.running).toEqual([]));
    expect(await rowsOf(app, 'B19 unheard')).toMatchObject({ workflows: 0, steps: 0 });
  });

  it('makes room for another under its id, even while its code still unwinds', async () => {
    const app = await start();
    const handle = await held(app, 'again');
    await handle.delete();
    gateOf(app).holds = false;

    const second = await app.workflows.start(Records, { workflowId: 'again' }).hold('second');

    expect(await second.result()).toBe('second');
    expect(gateOf(app).bodies).toEqual(['first', 'second']);
  });

  it('leaves its children alone', async () => {
    const app = await start();
    await app.workflows.start(Records, { workflowId: 'elder' }).generations(2);
    await eventually(() => expect(gateOf(app).open).toHaveLength(3));
    expect(await app.workflows.delete('elder')).toEqual(['elder']);
    expect((await app.workflows.handle('elder+').status()).status).toBe('PENDING');
  });

  it('takes all that it has started with it on request, however deep', async () => {
    const app = await start();
    await app.workflows.start(Records, { workflowId: 'elder' }).generations(2);
    await eventually(() => expect(gateOf(app).open).toHaveLength(3));

    const deleted = await app.workflows.delete('elder', { children: true });

    expect(deleted.toSorted()).toEqual(['elder', 'elder+', 'elder++']);
    expect(gateOf(app).reasons).toHaveLength(3);
    expect(await rowsOf(app, 'elder++')).toMatchObject({ workflows: 0, steps: 0 });
  });

  it('lets no child begin whose start was on its way', async () => {
    const app = await start();
    const gate = app.gates.hold('dbos.start_workflows', 'unsent', { after: 1 });
    await app.workflows.start(Records, { workflowId: 'elder' }).generations(1);
    await gate.reached;

    await app.workflows.delete('elder', { children: true });
    gate.open();

    const child = app.workflows.handle('elder+');
    await eventually(async () => expect((await child.status()).status).toBe('CANCELLED'));
    expect(gateOf(app).bodies).toEqual([]);
  });

  it('is found with its children by a second look when one was started between the first and the lock', async () => {
    const app = await start({ runWorkflows: false });
    const { prisma } = app;
    const rows = [
      ['elder', null],
      ['elder+', 'elder'],
    ];
    for (const [id, parent] of rows)
      await prisma.$executeRaw`
        INSERT INTO dbos.workflows (id, name, status, parent_id, serialization, input)
        VALUES (${id}, 'Held', 'ENQUEUED', ${parent}, 'json', '[]')`;
    const gate = app.gates.hold('dbos.delete_workflows', 'committed');
    const deleting = app.workflows.delete('elder', { children: true });
    await gate.reached;
    await prisma.$executeRaw`
      INSERT INTO dbos.workflows (id, name, status, parent_id, serialization, input)
      VALUES ('elder++', 'Held', 'ENQUEUED', 'elder+', 'json', '[]')`;

    gate.open();

    expect(await deleting).toEqual(expect.arrayContaining(['elder', 'elder+', 'elder++']));
  });
});
