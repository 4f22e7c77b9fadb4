// What an orchestrator and an operator see: liveness, readiness, and how far recovery is.
import { Controller, Get, Injectable, type Type } from '@nestjs/common';
import type { AbstractHttpAdapter } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus';
import type { HealthCheckResult } from '@nestjs/terminus';
import { DbosHealth, DbosHealthController, Step, Workflow, WorkflowContext } from 'nestjs-dbos';
import { DbosHealthIndicator } from 'nestjs-dbos/terminus';
import request from 'supertest';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { createNestApp, type NestApp, type NestAppSettings } from '../support/nest-app.js';
import { startTestApp } from '../support/test-app.js';

/** On a busy machine; a statement to a database that does not answer is given up after ten seconds. */
const AT_ONCE_MS = 5_000;

/** Holds every step body until the test lets them go, or their executor ends. */
class Gate {
  entered = 0;
  private opened = deferred<void>();

  async pass(signal: AbortSignal): Promise<void> {
    this.entered += 1;
    const aborted = new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    await Promise.race([this.opened.promise, aborted]);
  }

  open(): void {
    this.opened.resolve();
  }
}

@Injectable()
class Jobs {
  constructor(
    private readonly gate: Gate,
    private readonly flow: WorkflowContext,
  ) {}

  @Workflow()
  async good(): Promise<string> {
    await this.wait();
    return 'good';
  }

  @Workflow()
  async bad(): Promise<void> {
    await this.wait();
    throw new Error('bad');
  }

  @Workflow({ maxRecoveryAttempts: 0 })
  async fragile(): Promise<void> {
    await this.wait();
  }

  /** Leaves memory after its first step, and comes back. */
  @Workflow()
  async sleepy(): Promise<string> {
    await this.wait();
    await this.flow.sleep(30);
    await this.flow.sleep(30);
    return 'slept';
  }

  @Step()
  async wait(): Promise<void> {
    await this.gate.pass(this.flow.stepContext.signal);
  }
}

@Injectable()
class Retired {
  constructor(
    private readonly gate: Gate,
    private readonly flow: WorkflowContext,
  ) {}

  @Workflow()
  async run(): Promise<void> {
    await this.flow.step('wait', ({ signal }) => this.gate.pass(signal));
  }
}

describe('Health', () => {
  let database: TestDatabase;
  const opened: Array<{ nestApp: NestApp; gate: Gate }> = [];

  beforeAll(async () => {
    database = await createTestDatabase();
  });

  afterEach(async () => {
    for (const { nestApp, gate } of opened.splice(0)) {
      gate.open();
      nestApp.database.state = 'up';
      await nestApp.prisma.$executeRaw`TRUNCATE dbos.workflows, dbos.steps`;
      await nestApp.close();
    }
  });

  afterAll(async () => {
    await database.drop();
  });

  async function create(
    settings: Partial<NestAppSettings> = {},
  ): Promise<NestApp & { gate: Gate; health: DbosHealth }> {
    const gate = new Gate();
    const nestApp = await createNestApp({
      url: database.url,
      controllers: [DbosHealthController],
      ...settings,
      providers: [{ provide: Gate, useValue: gate }, Jobs, ...(settings.providers ?? [])],
    });
    opened.push({ nestApp, gate });
    return { ...nestApp, gate, health: nestApp.app.get(DbosHealth) };
  }

  async function start(settings: Partial<NestAppSettings> = {}): ReturnType<typeof create> {
    const created = await create(settings);
    await created.app.init();
    return created;
  }

  /** Everything that readiness waits for at the start is there. */
  async function startReady(settings: Partial<NestAppSettings> = {}): ReturnType<typeof create> {
    const started = await start(settings);
    await eventually(async () => {
      expect(await started.health.readiness()).toMatchObject({ recovery: { phase: 'done' } });
    });
    return started;
  }

  type Job = 'good' | 'bad' | 'fragile' | 'sleepy';

  /** Workflows whose process has died while they were in their first step. */
  async function abandon(jobs: readonly Job[], retired = 0): Promise<void> {
    const gate = new Gate();
    const dying = await startTestApp({
      url: database.url,
      providers: [{ provide: Gate, useValue: gate }, Jobs, Retired],
    });
    for (const job of jobs) await dying.workflows.start(Jobs)[job]();
    for (let count = 0; count < retired; count += 1) await dying.workflows.start(Retired).run();
    await eventually(() => expect(gate.entered).toBe(jobs.length + retired));
    await dying.kill();
  }

  describe('of a process', () => {
    it('B25: is alive as soon as it answers, ready only once workflows may run', async () => {
      const { health, app } = await create();
      expect(health.liveness()).toEqual({ alive: true });
      expect(await health.readiness()).toMatchObject({
        ready: false,
        reason: 'engine not running',
      });
      await app.init();
      expect(await health.readiness()).toMatchObject({ ready: true });
    });

    it('B25: is no longer ready once its shutdown has begun', async () => {
      const { health, app, workflows, gate } = await startReady();
      await workflows.start(Jobs).good();
      await eventually(() => expect(gate.entered).toBe(1));

      const stopping = app.get(Engine).shutdown({ graceMs: 5_000 });
      const during = await health.readiness();
      gate.open();
      await stopping;

      expect(during).toMatchObject({ ready: false, reason: 'engine not running' });
      expect(health.liveness()).toEqual({ alive: true });
    });

    it('B25: is not ready while the database refuses, and says so at once', async () => {
      const { health, database: connection } = await startReady();
      connection.state = 'refusing';
      const startedAt = performance.now();
      expect(await health.readiness()).toMatchObject({
        ready: false,
        reason: 'database unreachable',
      });
      expect(performance.now() - startedAt).toBeLessThan(AT_ONCE_MS);
    });

    it('B25: is not ready while the database does not answer, and says so in time for a probe', async () => {
      const { health, database: connection } = await startReady();
      connection.state = 'silent';
      const startedAt = performance.now();
      expect(await health.readiness()).toMatchObject({
        ready: false,
        reason: 'database unreachable',
      });
      expect(performance.now() - startedAt).toBeLessThan(2_000 + AT_ONCE_MS);
    });

    it('B25: is ready again when the database is back', async () => {
      const { health, database: connection } = await startReady();
      connection.state = 'refusing';
      await health.readiness();
      connection.state = 'up';
      expect(await health.readiness()).toMatchObject({ ready: true });
    });
  });

  const PLATFORMS: Array<[string, () => AbstractHttpAdapter]> = [
    ['Express', () => new ExpressAdapter()],
    ['Fastify', () => new FastifyAdapter()],
  ];

  /** Serves `controllers` below `/api`. */
  async function serve(
    adapter: AbstractHttpAdapter,
    settings: Partial<NestAppSettings> = {},
  ): Promise<{ nestApp: NestApp; get: (path: string) => request.Test }> {
    const nestApp = await create({ ...settings, adapter });
    nestApp.app.setGlobalPrefix('api');
    await nestApp.app.init();
    if (nestApp.app.getHttpAdapter().getType() === 'fastify') {
      await (nestApp.app as NestFastifyApplication).getHttpAdapter().getInstance().ready();
    }
    const server = nestApp.app.getHttpServer() as Parameters<typeof request>[0];
    return { nestApp, get: (path) => request(server).get(path) };
  }

  describe.each(PLATFORMS)('over HTTP on %s, under a global prefix', (_platform, adapter) => {
    it('B25: answers 200 to both probes of a healthy process', async () => {
      const { get } = await serve(adapter());
      await get('/api/dbos/health/live').expect(200, { alive: true });
      const { body } = await get('/api/dbos/health/ready').expect(200);
      expect(body).toMatchObject({ ready: true, databaseMs: expect.any(Number) });
    });

    it('B25: answers 503 for readiness and 200 for liveness without the database', async () => {
      const { nestApp, get } = await serve(adapter());
      nestApp.database.state = 'refusing';
      const { body } = await get('/api/dbos/health/ready').expect(503);
      expect(body).toMatchObject({ ready: false, reason: 'database unreachable' });
      await get('/api/dbos/health/live').expect(200);
    });

    it('B25: answers for liveness at once while the database does not answer', async () => {
      const { nestApp, get } = await serve(adapter());
      nestApp.database.state = 'silent';
      const startedAt = performance.now();
      await get('/api/dbos/health/live').expect(200);
      expect(performance.now() - startedAt).toBeLessThan(AT_ONCE_MS);
    });

    it('forbids caching', async () => {
      const { get } = await serve(adapter());
      const { headers } = await get('/api/dbos/health/ready');
      expect(headers['cache-control']).toBe('no-store');
    });

    it('B25: tells Terminus that it is up, with its recovery', async () => {
      const { get } = await serve(adapter(), { before: [TerminusModule], ...withTerminus() });
      const { body } = await get('/api/health').expect(200);
      expect(body).toMatchObject({
        status: 'ok',
        details: { dbos: { status: 'up', recovery: { found: 0 } } },
      });
    });

    it('B25: tells Terminus that it is down, with the reason', async () => {
      const { nestApp, get } = await serve(adapter(), {
        before: [TerminusModule],
        ...withTerminus(),
      });
      nestApp.database.state = 'refusing';
      const { body } = await get('/api/health').expect(503);
      expect(body).toMatchObject({
        status: 'error',
        error: { dbos: { status: 'down', reason: 'database unreachable' } },
      });
    });
  });

  /** What an application with `@nestjs/terminus` writes. */
  function withTerminus(): { providers: Type[]; controllers: Type[] } {
    @Controller('health')
    class HealthController {
      constructor(
        private readonly health: HealthCheckService,
        private readonly dbos: DbosHealthIndicator,
      ) {}

      @Get()
      @HealthCheck()
      check(): Promise<HealthCheckResult> {
        return this.health.check([() => this.dbos.isHealthy('dbos')]);
      }
    }
    return { providers: [DbosHealthIndicator], controllers: [HealthController] };
  }

  describe('of recovery', () => {
    it('B25: is idle before the launch', async () => {
      const { workflows } = await create();
      expect(await workflows.recovery()).toMatchObject({ phase: 'idle', found: 0, replaying: 0 });
    });

    it('B25: is done at once when there is nothing to recover', async () => {
      const { workflows } = await start();
      await eventually(async () => {
        expect(await workflows.recovery()).toMatchObject({ phase: 'done', found: 0, recovered: 0 });
      });
    });

    it('B25: is running, with counts, while recovered workflows are replayed', async () => {
      await abandon(['good', 'good', 'bad']);
      const { workflows, gate } = await start();
      await eventually(() => expect(gate.entered).toBe(3));

      expect(await workflows.recovery()).toMatchObject({
        phase: 'running',
        found: 3,
        replaying: 3,
        recovered: 0,
        failed: 0,
        pending: 3,
        oldestUnfinishedAt: expect.any(Date),
      });
    });

    it('B25: is ready for new work while it replays', async () => {
      await abandon(['good']);
      const { health, gate } = await start();
      await eventually(() => expect(gate.entered).toBe(1));
      expect(await health.readiness()).toMatchObject({
        ready: true,
        problems: [],
        recovery: { phase: 'running', replaying: 1, pending: 1 },
      });
    });

    it('B25: is done, with what became of each, when the replays have ended', async () => {
      await abandon(['good', 'good', 'bad', 'fragile']);
      const { workflows, gate } = await start();
      gate.open();

      await eventually(async () => {
        expect(await workflows.recovery()).toMatchObject({
          phase: 'done',
          found: 4,
          replaying: 0,
          recovered: 2,
          failed: 1,
          deadLettered: 1,
          pending: 0,
          oldestUnfinishedAt: null,
        });
      });
    });

    it('B25: is done although a workflow is stranded, and says which and why', async () => {
      await abandon(['good'], 2);
      const { workflows, gate } = await start();
      gate.open();

      await eventually(async () => {
        expect(await workflows.recovery()).toMatchObject({
          phase: 'done',
          recovered: 1,
          stranded: [{ name: 'Retired.run', count: 2, reason: expect.any(String) }],
        });
      });
    });

    it('B25: counts a recovered workflow once, however often it sleeps', async () => {
      await abandon(['sleepy']);
      const { workflows, gate } = await start({ options: { parkAfterMs: 0 } });
      gate.open();

      await eventually(async () => {
        expect(await workflows.recovery()).toMatchObject({ phase: 'done', delayed: 0, pending: 0 });
      });
      expect(await workflows.recovery()).toMatchObject({ found: 1, recovered: 1 });
    });

    it('B25: says since when the oldest unfinished workflow waits', async () => {
      await abandon(['good']);
      const { workflows, gate, prisma } = await start();
      await eventually(() => expect(gate.entered).toBe(1));
      const [row] = await prisma.$queryRaw<Array<{ createdAt: Date }>>`
        SELECT created_at AS "createdAt" FROM dbos.workflows`;
      expect((await workflows.recovery()).oldestUnfinishedAt).toEqual(row?.createdAt);
    });
  });
});
