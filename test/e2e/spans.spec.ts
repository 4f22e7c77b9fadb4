// The spans that an application with an OpenTelemetry SDK gets, and that one without pays nothing for them.
import { channel } from 'node:diagnostics_channel';
import { context, trace, SpanKind, SpanStatusCode } from '@opentelemetry/api';
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base';
import type { OperationReport } from '../../libs/dbos/src/engine/checkpoint.js';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { eventually } from '../support/eventually.js';
import { TestTelemetry } from '../support/open-telemetry.js';
import { queueOf, useScriptedApps, type Script } from '../support/scripted-app.js';

const CHANNELS = ['call', 'workflow', 'step']
  .flatMap((subject) => [`${subject}.start`, `${subject}.end`])
  .concat('step.retry', 'step.replay', 'workflow.recovery');

const heardChannels = (): string[] =>
  CHANNELS.filter((name) => channel(`nestjs-dbos:${name}`).hasSubscribers);

const parentOf = (span: ReadableSpan): string | undefined => span.parentSpanContext?.spanId;

describe('With an OpenTelemetry SDK', () => {
  let telemetry: TestTelemetry;

  beforeAll(() => {
    telemetry = new TestTelemetry();
  });

  afterEach(() => telemetry.reset());
  afterAll(() => telemetry.disable());

  const apps = useScriptedApps({
    options: { applicationVersion: 'v7', leaseMs: 1_000 },
    providers: [queueOf({ name: 'away' })],
  });

  it('B67: a start, its run and its steps are one trace, each within the other', async () => {
    const app = await apps.start();
    const caller = trace.getTracer('test').startSpan('request');

    const handle = await context.with(trace.setSpan(context.active(), caller), () =>
      app.begin(async ({ flow }) => {
        await flow.step('charge', () => 1);
        await flow.step('ship', () => 2);
      }),
    );
    await handle.result();
    caller.end();

    const [start, run] = [
      await telemetry.one('start Scripted'),
      await telemetry.one('workflow Scripted'),
    ];
    const steps = [await telemetry.one('step charge'), await telemetry.one('step ship')];
    expect(parentOf(start)).toBe(caller.spanContext().spanId);
    expect(parentOf(run)).toBe(start.spanContext().spanId);
    expect(steps.map(parentOf)).toEqual([run.spanContext().spanId, run.spanContext().spanId]);
    const traces = [caller, start, run, ...steps].map((span) => span.spanContext().traceId);
    expect(new Set(traces).size).toBe(1);
    expect([start.kind, run.kind]).toEqual([SpanKind.PRODUCER, SpanKind.CONSUMER]);
  });

  it('B67: spans say which workflow, step, executor and version they are of', async () => {
    const app = await apps.start();

    const handle = await app.begin(({ flow }) => flow.step('charge', () => 1), 'attributed');
    await handle.result();

    const executorId = (await telemetry.one('workflow Scripted')).attributes['dbos.executor.id'];
    const origin = { 'dbos.executor.id': executorId, 'dbos.application.version': 'v7' };
    expect((await telemetry.one('start Scripted')).attributes).toMatchObject({
      ...origin,
      'dbos.operation.type': 'start',
      'dbos.operation.name': 'Scripted',
      'dbos.operation.workflow_id': 'attributed',
    });
    expect((await telemetry.one('workflow Scripted')).attributes).toMatchObject({
      ...origin,
      'dbos.operation.type': 'workflow',
      'dbos.operation.workflow_id': 'attributed',
      'dbos.workflow.epoch': 1,
      'dbos.workflow.recovery_attempts': 0,
      'dbos.workflow.outcome': 'succeeded',
    });
    expect((await telemetry.one('step charge')).attributes).toMatchObject({
      ...origin,
      'dbos.operation.type': 'step',
      'dbos.operation.workflow_id': 'attributed',
      'dbos.workflow.name': 'Scripted',
      'dbos.step.id': '0',
      'dbos.step.attempts': 1,
    });
    expect(executorId).toEqual(expect.any(String));
  });

  it('B67: a step is the active span while its body runs', async () => {
    const app = await apps.start();
    let active: string | undefined;

    const handle = await app.begin(({ flow }) =>
      flow.step('charge', () => void (active = trace.getActiveSpan()?.spanContext().spanId)),
    );
    await handle.result();

    expect(active).toBe((await telemetry.one('step charge')).spanContext().spanId);
  });

  it('B67: the run does not belong to the span of whoever happened to wake it', async () => {
    const app = await apps.start();
    let active: string | undefined;

    const handle = await app.begin(
      () => void (active = trace.getActiveSpan()?.spanContext().spanId),
    );
    await handle.result();

    expect(active).toBe((await telemetry.one('workflow Scripted')).spanContext().spanId);
  });

  it('B67: what fails is an error with its class and message, and its retries are events', async () => {
    const app = await apps.start();

    const handle = await app.begin(({ flow }) =>
      flow.step(
        'charge',
        () => {
          throw new RangeError('too much');
        },
        { maxRetries: 1, baseIntervalMs: 1 },
      ),
    );
    await handle.result().catch(() => undefined);

    const [step, run] = [
      await telemetry.one('step charge'),
      await telemetry.one('workflow Scripted'),
    ];
    expect(step.status.code).toBe(SpanStatusCode.ERROR);
    expect(step.attributes).toMatchObject({
      'dbos.step.attempts': 2,
      'error.type': 'DBOS_STEP_RETRIES_EXHAUSTED',
    });
    expect(step.events.find(({ name }) => name === 'dbos.step.retry')?.attributes).toMatchObject({
      'dbos.step.attempt': 1,
      'error.type': 'RangeError',
    });
    expect(run.status).toMatchObject({ code: SpanStatusCode.ERROR });
    expect(run.attributes['dbos.workflow.outcome']).toBe('failed');
  });

  it('B67: a child is in the trace of its parent', async () => {
    const app = await apps.start({ child: () => 'done' });

    const handle = await app.begin(async ({ start }) => (await start('child')).result());
    await handle.result();

    const [child, parent] = await telemetry.ended('workflow Scripted', 2);
    const starts = await telemetry.ended('start Scripted', 2);
    const startOfChild = starts.find(
      ({ attributes }) => attributes['dbos.operation.workflow_id'] === 'child',
    );
    expect(parentOf(child!)).toBe(startOfChild?.spanContext().spanId);
    expect(parentOf(startOfChild!)).toBe(parent!.spanContext().spanId);
  });

  it('B67: sending a message is a span that names the topic', async () => {
    const app = await apps.start();
    const handle = await app.begin(({ flow }) => flow.recv('approval'), 'awaiting');

    await app.workflows.send('awaiting', 'yes', { topic: 'approval' });
    await handle.result();

    expect((await telemetry.one('send approval')).attributes).toMatchObject({
      'dbos.operation.type': 'send',
      'dbos.operation.workflow_id': 'awaiting',
    });
  });

  it('B67: a run after a recovery is linked with the run before it, and tells what it replayed', async () => {
    const app = await apps.start();
    let lives = 0;
    const handle = await app.begin(async ({ flow }) => {
      for (let index = 0; index < 60; index += 1) await flow.step('charge', () => index);
      await flow.step('ship', async ({ signal }) => {
        lives += 1;
        if (lives > 1) return;
        await new Promise<void>((resolve) => {
          signal.addEventListener('abort', () => resolve(), { once: true });
        });
      });
    });
    await eventually(() => expect(lives).toBe(1));

    await app.prisma.$executeRaw`UPDATE dbos.executors SET dead_at = now() WHERE dead_at IS NULL`;
    await handle.result();

    const [first, second] = await telemetry.ended('workflow Scripted', 2);
    expect(first!.attributes['dbos.workflow.outcome']).toBe('left');
    expect(second!.attributes).toMatchObject({
      'dbos.workflow.epoch': 2,
      'dbos.workflow.recovery_attempts': 1,
      'dbos.workflow.replayed_steps': 60,
      'dbos.workflow.outcome': 'succeeded',
    });
    expect(second!.links.map(({ context: linked }) => linked.spanId)).toEqual([
      first!.spanContext().spanId,
    ]);
    const replayed = second!.events.filter(({ name }) => name === 'dbos.step.replayed');
    expect(replayed).toHaveLength(50);
    expect(replayed[0]?.attributes).toMatchObject({
      'dbos.operation.name': 'charge',
      'dbos.step.id': '0',
      'dbos.operation.cached': true,
    });
    expect(telemetry.spans.filter(({ name }) => name === 'step charge')).toHaveLength(60);
  });

  it('B67: what dies in one process goes on in another within the trace of its start, and is linked with it', async () => {
    const { handle } = await apps.relive(async ({ flow, die }) => {
      await die();
      await flow.step('charge', () => 1);
    });

    await handle.result();

    const start = await telemetry.one('start Scripted');
    const step = await telemetry.one('step charge');
    const runs = await telemetry.ended('workflow Scripted', 2);
    const run = runs.find(({ attributes }) => attributes['dbos.workflow.epoch'] === 2);
    const { traceId, spanId } = start.spanContext();
    const ofTrace = expect.objectContaining({ traceId, spanId }) as unknown;
    expect(run!.spanContext().traceId).toBe(traceId);
    expect(parentOf(run!)).toBe(spanId);
    expect(run!.links).toMatchObject([
      { context: ofTrace, attributes: { 'dbos.link.type': 'start' } },
    ]);
    expect(parentOf(step)).toBe(run!.spanContext().spanId);
  });

  it('B67: what one process enqueues and another runs is one trace, with its children', async () => {
    const away: Script = async ({ start }) => (await start('away-child')).result();
    const shop = await apps.start({ away, 'away-child': () => 'done' });
    const desk = await apps.start({}, { runWorkflows: false });

    await desk.get(Engine).queues.enqueue('away', 'Scripted', [], { workflowId: 'away' });
    await shop.workflows.handle('away').result();

    const enqueued = await telemetry.one('enqueue Scripted');
    const runs = await telemetry.ended('workflow Scripted', 2);
    const traces = runs.map((span) => span.spanContext().traceId);
    expect(traces).toEqual(traces.map(() => enqueued.spanContext().traceId));
    expect(runs.map(parentOf)).toContain(enqueued.spanContext().spanId);
  });

  it('B67: a step whose run was taken away ends interrupted, which is no error', async () => {
    const app = await apps.start();
    let hasBegun = false;
    const handle = await app.begin(({ flow }) =>
      flow.step('ship', async ({ signal }) => {
        hasBegun = true;
        await new Promise<void>((resolve) => {
          signal.addEventListener('abort', () => resolve(), { once: true });
        });
      }),
    );
    await eventually(() => expect(hasBegun).toBe(true));

    await app.workflows.cancel(handle.workflowId);

    const [step, run] = [
      await telemetry.one('step ship'),
      await telemetry.one('workflow Scripted'),
    ];
    expect(step.attributes['dbos.step.interrupted']).toBe(true);
    expect([step.status.code, run.status.code]).toEqual([
      SpanStatusCode.UNSET,
      SpanStatusCode.UNSET,
    ]);
    expect(run.attributes['dbos.workflow.outcome']).toBe('cancelled');
  });

  it('two applications make the spans of their own workflows only', async () => {
    const [one] = [await apps.start(), await apps.start()];

    await (await one.begin(({ flow }) => flow.step('charge', () => 1))).result();

    await telemetry.one('workflow Scripted');
    expect(telemetry.spans.filter(({ name }) => name === 'step charge')).toHaveLength(1);
  });

  it('an application that was closed hears nothing any more', async () => {
    const before = heardChannels(); // channels belong to the process, and so to all files of a test worker
    const app = await apps.start();
    expect(heardChannels()).not.toEqual([]);

    await app.close();

    expect(heardChannels()).toEqual(before);
  });
});

describe('Without an OpenTelemetry SDK', () => {
  const apps = useScriptedApps();

  it('B67: nothing subscribes, so that the engine makes no event', async () => {
    const app = await apps.start();

    const { executor } = app.get(Engine)['parts'];
    const events: unknown[] = [];

    const handle = await app.begin(({ flow }) =>
      flow.step('charge', () => {
        const [run] = executor.running;
        const [activity] = run!.activities.list();
        events.push(run!.diagnosed, (activity!.report as OperationReport).diagnosed);
      }),
    );
    await handle.result();

    expect(events).toEqual([undefined, undefined]);
    expect(heardChannels()).toEqual([]);
  });
});

describe('With an SDK that the module is not to use', () => {
  let telemetry: TestTelemetry;
  const apps = useScriptedApps({ options: { telemetry: false } });

  beforeAll(() => {
    telemetry = new TestTelemetry();
  });

  afterAll(() => telemetry.disable());

  it('there are no spans', async () => {
    const app = await apps.start();

    await (await app.begin(() => 1)).result();

    expect(telemetry.spans).toEqual([]);
  });
});
