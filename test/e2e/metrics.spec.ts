// Metrics as Prometheus scrapes them, and as instruments of OpenTelemetry.
import type { INestApplication } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { channel } from 'node:diagnostics_channel';
import { DbosHealth, DbosMetrics, DbosMetricsController, DbosModule } from 'nestjs-dbos';
import request from 'supertest';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { PrometheusMetrics } from '../../libs/dbos/src/nest/telemetry/prometheus.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { createNestApp } from '../support/nest-app.js';
import { TestTelemetry } from '../support/open-telemetry.js';
import { parsePrometheus, type Sample } from '../support/prometheus-text.js';
import { useScriptedApps, type ScriptedApp } from '../support/scripted-app.js';

/** The values of a metric by one of its labels, or all of them as JSON. */
function values(samples: readonly Sample[], name: string, label?: string): Record<string, number> {
  const found = samples.filter((sample) => sample.name === name);
  return Object.fromEntries(
    found.map(({ labels, value }) => [
      label === undefined ? JSON.stringify(labels) : (labels[label] ?? ''),
      value,
    ]),
  );
}

const scrape = async (app: ScriptedApp): Promise<Sample[]> =>
  parsePrometheus(await app.get(DbosMetrics).prometheus());

describe('An application that mounts no metrics', () => {
  const apps = useScriptedApps();

  it('counts nothing', async () => {
    const app = await apps.start();
    await (await app.begin(() => 1)).result();
    expect(channel('nestjs-dbos:workflow.end').hasSubscribers).toBe(false);
    expect(app.get(Engine).isRunning).toBe(true);
  });

  it('counts from its first question on', async () => {
    const app = await apps.start();
    await scrape(app);
    await (await app.begin(() => 1)).result();
    await eventually(async () => {
      const counts = values(
        await scrape(app),
        'dbos_workflow_run_duration_seconds_count',
        'workflow',
      );
      expect(counts).toEqual({ Scripted: 1 });
    });
  });
});

describe('The metrics for Prometheus', () => {
  const apps = useScriptedApps({ controllers: [DbosMetricsController] });

  it('count starts, runs by their outcome, and steps with their retries', async () => {
    const app = await apps.start();
    await (await app.begin(({ flow }) => flow.step('charge', () => 1))).result();
    let tries = 0;
    const failing = await app.begin(({ flow }) =>
      flow
        .step(
          'ship',
          () => {
            tries += 1;
            if (tries < 3) throw new Error('not yet');
          },
          { maxRetries: 5, baseIntervalMs: 1 },
        )
        .then(() => {
          throw new Error('no');
        }),
    );
    await failing.result().catch(() => undefined);

    await eventually(async () => {
      const samples = await scrape(app);
      expect(values(samples, 'dbos_workflow_run_duration_seconds_count', 'outcome')).toEqual({
        succeeded: 1,
        failed: 1,
      });
      expect(values(samples, 'dbos_workflow_starts_total', 'kind')).toEqual({ start: 2 });
      expect(values(samples, 'dbos_step_duration_seconds_count', 'step')).toEqual({
        charge: 1,
        ship: 1,
      });
      expect(values(samples, 'dbos_step_retries_total', 'step')).toEqual({ ship: 2 });
    });
  });

  it('count what is recovered and replayed', async () => {
    const { app, handle } = await apps.relive(async ({ flow, die }) => {
      await flow.step('charge', () => 1);
      await die();
    });
    await handle.result();

    await eventually(async () => {
      const samples = await scrape(app);
      expect(values(samples, 'dbos_workflow_recoveries_total', 'workflow')).toEqual({
        Scripted: 1,
      });
      expect(values(samples, 'dbos_step_replays_total', 'workflow')).toEqual({ Scripted: 1 });
    });
  });

  it('say how this process and the database are', async () => {
    const app = await apps.start();

    const samples = await scrape(app);

    expect(values(samples, 'dbos_executor_up')).toEqual({ '{}': 1 });
    expect(values(samples, 'dbos_database_up')).toEqual({ '{}': 1 });
    expect(values(samples, 'dbos_workflow_unfinished', 'status')).toEqual({
      PENDING: 0,
      ENQUEUED: 0,
      DELAYED: 0,
      SUSPENDED: 0,
      MAX_RECOVERY_ATTEMPTS_EXCEEDED: 0,
    });
    const lease = values(samples, 'dbos_executor_lease_age_seconds')['{}'];
    expect(lease).toBeGreaterThanOrEqual(0);
    expect(lease).toBeLessThan(10);
    const failures = values(samples, 'dbos_loop_failures', 'loop');
    expect(failures).toMatchObject({ 'The heartbeat': 0, 'Claiming workflows': 0, Recovery: 0 });
  });

  it('name what is stranded', async () => {
    const app = await apps.start();
    await app.prisma.$executeRaw`
      INSERT INTO dbos.workflows (id, name, status, serialization, input)
      VALUES ('lost', 'Gone "for\\good"', 'ENQUEUED', 'json', '[]')`;

    const samples = await scrape(app);

    expect(values(samples, 'dbos_workflow_stranded', 'workflow')).toEqual({
      'Gone "for\\good"': 1,
    });
    expect(values(samples, 'dbos_problems', 'reason')).toEqual({ stranded: 1 });
    await app.workflows.delete('lost');
  });

  it('are told without a database, but for what only that knows', async () => {
    const app = await apps.start();
    await eventually(async () => expect((await scrape(app)).length).toBeGreaterThan(0));
    app.faults.die();

    const samples = await scrape(app);

    expect(values(samples, 'dbos_database_up')).toEqual({ '{}': 0 });
    expect(values(samples, 'dbos_executor_slots_limit')).toEqual({ '{}': 1_000 });
    expect(values(samples, 'dbos_workflow_unfinished', 'status')).toEqual({});
  });
});

describe('The metrics of queues', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterAll(() => database.drop());

  const PLATFORMS = [
    ['Express', () => new ExpressAdapter()],
    ['Fastify', () => new FastifyAdapter()],
  ] as const;

  it.each(PLATFORMS)('are served on %s, with depth and age', async (_platform, adapter) => {
    const nestApp = await createNestApp({
      url: database.url,
      adapter: adapter(),
      after: [DbosModule.registerQueue({ name: 'parcels' })],
      controllers: [DbosMetricsController],
    });
    await nestApp.app.init();
    await ready(nestApp.app);
    await nestApp.prisma.$executeRaw`
      INSERT INTO dbos.workflows (id, name, status, serialization, input, queue, updated_at)
      VALUES (${_platform}, 'Elsewhere', 'ENQUEUED', 'json', '[]', 'parcels', now() - interval '1 hour')`;

    const { text, headers } = await request(nestApp.app.getHttpServer() as never)
      .get('/dbos/metrics')
      .expect(200);

    expect(headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/);
    const samples = parsePrometheus(text);
    expect(values(samples, 'dbos_queue_depth', 'queue')).toEqual({ parcels: 1 });
    const age = values(samples, 'dbos_queue_oldest_age_seconds', 'queue')['parcels'];
    expect(age).toBeGreaterThanOrEqual(3_600);
    expect(age).toBeLessThan(4_200);
    expect(values(samples, 'dbos_queue_paused', 'queue')).toEqual({ parcels: 0 });
    await nestApp.prisma.$executeRaw`DELETE FROM dbos.workflows WHERE id = ${_platform}`;
    await nestApp.close();
  });
});

describe('With many names', () => {
  it('what is beyond two thousand series of a metric is counted together', () => {
    const metrics = new PrometheusMetrics();
    for (let index = 0; index < 2_010; index += 1)
      metrics.add('starts', 1, { workflow: `W${index}`, kind: 'start', outcome: 'succeeded' });

    const samples = parsePrometheus(metrics.text([]));

    expect(samples).toHaveLength(2_001);
    expect(values(samples, 'dbos_workflow_starts_total', 'workflow')['other']).toBe(10);
  });

  it('what is slower than every bucket is in the last', () => {
    const metrics = new PrometheusMetrics();
    metrics.record('runs', 10_000, { workflow: 'W', outcome: 'succeeded' });
    metrics.record('runs', 0.2, { workflow: 'W', outcome: 'succeeded' });

    const samples = parsePrometheus(metrics.text([]));

    const buckets = values(samples, 'dbos_workflow_run_duration_seconds_bucket', 'le');
    expect(buckets).toMatchObject({ '0.1': 0, '0.25': 1, '3600': 1, '+Inf': 2 });
    expect(values(samples, 'dbos_workflow_run_duration_seconds_sum', 'workflow')).toEqual({
      W: 10_000.2,
    });
  });
});

describe('The instruments of OpenTelemetry', () => {
  let telemetry: TestTelemetry;
  beforeAll(() => {
    telemetry = new TestTelemetry();
  });
  afterAll(() => telemetry.disable());
  const apps = useScriptedApps();

  it('count the same under the names of OpenTelemetry', async () => {
    const app = await apps.start();

    await (await app.begin(({ flow }) => flow.step('charge', () => 1))).result();

    await eventually(async () => {
      expect(await telemetry.metric('dbos.workflow.run.duration')).toEqual([
        {
          attributes: { 'dbos.workflow.name': 'Scripted', 'dbos.outcome': 'succeeded' },
          value: expect.objectContaining({ count: 1 }),
        },
      ]);
    });
    expect(await telemetry.metric('dbos.step.duration')).toMatchObject([
      { attributes: { 'dbos.step.name': 'charge', 'dbos.operation.type': 'step' } },
    ]);
    expect(await telemetry.metric('dbos.executor.up')).toEqual([{ attributes: {}, value: 1 }]);
    expect(await telemetry.metric('dbos.workflow.unfinished')).toHaveLength(5);
  });

  it('ask nothing of an application that was closed', async () => {
    const app = await apps.start();
    const health = app.get(DbosHealth);
    let asked = 0;
    const readiness = health.readiness.bind(health);
    health.readiness = () => {
      asked += 1;
      return readiness();
    };
    await telemetry.metric('dbos.executor.up');
    expect(asked).toBe(1);

    await app.close();
    await telemetry.metric('dbos.executor.up');

    expect(asked).toBe(1);
  });
});

/** Fastify takes requests only then. */
async function ready(app: INestApplication): Promise<void> {
  if (app.getHttpAdapter() instanceof FastifyAdapter)
    await (app as NestFastifyApplication).getHttpAdapter().getInstance().ready();
}
