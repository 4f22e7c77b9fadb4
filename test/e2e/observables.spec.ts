// What can be watched of workflows: the status of one, and what becomes of all of a process.
import { filter, firstValueFrom, lastValueFrom, map, take, toArray } from 'rxjs';
import {
  DbosModule,
  getQueueToken,
  WorkflowService,
  type Queue,
  type WorkflowEvent,
  type WorkflowStatusReport,
} from 'nestjs-dbos';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { eventually } from '../support/eventually.js';
import { NestApps } from '../support/nest-app.js';
import {
  recorded,
  Scripted,
  suspension,
  useScriptedApps,
  type ScriptedApp,
} from '../support/scripted-app.js';

function watching(app: ScriptedApp): number {
  return app.get(Engine)['parts'].statuses.size;
}

/** The statuses that are told, as they come. */
function statusesOf(app: ScriptedApp, workflowId: string): Promise<string[]> {
  const told = app.workflows.handle(workflowId).status$.pipe(
    map(({ status }) => status),
    toArray(),
  );
  return lastValueFrom(told);
}

describe('handle.status$', () => {
  const apps = useScriptedApps({ options: { pollIntervalMs: 600_000 } });

  it('tells what stands now, then each change, and completes at the end', async () => {
    const app = await apps.start();
    const goOn = deferred<void>();
    const handle = await app.begin(async ({ flow }) => {
      await flow.step('wait', () => goOn.promise);
      await flow.sleep('1h');
    });
    const reports: WorkflowStatusReport[] = [];
    const ended = deferred<void>();
    handle.status$.subscribe({
      next: (report) => void reports.push(report),
      complete: () => ended.resolve(),
    });
    const told = (...statuses: string[]) =>
      eventually(() => expect(reports.map(({ status }) => status)).toEqual(statuses));
    await told('PENDING');
    goOn.resolve();
    await told('PENDING', 'DELAYED');
    expect(reports[1]).toEqual(await handle.status());
    await app.workflows.resume(handle.workflowId);
    await eventually(() => expect(reports.at(-1)?.status).toMatch(/PENDING|DELAYED/));
    await app.workflows.cancel(handle.workflowId);
    await ended.promise;
    expect(reports.at(-1)).toEqual(await handle.status());
    expect(reports.at(-1)?.status).toBe('CANCELLED');
    await eventually(() => expect(watching(app)).toBe(0));
  });

  it('tells one report of a workflow that has ended', async () => {
    const app = await apps.start();
    const handle = await app.begin(() => 1);
    await handle.result();
    expect(await statusesOf(app, handle.workflowId)).toEqual(['SUCCESS']);
    expect(await firstValueFrom(handle.status$)).toEqual(await handle.status());
  });

  it('stops asking when it is unsubscribed', async () => {
    const app = await apps.start();
    const goOn = deferred<void>();
    const handle = await app.begin(() => goOn.promise);
    const subscription = handle.status$.subscribe();
    await eventually(() => expect(watching(app)).toBe(1));
    await firstValueFrom(handle.status$.pipe(take(1)));
    subscription.unsubscribe();
    expect(watching(app)).toBe(0);
    goOn.resolve();
  });

  it('is an error for a workflow that does not exist', async () => {
    const app = await apps.start();
    await expect(lastValueFrom(app.workflows.handle('nobody').status$)).rejects.toMatchObject({
      code: 'DBOS_WORKFLOW_NOT_FOUND',
    });
  });

  it('asks for 100 workflows in one statement', async () => {
    const app = await apps.start();
    const goOn = deferred<void>();
    const handles = await Promise.all(
      Array.from({ length: 100 }, () => app.begin(() => goOn.promise)),
    );
    const asked = app.faults.matching('"executorId", w.epoch').length;
    const all = Promise.all(handles.map(({ workflowId }) => statusesOf(app, workflowId)));
    await eventually(() => expect(watching(app)).toBe(100));
    await eventually(() =>
      expect(app.faults.matching('"executorId", w.epoch').length).toBeLessThanOrEqual(asked + 3),
    );
    goOn.resolve();
    for (const told of await all) expect(told.at(-1)).toBe('SUCCESS');
  });

  it('in a workflow is recorded report by report', async () => {
    const { app, handle } = await apps.relive(async ({ workflows, flow, die }) => {
      const { status$ } = workflows.handle(flow.workflowId);
      const { status, createdAt } = await firstValueFrom(status$);
      await die();
      return [status, createdAt instanceof Date];
    });
    expect(await handle.result()).toEqual(['PENDING', true]);
    expect((await recorded(app, handle.workflowId))[0]).toBe('0 handle.status$');
  });
});

describe('handle.status$ of a workflow in another process', () => {
  const apps = useScriptedApps({ options: { pollIntervalMs: 20 } });

  it('tells of changes by polling', async () => {
    const app = await apps.start();
    const goOn = deferred<void>();
    const handle = await app.begin(() => goOn.promise);
    const other = await apps.start();
    const told: string[] = [];
    other.workflows
      .handle(handle.workflowId)
      .status$.subscribe(({ status }) => void told.push(status));
    await eventually(() => expect(told).toEqual(['PENDING']));
    goOn.resolve();
    await eventually(() => expect(told).toEqual(['PENDING', 'SUCCESS']));
  });
});

describe('workflows.events$', () => {
  const apps = useScriptedApps({ options: { maxConcurrentWorkflows: 1 } });

  /** The events of one workflow, as they come. */
  function eventsOf({ workflows }: ScriptedApp, id: string): WorkflowEvent[] {
    const events: WorkflowEvent[] = [];
    workflows.events$
      .pipe(filter(({ workflowId }) => workflowId === id))
      .subscribe((event) => events.push(event));
    return events;
  }

  function nothingRuns(app: ScriptedApp): Promise<void> {
    const { executor } = app.get(Engine)['parts'];
    return eventually(() => expect(executor.running).toEqual([]));
  }

  /** Their types, once there are so many. */
  const typesOf = (events: WorkflowEvent[], count: number): Promise<string[]> =>
    eventually(() => {
      expect(events.length).toBeGreaterThanOrEqual(count);
      return events.map(({ type }) => type);
    });

  it('tells of a start and of a success', async () => {
    const app = await apps.start();
    const events = eventsOf(app, 'succeeds');
    await (await app.begin(() => 1, 'succeeds')).result();
    expect(await typesOf(events, 2)).toEqual(['started', 'succeeded']);
    expect(events[0]).toMatchObject({ workflowName: 'Scripted', at: expect.any(Date) });
  });

  it('tells of a failure', async () => {
    const app = await apps.start();
    const events = eventsOf(app, 'fails');
    const handle = await app.begin(() => Promise.reject(new Error('no')), 'fails');
    await expect(handle.result()).rejects.toThrow('no');
    expect(await typesOf(events, 2)).toEqual(['started', 'failed']);
  });

  it('tells of one that waits for a slot, sleeps and is woken', async () => {
    const app = await apps.start();
    const events = eventsOf(app, 'patient');
    const goOn = deferred<void>();
    await app.begin(({ flow }) => flow.step('wait', () => goOn.promise), 'busy');
    const handle = await app.begin(({ flow }) => flow.sleep('1h'), 'patient');
    goOn.resolve();
    expect(await typesOf(events, 3)).toEqual(['enqueued', 'started', 'parked']);
    await app.workflows.resume(handle.workflowId);
    expect(await typesOf(events, 5)).toEqual([
      'enqueued',
      'started',
      'parked',
      'resumed',
      'parked',
    ]);
  });

  it('tells of a cancellation', async () => {
    const app = await apps.start();
    const events = eventsOf(app, 'cancelled');
    const started = deferred<void>();
    await app.begin(async ({ flow }) => {
      started.resolve();
      await flow.sleep('5s');
    }, 'cancelled');
    await started.promise;
    await app.workflows.cancel('cancelled');
    expect(await typesOf(events, 2)).toEqual(['started', 'cancelled']);
  });

  it('tells of a recovery, and of code that does not match its history', async () => {
    const workflowId = await apps.runUntilDeath(async ({ flow, die }) => {
      await flow.step('before', () => 1);
      await die();
    });
    const app = await apps.start({
      [workflowId]: async ({ flow }) => {
        await flow.step('something else', () => 1);
      },
    });
    await suspension(app.workflows.handle(workflowId));
    await nothingRuns(app); // so that all has been told of the suspension
    const events = eventsOf(app, workflowId);
    await app.workflows.resume(workflowId);
    expect(await typesOf(events, 2)).toEqual(['resumed', 'suspended']);
  });

  it('tells of what a shutdown hands back, then completes', async () => {
    const app = await apps.start();
    const started = deferred<void>();
    const all = lastValueFrom(
      app.workflows.events$.pipe(
        map(({ type }) => type),
        toArray(),
      ),
    );
    await app.begin(async ({ flow }) => {
      started.resolve();
      await flow.sleep('5s');
    });
    await started.promise;
    await app.close();
    expect(await all).toEqual(['started', 'left']);
    expect(app.get(Engine).lifecycle.audience).toBe(0);
  });

  it("lets who listens start workflows, which are nobody's children", async () => {
    const app = await apps.start();
    app.get(Scripted).scripts.set('follower', () => 'followed');
    const following = firstValueFrom(app.workflows.events$).then(() =>
      app.workflows.start(Scripted, { workflowId: 'follower' }).run(),
    );
    await app.begin(({ flow }) => flow.step('work', () => 1));
    const follower = await following;
    expect(await follower.result()).toBe('followed');
    expect((await follower.status()).parentId).toBeNull();
  });
});

describe('workflows.events$ of a queue', () => {
  let apps: NestApps;
  beforeAll(async () => {
    apps = await NestApps.open();
  });
  afterEach(() => apps.endAll());
  afterAll(() => apps.close());

  it('tells of what is put on it, and of what it runs again', async () => {
    const queue = DbosModule.registerQueue({
      name: 'retried',
      retry: { maxRetries: 1, baseIntervalMs: 1 },
    });
    const { app, workflows } = await apps.start([Scripted], { after: [queue] });
    const events: string[] = [];
    app.get(WorkflowService).events$.subscribe(({ type }) => events.push(type));
    let runs = 0;
    app.get(Scripted).scripts.set('again', () => {
      runs += 1;
      if (runs === 1) throw new Error('again');
    });
    const retried = app.get<Queue>(getQueueToken('retried'), { strict: false });
    await retried.enqueueMany(Scripted).run([{ args: [], workflowId: 'again' }]);
    await workflows.handle('again').result();
    await eventually(() =>
      expect(events).toEqual(['enqueued', 'started', 'retrying', 'resumed', 'succeeded']),
    );
  });
});
