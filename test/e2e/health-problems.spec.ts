// Each part of the health report says what its source says: a test for every field, which ends with the source.
import { Controller, Get, Injectable } from '@nestjs/common';
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus';
import type { HealthCheckResult } from '@nestjs/terminus';
import {
  CheckpointRepository,
  DbosHealth,
  DbosModule,
  type DbosReadiness,
  type HealthProblemCode,
} from 'nestjs-dbos';
import { DbosHealthIndicator } from 'nestjs-dbos/terminus';
import request from 'supertest';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { startDeafProxy } from '../support/deaf-proxy.js';
import { eventually } from '../support/eventually.js';
import { useScriptedApps, type ScriptedApp } from '../support/scripted-app.js';
import { NestApps, startNestApp, type NestApp } from '../support/nest-app.js';
import { startTestApp, type TestApp, type TestAppSettings } from '../support/test-app.js';
import { connectionError } from '../support/faulty-client.js';

const NEVER_MS = 60_000;

const codesOf = ({ problems }: DbosReadiness): HealthProblemCode[] =>
  problems.map(({ code }) => code);

describe('The health report', () => {
  const apps = useScriptedApps();
  const readiness = (app: ScriptedApp): Promise<DbosReadiness> => app.get(DbosHealth).readiness();

  it('is without problems while all is well', async () => {
    const app = await apps.start();
    await eventually(async () => {
      expect(await readiness(app)).toMatchObject({
        ready: true,
        problems: [],
        executor: {
          id: app.get(Engine).executorId,
          isRunning: true,
          leaseAgeMs: expect.any(Number),
          leaseMs: 10_000,
          slots: { used: 0, limit: 1_000 },
        },
        notifications: 'off',
        recovery: { phase: 'done' },
      });
    });
  });

  it('names every background duty, and when it was last done', async () => {
    const app = await apps.start();
    await eventually(async () => {
      const { loops } = await readiness(app);
      const done = loops.filter(({ lastTickAt }) => lastTickAt !== null);
      expect(loops.map(({ name }) => name).toSorted()).toEqual([
        'Claiming workflows',
        'Firing schedules',
        'Looking for cancelled workflows',
        'Reading streams',
        'Recovery',
        'The heartbeat',
        'Watching deadlines',
        'Watching for arrivals',
        'Watching for outcomes',
        'Watching statuses',
      ]);
      // There is no deadline, and none is looked for before its interval is over.
      const undone = loops.filter((loop) => !done.includes(loop)).map(({ name }) => name);
      expect(undone).toEqual(['Watching deadlines']);
    });
  });

  it('counts the runs that are at work', async () => {
    const app = await apps.start();
    let letGo: () => void = () => undefined;
    const handle = await app.begin(({ flow }) =>
      flow.step('hold', () => new Promise<void>((resolve) => (letGo = resolve))),
    );
    await eventually(async () =>
      expect((await readiness(app)).executor.slots).toEqual({ used: 1, limit: 1_000 }),
    );
    letGo();
    await handle.result();
  });

  it('is degraded by a heartbeat that is late', async () => {
    const app = await apps.start();
    const { lease } = app.get(Engine)['parts'].common;
    await eventually(async () => {
      lease['lastRenewedAt'] = (lease['lastRenewedAt'] ?? 0) - 7_000;
      expect(codesOf(await readiness(app))).toContain('lease-late');
    });
  });

  it('is degraded by a duty that fails', async () => {
    const app = await apps.start();
    app.faults.failNext('claim_workflows', connectionError, Infinity);
    await eventually(async () => {
      const report = await readiness(app);
      expect(codesOf(report)).toEqual(['loop-failing']);
      expect(report.ready).toBe(true);
    });
  });

  it('is degraded by workflows that are stranded or were set aside', async () => {
    const app = await apps.start();
    await app.prisma.$executeRaw`
      INSERT INTO dbos.workflows (id, name, status, serialization, input)
      VALUES ('lost', 'Gone', 'ENQUEUED', 'json', '[]'),
             ('fragile', 'Scripted', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED', 'json', '[]')`;

    const report = await readiness(app);

    expect(codesOf(report)).toEqual(['stranded', 'dead-letters']);
    expect(report.recovery).toMatchObject({ enqueued: 1, deadLettered: 1 });
    await app.workflows.delete(['lost', 'fragile']);
    expect(codesOf(await readiness(app))).toEqual([]);
  });

  it('shares one look at the database among those who ask at once', async () => {
    const app = await apps.start();
    await eventually(async () => expect((await readiness(app)).ready).toBe(true));
    const before = app.faults.matching('AS pong').length;

    await Promise.all([readiness(app), readiness(app), readiness(app)]);

    expect(app.faults.matching('AS pong').length - before).toBe(1);
  });

  it('counts a thousand of each kind and no more', async () => {
    const app = await apps.start();
    await app.prisma.$executeRaw`
      INSERT INTO dbos.workflows (id, name, status, serialization, input)
      SELECT 'many-' || n, 'Gone', 'ENQUEUED', 'json', '[]' FROM generate_series(1, 1100) AS n`;

    expect((await readiness(app)).recovery?.enqueued).toBe(1_000);
    expect((await app.workflows.recovery()).enqueued).toBe(1_100);
    await app.prisma.$executeRaw`DELETE FROM dbos.workflows`;
  });
});

describe('The health report of', () => {
  let database: TestDatabase;
  const opened: Array<{ close(): Promise<void> }> = [];

  beforeAll(async () => {
    database = await createTestDatabase();
  });

  afterEach(async () => {
    for (const app of opened.splice(0).toReversed()) await app.close();
  });

  afterAll(() => database.drop());

  async function start(options: TestAppSettings['options']): Promise<TestApp> {
    const app = await startTestApp({ url: database.url, options });
    opened.push(app);
    return app;
  }

  const readiness = ({ app }: TestApp | NestApp): Promise<DbosReadiness> =>
    app.get(DbosHealth).readiness();

  it('a process whose lease has run out says so, and is not ready', async () => {
    const app = await start({ leaseMs: 500 });
    app.faults.failNext('heartbeat', connectionError, Infinity);
    await eventually(async () => {
      expect(await readiness(app)).toMatchObject({ ready: false, reason: 'lease expired' });
    });
  });

  it('a process that listens is without problems', async () => {
    const app = await start({ sessionUrl: database.url });
    await eventually(async () => {
      expect(await readiness(app)).toMatchObject({ notifications: 'listening', problems: [] });
    });
  });

  it('one to which no notification comes is degraded, and so is one whose session broke', async () => {
    const proxy = await startDeafProxy(database.url);
    opened.push(proxy);
    const app = await start({ sessionUrl: proxy.url(database.url) });
    await eventually(async () => {
      const report = await readiness(app);
      expect([report.notifications, ...codesOf(report)]).toEqual(['deaf', 'not-listening']);
    });

    await proxy.close();

    await eventually(async () => {
      const report = await readiness(app);
      expect([report.notifications, ...codesOf(report)]).toEqual(['lost', 'not-listening']);
    });
  });

  it('a database that is slower than it may be is degraded', async () => {
    const app = await start({ health: { databaseMs: 0 } });
    await eventually(async () => expect(codesOf(await readiness(app))).toEqual(['database-slow']));
  });

  it('a queue on which something waits for long is degraded, unless it is paused', async () => {
    const app = await startNestApp({
      url: database.url,
      after: [DbosModule.registerQueue({ name: 'parcels' })],
    });
    opened.push(app);
    // Of a name that others run: it is stranded here as well.
    await app.prisma.$executeRaw`
      INSERT INTO dbos.workflows (id, name, status, serialization, input, queue, partition_key, updated_at)
      VALUES ('old', 'Elsewhere', 'ENQUEUED', 'json', '[]', 'parcels', NULL, now() - interval '6 minutes'),
             ('older', 'Elsewhere', 'ENQUEUED', 'json', '[]', 'parcels', 'a', now() - interval '9 minutes')`;

    const report = await readiness(app);
    expect(codesOf(report)).toEqual(['queue-old', 'stranded']);
    expect(report.queues).toMatchObject([{ name: 'parcels', paused: false, enqueued: 2 }]);
    expect(report.queues?.[0]?.oldestMs).toBeGreaterThanOrEqual(540_000);

    await app.app.get(Engine).queues.pause('parcels');
    expect(codesOf(await readiness(app))).toEqual(['stranded']);
    await app.prisma.$executeRaw`DELETE FROM dbos.workflows`;
  });

  it('a queue counts no more of it than was asked for', async () => {
    const app = await startNestApp({
      url: database.url,
      after: [DbosModule.registerQueue({ name: 'parcels' })],
    });
    opened.push(app);
    await app.prisma.$executeRaw`
      INSERT INTO dbos.workflows (id, name, status, serialization, input, queue, partition_key)
      SELECT 'many-' || n, 'Elsewhere', 'ENQUEUED', 'json', '[]', 'parcels', CASE WHEN n > 5 THEN 'a' END
        FROM generate_series(1, 10) AS n`;
    const { queues } = app.app.get(CheckpointRepository);

    const counted = async (atMost: number): Promise<number | undefined> =>
      (await queues.backlogs(['parcels', 'unknown'], atMost))[0]?.enqueued;

    expect([await counted(2), await counted(100)]).toEqual([4, 10]);
    await app.prisma.$executeRaw`DELETE FROM dbos.workflows`;
  });
});

@Controller('health')
@Injectable()
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

describe('Terminus', () => {
  let apps: NestApps;

  beforeAll(async () => {
    apps = await NestApps.open();
  });

  afterEach(() => apps.endAll());
  afterAll(() => apps.close());

  it('answers with 200 and the problems while work goes on and something is wrong', async () => {
    const nestApp = await apps.start([DbosHealthIndicator], {
      before: [TerminusModule],
      controllers: [HealthController],
      options: { health: { databaseMs: 0 }, pollIntervalMs: NEVER_MS },
    });

    const { body } = await request(nestApp.app.getHttpServer() as never)
      .get('/health')
      .expect(200);

    expect(body).toMatchObject({
      details: { dbos: { problems: [{ code: 'database-slow', message: expect.any(String) }] } },
    });
    expect(body.details.dbos.status).toBe(knowsDegraded(nestApp) ? 'degraded' : 'up');
  });

  /** From Terminus 12 on. */
  function knowsDegraded({ app }: NestApp): boolean {
    return 'degraded' in app.get(DbosHealthIndicator)['indicators'].check('any');
  }
});
