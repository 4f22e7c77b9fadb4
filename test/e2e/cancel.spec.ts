// Cancelling workflows: running ones at once, others where they wait, their children on request; and going on again.
import { Injectable } from '@nestjs/common';
import {
  CheckpointRepository,
  Workflow,
  WorkflowContext,
  WorkflowService,
  type WorkflowHandle,
} from 'nestjs-dbos';
import { deferred, type Deferred } from '../../libs/dbos/src/core/deferred.js';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { startGatedApp, type GatedApp } from '../support/gated-app.js';
import type { TestAppSettings } from '../support/test-app.js';

/** Bodies wait here until the test lets them go on, whatever becomes of their signals. */
@Injectable()
class Desk {
  readonly bodies: string[] = [];
  readonly aborted: Array<{ readonly body: string; readonly reason: unknown }> = [];
  private readonly papers = new Map<string, Deferred<void>>();
  holds = true;

  async work(body: string, signal?: AbortSignal): Promise<string> {
    this.bodies.push(body);
    signal?.addEventListener('abort', () => this.aborted.push({ body, reason: signal.reason }));
    if (this.holds) await this.paper(body).promise;
    return body;
  }

  letGo(body: string): void {
    this.paper(body).resolve();
  }

  private paper(body: string): Deferred<void> {
    const paper = this.papers.get(body) ?? deferred<void>();
    this.papers.set(body, paper);
    return paper;
  }
}

@Injectable()
class Office {
  constructor(
    private readonly desk: Desk,
    private readonly flow: WorkflowContext,
    private readonly workflows: WorkflowService,
  ) {}

  @Workflow({ name: 'TwoSteps' })
  async run(): Promise<string> {
    const one = await this.flow.step('one', ({ signal }) => this.desk.work('one', signal));
    const two = await this.flow.step('two', ({ signal }) => this.desk.work('two', signal));
    return `${one} ${two}`;
  }

  /** Does something after its last step, as code may. */
  @Workflow({ name: 'Lingering' })
  async linger(): Promise<string> {
    await this.flow.step('one', () => 'one');
    return this.desk.work('after the last step');
  }

  /** Takes what happens to it for a success. */
  @Workflow({ name: 'Careless' })
  async careless(): Promise<string> {
    try {
      await this.flow.step('one', ({ signal }) => this.desk.work('one', signal));
      await this.flow.step('two', () => 'two');
    } catch {
      return 'nothing happened';
    }
    return 'done';
  }

  @Workflow({ name: 'Awaiting' })
  async awaits(id: string): Promise<unknown> {
    return this.workflows.handle(id).result();
  }

  @Workflow({ name: 'Cancelling' })
  async cancels(id: string): Promise<string[]> {
    return this.workflows.cancel(id);
  }

  /** As deep as asked for, each starting the next. */
  @Workflow({ name: 'Generations' })
  async generations(depth: number): Promise<string> {
    const id = this.flow.workflowId;
    if (depth > 0) {
      const options = { workflowId: `${id}+` };
      await this.workflows.start(Office, options).generations(depth - 1);
    }
    await this.flow.step('work', ({ signal }) => this.desk.work(id, signal));
    return id;
  }
}

const CANCELLED = { code: 'DBOS_WORKFLOW_CANCELLED', reason: 'requested' };
const FAMILY = ['elder', 'elder+', 'elder++'];

describe('A workflow that is cancelled', () => {
  let database: TestDatabase;
  const apps: GatedApp[] = [];

  beforeAll(async () => {
    database = await createTestDatabase();
  });

  afterEach(async () => {
    for (const app of apps) app.get(Desk).holds = false;
    if (apps[0])
      await apps[0].prisma.$executeRaw`TRUNCATE dbos.workflows, dbos.steps, dbos.workflow_actions`;
    await Promise.all(apps.splice(0).map((app) => app.close()));
  });

  afterAll(() => database.drop());

  async function start(options: TestAppSettings['options'] = {}): Promise<GatedApp> {
    const app = await startGatedApp({ url: database.url, providers: [Desk, Office], options });
    apps.push(app);
    return app;
  }

  /** Two that hear of each other; the second runs nothing. */
  async function startTwo(): Promise<[GatedApp, GatedApp]> {
    const rarely = { sessionUrl: database.url, pollIntervalMs: 60_000 };
    const runner = await start(rarely);
    const sender = await start({ ...rarely, runWorkflows: false });
    await eventually(() => {
      for (const app of [runner, sender])
        expect(app.app.get(CheckpointRepository).notifier).toMatchObject({
          isListening: true,
          hasAudience: true,
        });
    });
    return [runner, sender];
  }

  const deskOf = (app: GatedApp): Desk => app.get(Desk);

  async function isAt(app: GatedApp, body: string): Promise<void> {
    await eventually(() => expect(deskOf(app).bodies).toContain(body));
  }

  async function namesOf(app: GatedApp, { workflowId }: WorkflowHandle): Promise<string[]> {
    return (await app.workflows.steps(workflowId)).map(({ name }) => name);
  }

  async function statusesOf(app: GatedApp, ids: readonly string[]): Promise<string[]> {
    return Promise.all(
      ids.map(async (id) => (await app.workflows.handle(id).status()).status as string),
    );
  }

  it('B28: begins no further step, and goes on with the next one when it is resumed', async () => {
    const app = await start();
    const handle = await app.workflows.start(Office).run();
    await isAt(app, 'one');

    expect(await handle.cancel()).toBe(true);
    deskOf(app).letGo('one');
    await expect(handle.result()).rejects.toMatchObject(CANCELLED);
    expect(deskOf(app).bodies).toEqual(['one']);

    deskOf(app).holds = false;
    expect(await handle.resume()).toBe(true);
    expect(await handle.result()).toBe('one two');
  });

  it('B28: keeps the steps it had recorded, and repeats none of them', async () => {
    const app = await start();
    const handle = await app.workflows.start(Office).run();
    deskOf(app).letGo('one');
    await isAt(app, 'two');
    await handle.cancel();
    expect(await namesOf(app, handle)).toEqual(['one']);

    deskOf(app).holds = false;
    await handle.resume();

    expect(await handle.result()).toBe('one two');
    expect(deskOf(app).bodies).toEqual(['one', 'two', 'two']);
  });

  it('B29: after its last step does not end as a success', async () => {
    const app = await start();
    const handle = await app.workflows.start(Office).linger();
    await isAt(app, 'after the last step');

    await handle.cancel();
    deskOf(app).letGo('after the last step');

    await expect(handle.result()).rejects.toMatchObject(CANCELLED);
    expect((await handle.status()).status).toBe('CANCELLED');
  });

  it('B29: while its outcome is on its way does not end as a success', async () => {
    const app = await start();
    deskOf(app).holds = false;
    const gate = app.gates.hold('dbos.write_transitions', 'unsent', { after: 1 });
    const handle = await app.workflows.start(Office).run();
    await gate.reached;

    await handle.cancel();
    gate.open();

    await expect(handle.result()).rejects.toMatchObject(CANCELLED);
    await eventually(() => expect(app.app.get(Engine)['parts'].executor.running).toEqual([]));
    expect(await handle.status()).toMatchObject({ status: 'CANCELLED', cancelReason: 'requested' });
  });

  it('B29: does not end as a success by catching what happens to it', async () => {
    const app = await start();
    const handle = await app.workflows.start(Office).careless();
    await isAt(app, 'one');

    await handle.cancel();
    deskOf(app).letGo('one');

    await eventually(() => expect(app.app.get(Engine)['parts'].executor.running).toEqual([]));
    expect((await handle.status()).status).toBe('CANCELLED');
  });

  it('B30: while it awaits another stops waiting, and gets the real result once resumed', async () => {
    const app = await start();
    const other = await app.workflows.start(Office).run();
    const handle = await app.workflows.start(Office).awaits(other.workflowId);
    await isAt(app, 'one');

    await handle.cancel();
    await expect(handle.result()).rejects.toMatchObject(CANCELLED);
    expect(await namesOf(app, handle)).toEqual([]);
    await handle.resume();
    deskOf(app).letGo('one');
    deskOf(app).letGo('two');

    expect(await handle.result()).toBe('one two');
  });

  it('can be awaited by another, which may go on without it', async () => {
    const app = await start();
    const other = await app.workflows.start(Office).run();
    const handle = await app.workflows.start(Office).awaits(other.workflowId);
    await other.cancel();
    await expect(handle.result()).rejects.toMatchObject(CANCELLED);
    expect((await handle.status()).status).toBe('ERROR');
  });

  it('B31: is left alone when it had an outcome, and unknown ids and none are no error', async () => {
    const app = await start();
    deskOf(app).holds = false;
    const handle = await app.workflows.start(Office).run();
    await handle.result();

    expect(await app.workflows.cancel([handle.workflowId, 'nobody'])).toEqual([]);
    expect(await app.workflows.cancel([])).toEqual([]);
    expect(await handle.result()).toBe('one two');
    expect(await app.workflows.actions(handle.workflowId)).toEqual([]);
  });

  it('B31: twice is cancelled once', async () => {
    const app = await start();
    const handle = await app.workflows.start(Office).run();
    await handle.cancel();
    const { completedAt } = await handle.status();

    expect(await handle.cancel({ children: true })).toBe(false);

    expect((await handle.status()).completedAt).toEqual(completedAt);
    expect(await app.workflows.actions(handle.workflowId)).toHaveLength(1);
  });

  it('many at once are one statement', async () => {
    const app = await start();
    const handles = await Promise.all([1, 2, 3].map(() => app.workflows.start(Office).run()));
    const ids = handles.map(({ workflowId }) => workflowId);

    const cancelled = await app.workflows.cancel(ids);

    expect(cancelled.toSorted()).toEqual(ids.toSorted());
    expect(app.faults.matching('dbos.cancel_workflows')).toHaveLength(1);
  });

  it('B32: leaves its children running', async () => {
    const app = await start();
    await app.workflows.start(Office, { workflowId: 'elder' }).generations(2);
    await isAt(app, 'elder++');

    expect(await app.workflows.cancel('elder')).toEqual(['elder']);

    expect(await statusesOf(app, FAMILY)).toEqual(['CANCELLED', 'PENDING', 'PENDING']);
  });

  it('B32: takes all that it has started with it on request, however deep', async () => {
    const app = await start();
    await app.workflows.start(Office, { workflowId: 'elder' }).generations(2);
    await isAt(app, 'elder++');

    const cancelled = await app.workflows.cancel('elder', { children: true });

    expect(cancelled.toSorted()).toEqual(FAMILY);
    expect(await statusesOf(app, FAMILY)).toEqual(['CANCELLED', 'CANCELLED', 'CANCELLED']);
    expect(
      deskOf(app)
        .aborted.map(({ body }) => body)
        .toSorted(),
    ).toEqual(FAMILY);
  });

  it('B32: takes those along whose parent had ended', async () => {
    const app = await start();
    await app.workflows.start(Office, { workflowId: 'elder' }).generations(2);
    await isAt(app, 'elder++');
    deskOf(app).letGo('elder');
    await app.workflows.handle('elder').result();

    const cancelled = await app.workflows.cancel('elder', { children: true });

    expect(cancelled.toSorted()).toEqual(['elder+', 'elder++']);
  });

  it('B32: lets no child begin whose start was on its way', async () => {
    const app = await start();
    const gate = app.gates.hold('dbos.start_workflows', 'unsent', { after: 1 });
    await app.workflows.start(Office, { workflowId: 'elder' }).generations(1);
    await gate.reached;

    await app.workflows.cancel('elder', { children: true });
    gate.open();

    await eventually(async () => expect(await statusesOf(app, ['elder+'])).toEqual(['CANCELLED']));
    expect(deskOf(app).bodies).toEqual([]);
  });

  it('B32: lets children begin again once it is resumed', async () => {
    const app = await start();
    const gate = app.gates.hold('dbos.start_workflows', 'unsent', { after: 1 });
    await app.workflows.start(Office, { workflowId: 'elder' }).generations(1);
    await gate.reached;
    await app.workflows.cancel('elder', { children: true });
    await app.workflows.resume('elder');

    gate.open();
    await isAt(app, 'elder+');

    expect(await statusesOf(app, ['elder+'])).toEqual(['PENDING']);
  });

  it('S-25: has the signals of its steps aborted at once, with the reason', async () => {
    const app = await start();
    const handle = await app.workflows.start(Office).run();
    await isAt(app, 'one');

    await handle.cancel();

    expect(deskOf(app).aborted).toMatchObject([
      { body: 'one', reason: { code: 'DBOS_RUN_CANCELLED', reason: 'requested' } },
    ]);
  });

  it('has its signals aborted when another process cancels it, which tells', async () => {
    const [runner, sender] = await startTwo();
    const handle = await runner.workflows.start(Office).run();
    await isAt(runner, 'one');

    await sender.workflows.cancel(handle.workflowId);

    await eventually(() => expect(deskOf(runner).aborted).toHaveLength(1));
  });

  it('has its signals aborted when another process cancels it, and nobody tells', async () => {
    const runner = await start();
    const sender = await start({ runWorkflows: false });
    const handle = await runner.workflows.start(Office).run();
    await isAt(runner, 'one');

    await sender.workflows.cancel(handle.workflowId);

    await eventually(() => expect(deskOf(runner).aborted).toHaveLength(1));
  });

  it('is refused its next checkpoint when nothing has reached it before', async () => {
    const runner = await start({ pollIntervalMs: 60_000 });
    const handle = await runner.workflows.start(Office).run();
    await isAt(runner, 'one');
    await runner.prisma.$queryRaw`
      SELECT id FROM dbos.cancel_workflows(ARRAY[${handle.workflowId}], false, NULL)`;

    deskOf(runner).letGo('one');

    await eventually(() => expect(runner.app.get(Engine)['parts'].executor.running).toEqual([]));
    expect(deskOf(runner).bodies).toEqual(['one']);
    expect(await namesOf(runner, handle)).toEqual([]);
  });

  it('is not cancelled again by an answer that comes after it was resumed', async () => {
    const app = await start();
    const handle = await app.workflows.start(Office).run();
    await isAt(app, 'one');
    const gate = app.gates.hold('dbos.cancel_workflows', 'committed');
    const cancelling = handle.cancel();
    await gate.reached;
    await app.prisma.$queryRaw`
      SELECT id FROM dbos.resume_workflows(ARRAY[${handle.workflowId}], NULL, NULL)`;
    await eventually(() => expect(deskOf(app).bodies).toEqual(['one', 'one']));

    gate.open();
    await cancelling;
    deskOf(app).letGo('one');
    deskOf(app).letGo('two');

    expect(await handle.result()).toBe('one two');
    expect(deskOf(app).aborted).toHaveLength(1); // that of the first run
  });

  it('is not cancelled again by a word that comes after it was resumed', async () => {
    const app = await start();
    const handle = await app.workflows.start(Office).run();
    await isAt(app, 'one');
    await handle.cancel();
    await handle.resume();
    await eventually(() => expect(deskOf(app).bodies).toEqual(['one', 'one']));
    const { interruptions } = app.app.get(Engine)['parts'];

    interruptions.told(new Set([handle.workflowId]));
    await interruptions.tick();
    deskOf(app).letGo('one');
    deskOf(app).letGo('two');

    expect(await handle.result()).toBe('one two');
  });

  it('is on record, with who asked for it', async () => {
    const app = await start();
    const handle = await app.workflows.start(Office).run();
    await handle.cancel({ by: 'Ada' });
    await handle.resume({ by: 'Grace' });
    const actions = await app.workflows.actions(handle.workflowId);
    expect(actions).toMatchObject([
      { action: 'cancelled', by: 'Ada', at: expect.any(Date) },
      { action: 'resumed', by: 'Grace', at: expect.any(Date) },
    ]);
  });

  it('by another workflow is cancelled by a checkpointed operation', async () => {
    const app = await start();
    const other = await app.workflows.start(Office).run();
    const handle = await app.workflows.start(Office).cancels(other.workflowId);
    expect(await handle.result()).toEqual([other.workflowId]);
    expect(await namesOf(app, handle)).toEqual(['workflows.cancel']);
  });

  it.each([{ children: 'yes' as never }, { by: '' }])('is refused with %j', async (options) => {
    const app = await start();
    await expect(app.workflows.cancel('any', options)).rejects.toMatchObject({
      code: 'DBOS_INVALID_ARGUMENT',
    });
  });

  it('is refused for more than ten thousand at once, and for what is no id', async () => {
    const { workflows } = await start();
    const refused = { code: 'DBOS_INVALID_ARGUMENT' };
    const many = Array.from({ length: 10_001 }, (_, index) => `id ${index}`);
    await expect(workflows.cancel(many)).rejects.toMatchObject(refused);
    await expect(workflows.resume([''])).rejects.toMatchObject(refused);
    await expect(workflows.delete(5 as never)).rejects.toMatchObject(refused);
  });
});
