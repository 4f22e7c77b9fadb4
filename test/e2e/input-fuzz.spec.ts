// Whatever is passed to a public entry: an error with a code of ours and nothing written, or it was taken as it is.
import { isDeepStrictEqual } from 'node:util';
import { Injectable, type INestApplication } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import fc from 'fast-check';
import {
  DbosModule,
  DbosTokensController,
  defineEvent,
  defineTopic,
  defineUpdate,
  getQueueToken,
  Queue,
  ScheduleService,
  Workflow,
  WorkflowContext,
  type WorkflowArchive,
  type WorkflowHandle,
} from 'nestjs-dbos';
import request from 'supertest';
import { z } from 'zod';
import { resolveEngineOptions } from '../../libs/dbos/src/engine/engine-options.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { HostileError, hostile, hostileText } from '../support/hostile-values.js';
import { NestApps, type NestApp } from '../support/nest-app.js';

/** Errors that are an outcome like others. */
const RECORDED = new Set<unknown>(['DBOS_RECV_TIMEOUT']);

/** `FUZZ_RUNS=20000 FUZZ_SEED=…` for more of it in all, and for others: the suite always asks the same. */
const RUNS = Number(process.env['FUZZ_RUNS'] ?? 300);
const SEED = { seed: Number(process.env['FUZZ_SEED'] ?? 1) };

/** What waits for others is let wait so long, and then counts as accepted. */
const WAITING_MS = 150;

@Injectable()
class Target {
  constructor(private readonly flow: WorkflowContext) {}

  body: ((flow: WorkflowContext) => Promise<unknown>) | undefined;

  @Workflow()
  async run(_value?: unknown): Promise<unknown> {
    return this.body?.(this.flow);
  }
}

let apps: NestApps;
/** Runs nothing: what is in the tables is what was called for. */
let app: NestApp;
let queue: Queue;
let schedules: ScheduleService;
let archive: WorkflowArchive;
/** The body of a workflow talks to the test through it. */
let flow: WorkflowContext;

beforeAll(async () => {
  apps = await NestApps.open();
  app = await apps.start([Target], {
    after: [
      DbosModule.registerQueue({ name: 'fuzz' }),
      DbosModule.registerQueue({ name: 'parts', partition: { concurrency: 1 } }),
    ],
    options: { runWorkflows: false, databasePatienceMs: 10_000 },
  });
  queue = app.app.get<Queue>(getQueueToken('fuzz'), { strict: false });
  schedules = app.app.get(ScheduleService);
  await app.workflows.start(Target, { workflowId: 'target' }).run();
  archive = await app.workflows.export('target');
});
afterAll(async () => {
  await apps.endAll();
  await apps.close();
});

type Slots = Readonly<Record<string, unknown>>;

/** A public entry, with arguments that are good; in each run one or two of them are replaced. */
interface Entry {
  readonly name: string;
  readonly slots: Slots;
  readonly call: (slots: Readonly<Record<string, never>>) => unknown;
  /** It waits for something that nobody does. */
  readonly waits?: boolean;
}

const GOOD = Symbol('as good as all others');
let ids = 0;
const fresh = (): string => `id-${(ids += 1)}`;

/** The options as a whole, or one of them. */
function options(slots: Slots, ...names: string[]): never {
  if (slots['options'] !== GOOD) return slots['options'] as never;
  return Object.fromEntries(
    names.filter((name) => slots[name] !== undefined).map((name) => [name, slots[name]]),
  ) as never;
}

function entry(name: string, slots: Slots, call: Entry['call'], waits = false): Entry {
  return { name, slots, call, waits };
}

const TIME = { timeout: '1d', deadline: undefined };
const PLACE = { queue: 'fuzz', priority: 1, partitionKey: undefined };

const ENTRIES: readonly Entry[] = [
  entry('start', { options: GOOD, workflowId: fresh, attributes: { a: 1 }, tx: undefined, payload: 1, ...TIME }, async (s) => {
    const given = options(s, 'workflowId', 'attributes', 'timeout', 'deadline', 'tx');
    const handle = await app.workflows.start(Target, given).run(s['payload']);
    await assertKept(handle, s);
  }),
  entry('enqueue', { options: GOOD, workflowId: fresh, attributes: {}, deduplicationId: fresh, deduplication: 'attach', delay: 5, payload: 1, ...PLACE, ...TIME }, async (s) => {
    const given = options(s, 'workflowId', 'attributes', 'deduplicationId', 'deduplication', 'delay', 'queue', 'priority', 'partitionKey', 'timeout', 'deadline');
    const handle = await app.workflows.enqueue(Target, given).run(s['payload']);
    await assertKept(handle, s);
  }),
  entry('queue.enqueue', { options: GOOD, workflowId: fresh, priority: 1, payload: 1, delay: 1 }, async (s) =>
    assertKept(await queue.enqueue(Target, options(s, 'workflowId', 'priority', 'delay')).run(s['payload']), s)),
  entry('queue.enqueueMany', { items: GOOD, workflowId: fresh, args: [1], priority: 1, options: GOOD }, (s) => {
    const items = s['items'] === GOOD ? [{ args: [2] }, options({ ...s, options: GOOD }, 'workflowId', 'args', 'priority')] : s['items'];
    return queue.enqueueMany(Target, options(s)).run(items as never);
  }),
  entry('queue.configure', { limits: GOOD, concurrency: 1, workerConcurrency: 1, limit: 5, periodMs: 1_000, rate: GOOD }, (s) => {
    const rateLimit = s['rate'] === GOOD ? { limit: s['limit'], periodMs: s['periodMs'] } : s['rate'];
    return queue.configure((s['limits'] === GOOD ? { concurrency: s['concurrency'], workerConcurrency: s['workerConcurrency'], rateLimit } : s['limits']) as never);
  }),
  entry('queue.setPriority', { ids: 'target', priority: 1 }, (s) => queue.setPriority(s['ids']!, s['priority']!)),
  entry('queue.setDelay', { id: 'target', until: 1 }, (s) => queue.setDelay(s['id']!, s['until']!)),
  entry('debounce', { options: GOOD, key: 'k', periodMs: 1_000, maxWaitMs: 5_000, queue: 'fuzz', attributes: {}, payload: 1 }, (s) =>
    app.workflows.debounce(Target, options(s, 'key', 'periodMs', 'maxWaitMs', 'queue', 'attributes')).run(s['payload'])),
  entry('send', { id: 'target', message: 1, options: GOOD, topic: 't', idempotencyKey: fresh, tx: undefined }, (s) =>
    app.workflows.send(s['id']!, s['message'], options(s, 'topic', 'idempotencyKey', 'tx'))),
  entry('getEvent', { id: 'target', key: 'k', options: GOOD, timeout: 1 }, (s) => app.workflows.getEvent(s['id']!, s['key']!, options(s, 'timeout')), true),
  entry('resolveToken', { token: 'A'.repeat(43), value: 1, options: GOOD, tx: undefined }, (s) => app.workflows.resolveToken(s['token']!, s['value'], options(s, 'tx'))),
  entry('rejectToken', { token: 'A'.repeat(43), reason: 'no', options: GOOD, tx: undefined }, (s) => app.workflows.rejectToken(s['token']!, s['reason'], options(s, 'tx'))),
  entry('list', { options: GOOD, ids: ['target'], idPrefix: 't', status: 'ENQUEUED', name: 'x', queue: 'fuzz', onQueue: true, executorId: 'x', applicationVersion: 'x', parentId: 'x', hasParent: true, forkedFrom: 'x', isFork: false, deduplicationId: 'x', hasError: false, attributes: { a: 1 }, schedule: 'x', createdAfter: new Date(0), createdBefore: new Date(), completedAfter: new Date(0), order: 'newest', limit: 1, after: '1', loadInput: true, loadOutput: true }, (s) =>
    app.workflows.list(options(s, ...Object.keys(s).filter((name) => name !== 'options')))),
  entry('count', { options: GOOD, groupBy: 'status', bucket: '1h', after: undefined, status: 'ENQUEUED', createdAfter: new Date(0), attributes: { a: 1 } }, (s) =>
    app.workflows.count(options(s, 'groupBy', 'bucket', 'after', 'status', 'createdAfter', 'attributes'))),
  entry('handle.status', { id: 'target' }, (s) => app.workflows.handle(s['id']!).status()),
  entry('handle.result', { id: 'target', options: GOOD, timeout: 1 }, (s) => app.workflows.handle(s['id']!).result(options(s, 'timeout')), true),
  entry('handle.update', { topic: 'u', payload: 1, options: GOOD, timeout: 1, updateId: fresh }, (s) =>
    app.workflows.handle('target').update(s['topic']!, s['payload'], options(s, 'timeout', 'updateId')), true),
  entry('readStream', { id: 'target', key: 'k', options: GOOD, fromOffset: 0 }, (s) =>
    app.workflows.readStream(s['id']!, s['key']!, options(s, 'fromOffset'))[Symbol.asyncIterator]().next(), true),
  entry('steps', { id: 'target', options: GOOD, limit: 1, after: '0' }, (s) => app.workflows.steps(s['id']!, options(s, 'limit', 'after'))),
  entry('explain', { id: 'target' }, (s) => app.workflows.explain(s['id']!)),
  entry('actions', { id: 'target' }, (s) => app.workflows.actions(s['id']!)),
  entry('cancel', { ids: 'nobody', options: GOOD, children: true, by: 'me' }, (s) => app.workflows.cancel(s['ids']!, options(s, 'children', 'by'))),
  entry('resume', { ids: 'nobody', options: GOOD, by: 'me', ...PLACE }, (s) => app.workflows.resume(s['ids']!, options(s, 'by', 'queue', 'priority', 'partitionKey'))),
  entry('delete', { ids: 'nobody', options: GOOD, children: true, by: 'me' }, (s) => app.workflows.delete(s['ids']!, options(s, 'children', 'by'))),
  entry('fork', { id: 'target', options: GOOD, from: 0, workflowId: fresh, by: 'me', ...PLACE, ...TIME }, (s) =>
    app.workflows.fork(s['id']!, options(s, 'from', 'workflowId', 'by', 'queue', 'priority', 'partitionKey', 'timeout', 'deadline'))),
  entry('forkMany', { ids: ['target'], options: GOOD, from: { step: 'x' }, by: 'me' }, (s) => app.workflows.forkMany(s['ids']!, options(s, 'from', 'by'))),
  entry('restart', { id: 'target', options: GOOD, workflowId: fresh, by: 'me', ...TIME }, (s) => app.workflows.restart(s['id']!, options(s, 'workflowId', 'by', 'timeout', 'deadline'))),
  entry('export', { id: 'target', options: GOOD, children: true }, (s) => app.workflows.export(s['id']!, options(s, 'children'))),
  entry('import', { archive: GOOD, workflows: GOOD, entry: GOOD, options: GOOD, unfinished: 'enqueue', ...Object.fromEntries(['id', 'seq', 'name', 'status', 'epoch', 'input', 'serialization', 'attributes', 'created_at', 'wake_at', 'priority', 'queue', 'context', 'recovery_attempts'].map((column) => [column, GOOD])), steps: GOOD, version: 1 }, (s) => {
    const [known] = archive.workflows;
    const row = Object.fromEntries(Object.entries(s).filter(([column, value]) => value !== GOOD && known && column in known.workflow));
    const whole = { ...known, workflow: { ...known?.workflow, id: fresh(), ...row }, ...(s['steps'] !== GOOD && { steps: s['steps'] }) };
    const workflows = s['workflows'] === GOOD ? [s['entry'] === GOOD ? whole : s['entry']] : s['workflows'];
    const given = s['archive'] === GOOD ? { ...archive, version: s['version'], workflows } : s['archive'];
    return app.workflows.import(given as never, options(s, 'unfinished'));
  }),
  entry('schedules.create', { options: GOOD, name: fresh, workflow: Target, cron: '0 0 1 1 *', timeZone: 'Europe/Berlin', backfill: 'latest', queue: 'fuzz', input: 1 }, async (s) => {
    await schedules.create(options(s, 'name', 'workflow', 'cron', 'timeZone', 'backfill', 'queue', 'input'));
    await assertSchedule(s['options'] === GOOD ? s['name'] : (s['options'] as unknown as { name: string }).name);
  }),
  entry('schedules.update', { name: 'nobody', options: GOOD, workflow: Target, cron: '0 0 1 1 *', timeZone: 'UTC', backfill: 'latest', input: 1 }, (s) =>
    schedules.update(s['name']!, options(s, 'workflow', 'cron', 'timeZone', 'backfill', 'input'))),
  entry('schedules.backfill', { name: 'nobody', from: new Date(0), until: new Date(1) }, (s) => schedules.backfill(s['name']!, s['from']!, s['until']!)),
  entry('schedules.applySet', { set: 'empty', schedules: [] }, (s) => schedules.applySet(s['set']!, s['schedules']!)),
  entry('schedules.list', { options: GOOD, nextRuns: 1, after: 'a', limit: 1 }, (s) => schedules.list(options(s, 'nextRuns', 'after', 'limit'))),
  ...(['get', 'pause', 'resume', 'trigger', 'delete'] as const).map((method) =>
    entry(`schedules.${method}`, { name: 'nobody' }, (s) => schedules[method](s['name']!))),
]; // prettier-ignore

/** What was accepted is there, and is what was given. */
async function assertKept(handle: WorkflowHandle, s: Slots): Promise<void> {
  const { workflowId } = handle;
  if (s['options'] === GOOD && s['workflowId'] !== undefined && s['deduplicationId'] === undefined)
    expect(workflowId).toBe(s['workflowId']);
  const isNew = workflowId.startsWith('id-') || s['workflowId'] === undefined; // else another run may have had it
  const { workflows } = await app.workflows.list({ ids: [workflowId], loadInput: true });
  expect(workflows).toHaveLength(1);
  if (
    isNew &&
    s['deduplicationId'] === undefined &&
    !isDeepStrictEqual(workflows[0]?.input, [s['payload']])
  )
    expect(workflows[0]?.input).toStrictEqual([s['payload']]);
}

/** And goes before it fires. */
async function assertSchedule(name: string | undefined): Promise<void> {
  expect(await schedules.get(name as string)).toMatchObject({ name });
  expect(await schedules.delete(name as string)).toBe(true);
}

function circularArchive(circle: unknown): WorkflowArchive {
  const [known] = archive.workflows;
  const workflow = { ...known?.workflow, id: 'circular', priority: circle };
  return { ...archive, workflows: [{ ...known, workflow } as never] };
}

/** Good ones are made anew for each run. */
function filled({ slots }: Entry, replaced: ReadonlyMap<string, unknown>): never {
  return Object.fromEntries(
    Object.entries(slots).map(([name, value]) => [
      name,
      replaced.has(name) ? replaced.get(name) : value === fresh ? fresh() : value,
    ]),
  ) as never;
}

async function counts(): Promise<unknown> {
  return app.prisma.$queryRaw`
    SELECT (SELECT count(*) FROM dbos.workflows)::int AS workflows, (SELECT count(*) FROM dbos.steps)::int AS steps,
           (SELECT count(*) FROM dbos.messages)::int AS messages, (SELECT count(*) FROM dbos.events)::int AS events,
           (SELECT count(*) FROM dbos.tokens)::int AS tokens, (SELECT count(*) FROM dbos.schedules)::int AS schedules,
           (SELECT count(*) FROM dbos.stream_entries)::int AS entries, (SELECT count(*) FROM dbos.queues)::int AS queues,
           (SELECT count(*) FROM dbos.workflow_actions WHERE action <> 'timedOut')::int AS actions`;
}

async function patiently(work: unknown, waits: boolean | undefined): Promise<unknown> {
  if (!waits) return work;
  const settled = Promise.resolve(work);
  settled.catch(() => undefined); // when the application ends
  let timer: NodeJS.Timeout | undefined;
  const waiting = new Promise((resolve) => (timer = setTimeout(resolve, WAITING_MS)));
  return Promise.race([settled, waiting]).finally(() => clearTimeout(timer));
}

function codeOf(error: unknown): unknown {
  return (error as { readonly code?: unknown }).code;
}

/** The error that a call was refused with; undefined when it was taken. Any other than ours fails the test. */
async function refusal(call: () => unknown, waits?: boolean): Promise<unknown> {
  try {
    await patiently(call(), waits);
    return undefined;
  } catch (error) {
    const code = codeOf(error);
    const isOurs = typeof code === 'string' && code.startsWith('DBOS_');
    if (code === 'DBOS_UPDATE_TIMEOUT') return undefined; // sent, and nobody there to reply
    if (isOurs || error instanceof HostileError) return error;
    throw error;
  }
}

/** With the hostile values made anew. */
function made(
  values: ReadonlyArray<readonly [string, () => unknown]>,
): ReadonlyMap<string, unknown> {
  return new Map(values.map(([name, make]) => [name, make()]));
}

function replacing({ slots }: Entry): fc.Arbitrary<Array<[string, () => unknown]>> {
  const slot = fc.constantFrom(...Object.keys(slots));
  return fc.array(fc.tuple(slot, hostile), { minLength: 1, maxLength: 2 });
}

const PER_ENTRY = Math.ceil(RUNS / 60);
/** A bound for long runs, which no short one comes near. */
const LIMIT_MS = 3_600_000;

describe('Every entry', () => {
  it.each(ENTRIES.map((one) => [one.name, one] as const))(
    '%s takes what it is given, or refuses it with a code and writes nothing',
    async (_name, one) => {
      await fc.assert(
        fc.asyncProperty(replacing(one), async (values) => {
          const before = await counts();
          const refused = await refusal(() => one.call(filled(one, made(values))), one.waits);
          expect(refused === undefined ? before : await counts()).toEqual(before);
          expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
        }),
        { numRuns: PER_ENTRY, ...SEED },
      );
    },
    LIMIT_MS,
  );

  const circle: Record<string, unknown> = {};
  circle['circle'] = circle;
  /** What once came as a TypeError from our insides, or was silently something else. */
  const FOUND: ReadonlyArray<readonly [what: string, call: () => unknown]> = [
    ['options that are null', () => app.workflows.start(Target, null as never).run()],
    ['options that are a text', () => app.workflows.send('target', 1, 'x' as never)],
    ['an id that is null', () => app.workflows.start(Target, { workflowId: null as never }).run()],
    ['no options of a fork', () => app.workflows.forkMany(['target'], undefined as never)],
    ['attributes with a bigint', () => app.workflows.start(Target, { attributes: { a: 1n } }).run()],
    ['attributes with a circle', () => app.workflows.start(Target, { attributes: circle }).run()],
    ['what is no list of items', () => queue.enqueueMany(Target).run(7 as never)],
    ['items without arguments', () => queue.enqueueMany(Target).run([{ args: 7 } as never])],
    ['holes among items', () => queue.enqueueMany(Target).run(Object.assign([], { length: 2 }))],
    ['ids that are no list', () => queue.setPriority(7 as never, 1)],
    ['limits that are nothing', () => queue.configure(undefined as never)],
    ['a delay that cannot be shown', () => queue.setDelay('target', Object.create(null) as never)],
    ['groups that are no list', () => app.workflows.count({ groupBy: new Date() as never })],
    ['no options of a stream', () => app.workflows.readStream('target', 'k', null as never)],
    ['a step that is a symbol', () => app.workflows.steps('target', { after: Symbol('x') as never })],
    ['an archive with a circle', () => app.workflows.import(circularArchive(circle), { unfinished: 'enqueue' })],
    ['a schedule that is none', () => schedules.create(0 as never)],
    ['a set that is no list', () => schedules.applySet('set', 7 as never)],
    ['a backfill that is a bigint', () => schedules.update('nobody', { backfill: 1n as never })],
  ]; // prettier-ignore

  it.each(FOUND)('refuses %s', async (_what, call) => {
    const before = await counts();
    expect(codeOf(await refusal(call))).toMatch(/^DBOS_(INVALID_ARGUMENT|ARCHIVE_FORMAT)$/);
    expect(await counts()).toEqual(before);
  });

  it.each([1, 10])('keeps a payload of %i MiB as it is', async (size) => {
    const payload = 'é"\\\u0000🦊'.repeat((size * 1_024 * 1_024) / 16);
    const handle = await app.workflows.start(Target).run(payload);
    await app.workflows.send(handle.workflowId, payload);
    const { workflows } = await app.workflows.list({ ids: [handle.workflowId], loadInput: true });
    expect(isDeepStrictEqual(workflows[0]?.input, [payload])).toBe(true);
  });

  it('refuses a payload beyond the limit and writes nothing', async () => {
    const before = await counts();
    const payload = 'x'.repeat(17 * 1_024 * 1_024);
    const refused = await refusal(() => app.workflows.start(Target).run(payload));
    expect(refused).toMatchObject({ code: 'DBOS_VALUE_TOO_LARGE' });
    expect(await counts()).toEqual(before);
  });
});

/** Of a workflow that calls one operation and ends: what it recorded, and what it was refused with. */
describe('Every operation of a workflow', () => {
  let running: NestApp;
  let database: TestDatabase;
  let target: Target;

  beforeAll(async () => {
    database = await createTestDatabase();
    running = await apps.start([Target], {
      url: database.url,
      options: { pollIntervalMs: 10, parkAfterMs: 60_000 },
    });
    target = running.app.get(Target);
    flow = running.app.get(WorkflowContext);
  });
  afterAll(async () => {
    await running.close();
    await database.drop();
  });

  const POLICY = {
    maxRetries: 1,
    baseIntervalMs: 1,
    backoffFactor: 1,
    maxIntervalMs: 1,
    timeoutMs: 1_000,
    shouldRetry: undefined,
  };

  const OPERATIONS: readonly Entry[] = [
    entry('flow.step', { name: 'step', body: GOOD, options: GOOD, ...POLICY }, (s) =>
      flow.step(s['name']!, s['body'] === GOOD ? () => 1 : s['body']!, options(s, ...Object.keys(POLICY)))),
    entry('flow.sleep', { until: 1 }, (s) => flow.sleep(s['until']!)),
    entry('flow.recv', { topic: 't', options: GOOD, timeout: 1, deadline: undefined }, (s) => flow.recv(s['topic'], options(s, 'timeout', 'deadline'))),
    entry('flow.recvOrThrow', { topic: 't', options: GOOD, timeout: 1 }, (s) => flow.recvOrThrow(s['topic'], options(s, 'timeout')), true),
    entry('flow.setEvent', { key: 'k', value: 1 }, (s) => flow.setEvent(s['key']!, s['value']!)),
    entry('flow.createToken', { options: GOOD, timeout: '1h' }, (s) => flow.createToken(options(s, 'timeout'))),
    entry('flow.writeStream', { key: 'k', value: 1 }, (s) => flow.writeStream(s['key']!, s['value'])),
    entry('flow.closeStream', { key: 'k' }, (s) => flow.closeStream(s['key']!)),
    entry('flow.map', { items: [1], work: GOOD, options: GOOD, concurrency: 1 }, (s) =>
      flow.map(s['items']!, s['work'] === GOOD ? (item) => item : s['work']!, options(s, 'concurrency'))),
    entry('flow.all', { branches: GOOD }, (s) => flow.all(s['branches'] === GOOD ? [() => 1] : s['branches']!)),
    entry('flow.race', { branches: GOOD }, (s) => flow.race(s['branches'] === GOOD ? [() => 1] : s['branches']!)),
    entry('flow.updates', { topic: 't', options: GOOD, timeout: 1 }, (s) =>
      flow.updates(s['topic']!, options(s, 'timeout'))[Symbol.asyncIterator]().next()),
    entry('start in a workflow', { options: GOOD, workflowId: fresh, payload: 1 }, (s) =>
      running.workflows.start(Target, options(s, 'workflowId')).run(s['payload'])),
  ]; // prettier-ignore

  it.each(OPERATIONS.map((one) => [one.name, one] as const))(
    '%s takes what it is given, or refuses it with a code and records nothing',
    async (_name, one) => {
      await fc.assert(
        fc.asyncProperty(replacing(one), async (values) => {
          const slots = filled(one, made(values));
          let refused: unknown;
          target.body = async () => {
            target.body = undefined; // children end at once
            refused = await refusal(() => one.call(slots));
          };
          const handle = await running.workflows.start(Target).run();
          const hasEnded = await handle.result({ timeout: 400 }).then(
            () => true,
            (error: { readonly code: string }) => {
              expect(error.code).toMatch(/^DBOS_/);
              return false;
            },
          );
          if (!hasEnded) await handle.cancel();
          const isRefused = hasEnded && refused !== undefined && !RECORDED.has(codeOf(refused));
          const steps = await running.workflows.steps(handle.workflowId);
          // Some record that they were refused, for a replay is refused alike.
          expect(isRefused ? steps.filter(({ error }) => !error) : []).toEqual([]);
        }),
        { numRuns: PER_ENTRY, ...SEED },
      );
    },
    LIMIT_MS,
  );
});

describe('Every option of the module', () => {
  const limits: Slots = { concurrency: 1, workerConcurrency: 1, rateLimit: { limit: 1, periodMs: 1 }, partition: {}, retry: { maxRetries: 1 } }; // prettier-ignore
  const keep: Slots = { maxAge: '1d', maxCount: 1, interval: '1m', batchSize: 5, outcomes: {} };
  const engine: Slots = { executorId: 'x', applicationVersion: 'x', leaseMs: 1_000, maxConcurrentWorkflows: 1, pollIntervalMs: 1, listen: ['fuzz'], parkAfterMs: 1, databasePatienceMs: 1, shutdown: {}, retention: {}, health: {}, codecs: [], contextCarriers: [] }; // prettier-ignore
  const DEFINITIONS = [defineTopic, defineEvent, defineUpdate] as unknown as Array<(name: string, schema: unknown) => unknown>; // prettier-ignore
  const OPTIONS: readonly Entry[] = [
    entry('forRoot', { options: GOOD, ...engine }, (s) => resolveEngineOptions(options(s, ...Object.keys(engine)), {})),
    entry('forRoot({ retention })', { options: GOOD, ...keep }, (s) => resolveEngineOptions({ retention: options(s, ...Object.keys(keep)) }, {})),
    entry('registerQueue', { options: GOOD, name: 'q', ...limits }, (s) => DbosModule.registerQueue(options(s, 'name', ...Object.keys(limits)))),
    ...DEFINITIONS.map((define) =>
      entry(define.name, { name: 'n', schema: GOOD }, (s) => define(s['name']!, s['schema'] === GOOD ? z.string() : s['schema']!))),
  ]; // prettier-ignore

  it.each(OPTIONS.map((one) => [one.name, one] as const))(
    '%s is taken, or refused with a code',
    async (_name, one) => {
      await fc.assert(
        fc.asyncProperty(replacing(one), async (values) => {
          await refusal(() => one.call(filled(one, made(values))));
          expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
        }),
        { numRuns: PER_ENTRY, ...SEED },
      );
    },
    LIMIT_MS,
  );
});

describe('Over HTTP', () => {
  let shop: INestApplication;

  beforeAll(async () => {
    process.env['DATABASE_URL'] = apps.url;
    process.env['GATEWAY_URL'] = 'http://127.0.0.1:9'; // nobody is there
    const { AppModule } = await import('../../sample-app/src/app.module.js');
    const imports = [AppModule];
    const testing = Test.createTestingModule({
      imports,
      controllers: [DbosTokensController],
    });
    shop = (await testing.compile()).createNestApplication({ logger: false });
    await shop.init();
  });
  afterAll(() => shop.close());

  const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 20 }), hostileText);
  const value = fc.oneof(text, fc.jsonValue(), fc.integer(), fc.constant('[DEEP]'));
  const order = fc.record(
    { id: value, customer: value, card: value, lines: value },
    { requiredKeys: [] },
  );
  const body = fc.oneof(
    order,
    value,
    fc.constant({ decision: 'approve' }),
    fc.record({ value, reason: value }, { requiredKeys: [] }),
  );
  const path = fc.constantFrom(
    '/orders',
    '/orders/:x',
    '/orders/:x/page',
    '/orders/:x/progress',
    '/approvals/:x/:x',
    '/fulfilment/:x',
    '/products',
    '/reports/:x',
    '/dbos/tokens/:x/resolve',
    '/dbos/tokens/:x/reject',
    '/dbos/health/:x',
    '/:x',
  );
  const method = fc.constantFrom(
    'get' as const,
    'post' as const,
    'put' as const,
    'delete' as const,
  );
  const type = fc.constantFrom(
    'application/json',
    'application/x-www-form-urlencoded',
    'text/plain',
    'application/json; charset=x',
  );

  it(
    'nobody is told of an error of the server, whatever is asked',
    async () => {
      await fc.assert(
        fc.asyncProperty(
          method,
          path,
          text,
          body,
          type,
          async (verb, where, part, sent, contentType) => {
            const url = where.replaceAll(':x', encodedPart(part));
            const deep = `${'['.repeat(5_000)}1${']'.repeat(5_000)}`;
            const json = JSON.stringify(sent).replaceAll('"[DEEP]"', deep);
            const asking = request(shop.getHttpServer() as never)[verb](url);
            const asked =
              verb === 'get' ? asking : asking.set('Content-Type', contentType).send(json);
            const { status, body: answer } = await asked;
            expect(status < 500 ? undefined : { status, answer, verb, url, json }).toBeUndefined();
          },
        ),
        { numRuns: Math.ceil(RUNS / 12), ...SEED },
      );
    },
    LIMIT_MS,
  );

  /** As a browser would write it, and sometimes as none would. */
  function encodedPart(part: string): string {
    try {
      return encodeURIComponent(part);
    } catch {
      return '%ED%A0%80'; // half of a surrogate pair
    }
  }
});
