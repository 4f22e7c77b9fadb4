// When an application ends: nothing begins any more, what is at work may end, and the rest goes on elsewhere.
import {
  Global,
  Injectable,
  Module,
  type OnModuleDestroy,
  type Provider,
  type Type,
} from '@nestjs/common';
import { PrismaPg } from '@prisma/adapter-pg';
import { DbosModule, Step, Workflow, WorkflowContext } from 'nestjs-dbos';
import pg from 'pg';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import {
  begun,
  BOUND_MS,
  Errand,
  ErrandApps,
  inFirstStep,
  Journal,
} from '../support/errand-apps.js';
import { eventually } from '../support/eventually.js';
import { startGatedApp } from '../support/gated-app.js';
import { QUICK, stepNames, type NestAppSettings } from '../support/nest-app.js';

describe('The end of an application', () => {
  let apps: ErrandApps;

  beforeAll(async () => {
    apps = await ErrandApps.open();
  });

  afterEach(() => apps.endAll());

  afterAll(() => apps.close());

  it('B41: lets the step body in flight end, records it, and begins no other', async () => {
    const first = await apps.start({ options: { shutdown: { graceMs: 5_000 } } });
    await inFirstStep(first, 'in flight');

    const closing = first.app.close();
    first.journal.open('first');
    await closing;
    expect(begun(first.journal)).toEqual(['first begins']);

    const second = await apps.start();
    expect(await second.workflows.handle('in flight').result()).toBe('second');
    expect(begun(second.journal)).toEqual(['second begins']);
    expect(await stepNames(second, 'in flight')).toEqual(['Errand.first', 'Errand.second']);
  });

  it('begins no step while a provider of the root module takes long to be destroyed', async () => {
    const journal = new Journal();
    const destroying = deferred<void>();
    @Injectable()
    class SlowToDestroy implements OnModuleDestroy {
      async onModuleDestroy(): Promise<void> {
        destroying.resolve();
        await apps.timeForMuch();
      }
    }
    const first = await apps.start({ providers: [SlowToDestroy] }, journal);
    await inFirstStep(first, 'slow destroy');

    const closing = first.app.close();
    await destroying.promise;
    journal.open('first');
    await closing;

    expect(begun(journal)).toEqual(['first begins']);
  });

  it('B41: aborts the signal of a body that is still at work after graceMs', async () => {
    const journal = new Journal();
    const reason = deferred<unknown>();
    @Injectable()
    class Patient {
      constructor(private readonly flow: WorkflowContext) {}

      @Workflow()
      async run(): Promise<void> {
        await this.work();
      }

      @Step()
      async work(): Promise<void> {
        const { signal } = this.flow.stepContext;
        journal.note('at work');
        await new Promise<void>((resolve) => {
          signal.addEventListener('abort', () => resolve(), { once: true });
        });
        reason.resolve(signal.reason);
      }
    }
    const graceMs = 100;
    const first = await apps.start({ providers: [Patient], options: { shutdown: { graceMs } } });
    await first.workflows.start(Patient, { workflowId: 'patient' }).run();
    await eventually(() => expect(journal.entries).toEqual(['at work']));

    const startedAt = performance.now();
    const closing = first.app.close();
    expect(await reason.promise).toMatchObject({ code: 'DBOS_EXECUTOR_STOPPING' });
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(graceMs);
    await closing;

    expect(
      await apps.observer.$queryRaw`SELECT name FROM dbos.steps WHERE workflow_id = 'patient'`,
    ).toEqual([]);
  });

  it('B41: waits for a body that ignores its signal no longer than graceMs and a little', async () => {
    const first = await apps.start({ options: { shutdown: { graceMs: 50 } } });
    first.journal.shut('deaf');
    await first.workflows.start(Errand, { workflowId: 'deaf' }).stubborn();
    await eventually(() => expect(begun(first.journal)).toEqual(['deaf begins']));

    const startedAt = performance.now();
    await first.app.close();
    expect(performance.now() - startedAt).toBeLessThan(BOUND_MS);
    first.journal.open('deaf');

    const second = await apps.start();
    expect(await second.workflows.handle('deaf').result()).toBe('second');
    expect(await stepNames(second, 'deaf')).toEqual(['Errand.deaf', 'Errand.second']);
    expect(begun(first.journal)).toEqual(['deaf begins']);
  });

  it('B41: hands unfinished work back at once, as no recovery', async () => {
    const first = await apps.start();
    await inFirstStep(first, 'handed back');
    await first.app.close();

    const [row] = await apps.observer.$queryRaw<unknown[]>`
      SELECT status, executor_id, recovery_attempts FROM dbos.workflows WHERE id = 'handed back'`;
    const executors = await apps.observer.$queryRaw<unknown[]>`SELECT id FROM dbos.executors`;

    expect(row).toEqual({ status: 'ENQUEUED', executor_id: null, recovery_attempts: 0 });
    expect(executors).toEqual([]);
  });

  it('leaves no executor behind when a heartbeat is under way at its end', async () => {
    const nestApp = await startGatedApp({ url: apps.url });
    const heartbeat = nestApp.gates.hold('dbos.heartbeat', 'unsent');
    const leaving = nestApp.gates.hold('DELETE FROM dbos.executors WHERE', 'committed');
    await heartbeat.reached;

    const closing = nestApp.close();
    // Either it leaves with the heartbeat under way, or it waits for that first.
    await Promise.race([leaving.reached, apps.timeForMuch()]);
    heartbeat.open();
    await apps.timeForMuch();
    leaving.open();
    await closing;

    expect(await apps.observer.$queryRaw`SELECT id FROM dbos.executors`).toEqual([]);
  });

  it('refuses to start a workflow once the shutdown is over', async () => {
    const { app, workflows } = await apps.start();
    await app.close();
    await expect(workflows.start(Errand).run()).rejects.toMatchObject({
      code: 'DBOS_NOT_RUNNING',
    });
  });

  it('releases whoever awaits a result when the engine stops', async () => {
    const first = await apps.start();
    await inFirstStep(first, 'awaited');
    const waiting = first.workflows.handle('awaited').result();
    await Promise.all([
      expect(waiting).rejects.toMatchObject({ code: 'DBOS_NOT_RUNNING' }),
      first.app.close(),
    ]);
  });

  it.each<[string, (provider: Provider) => Partial<NestAppSettings>]>([
    [
      'a module imported before',
      (provider) => {
        @Module({ providers: [provider] })
        class Feature {}
        return { before: [Feature] };
      },
    ],
    [
      'a module imported after',
      (provider) => {
        @Module({ providers: [provider] })
        class Feature {}
        return { after: [Feature] };
      },
    ],
    ['the root module', (provider) => ({ providers: [provider] })],
  ])('destroys a provider of %s only after step bodies have ended', async (_where, settingsOf) => {
    const journal = new Journal();
    @Injectable()
    class Gateway implements OnModuleDestroy {
      onModuleDestroy(): void {
        journal.note('gateway destroyed');
      }
    }
    const first = await apps.start(
      { ...settingsOf(Gateway), options: { shutdown: { graceMs: 5_000 } } },
      journal,
    );
    await inFirstStep(first, `destroyed ${_where}`);

    const closing = first.app.close();
    await apps.timeForMuch();
    journal.open('first');
    await closing;

    expect(journal.entries).toEqual(['first begins', 'first ends', 'gateway destroyed']);
  });

  describe('with a PrismaService that disconnects in onModuleDestroy', () => {
    /** What is connected to the database of this file, but for the one that asks. */
    async function connections(): Promise<number> {
      const client = new pg.Client({ connectionString: apps.url });
      await client.connect();
      const { rows } = await client.query<{ count: number }>(
        `SELECT count(*)::int AS count FROM pg_stat_activity
          WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'`,
      );
      await client.end();
      return rows[0]!.count;
    }

    function prismaService(journal: Journal): Type<PrismaClient> {
      @Injectable()
      class PrismaService extends PrismaClient implements OnModuleDestroy {
        constructor() {
          super({ adapter: new PrismaPg({ connectionString: apps.url }) });
        }

        async onModuleDestroy(): Promise<void> {
          journal.note('prisma disconnects');
          await this.$disconnect();
        }
      }
      return PrismaService;
    }

    it.each<[string, (service: Type) => Partial<NestAppSettings>]>([
      [
        'in a global module before DbosModule',
        (service) => {
          @Global()
          @Module({ providers: [service], exports: [service] })
          class PrismaModule {}
          return { before: [PrismaModule] };
        },
      ],
      [
        'in a global module after DbosModule',
        (service) => {
          @Global()
          @Module({ providers: [service], exports: [service] })
          class PrismaModule {}
          return { after: [PrismaModule] };
        },
      ],
      [
        'in a module before DbosModule',
        (service) => {
          @Module({ providers: [service], exports: [service] })
          class PrismaModule {}
          return { before: [PrismaModule] };
        },
      ],
      ['in the root module', (service) => ({ providers: [service] })],
    ])('drains before it disconnects: %s', async (where, settingsOf) => {
      const journal = new Journal();
      const service = prismaService(journal);
      const before = await connections();
      const first = await apps.start(
        {
          ...settingsOf(service),
          dbos: [DbosModule.forRoot({ ...QUICK, prisma: service, shutdown: { graceMs: 5_000 } })],
        },
        journal,
      );
      await inFirstStep(first, `prisma ${where}`);

      const closing = first.app.close();
      await apps.timeForMuch();
      journal.open('first');
      await closing;

      expect(journal.entries).toEqual(['first begins', 'first ends', 'prisma disconnects']);
      await eventually(async () => expect(await connections()).toBeLessThanOrEqual(before));
    });
  });
});
