// What the compiler promises users of the library. Nothing here runs: `npm run typecheck` is the test, and a line that
// must not compile says so with @ts-expect-error.
import type { InjectionToken, LoggerService } from '@nestjs/common';
import { map, type Observable } from 'rxjs';
import {
  ContextCarrier,
  DbosModule,
  StepInterceptor,
  WorkflowInterceptor,
  aesGcmCodec,
  gzipCodec,
  type InterceptedStep,
  type InterceptedWorkflow,
  type PayloadCodec,
  Scheduled,
  Step,
  Workflow,
  type DbosMetrics,
  type DbosReadiness,
  type ForkReport,
  type HealthProblemCode,
  type LiveValues,
  type WorkflowAction,
  type ScheduleReport,
  type ScheduleService,
  type StepContext,
  type TransactionOf,
  type StepEvent,
  type WorkflowContext,
  type StepCounts,
  type WorkflowCounts,
  type WorkflowEventType,
  type WorkflowHandle,
  type WorkflowLogFields,
  type WorkflowLogger,
  type WorkflowPageReport,
  type WorkflowService,
  type WorkflowStatusReport,
} from 'nestjs-dbos';
import type { PrismaClientLike } from '../../libs/dbos/src/prisma/prisma-client.js';
import type { Prisma, PrismaClient } from '../../sample-app/src/generated/prisma/client.js';

type IsAny<T> = 0 extends 1 & T ? true : false;
type IsSame<A, B> = [A, B] extends [B, A] ? true : false;

/** `any` is the same as `any` only. */
type Same<A, B> = IsAny<A> extends IsAny<B> ? IsSame<A, B> : false;
declare function same<A, B>(_is: Same<A, B>): void;

interface Order {
  readonly id: string;
  readonly amount: number;
}

interface Receipt {
  readonly total: number;
}

declare class Checkout {
  readonly label: string;
  run(order: Order): Promise<Receipt>;
  cancel(reason: string, note?: string): string;
  many(...parts: number[]): Promise<number>;
}

declare const workflows: WorkflowService;
declare const flow: WorkflowContext;
declare const order: Order;

export async function startIsTyped(): Promise<void> {
  const handle = await workflows.start(Checkout).run(order);
  same<typeof handle, WorkflowHandle<Receipt>>(true);

  const receipt = await handle.result();
  same<typeof receipt, Receipt>(true);

  // A method that returns no promise has a result like any other.
  const word = await (await workflows.start(Checkout).cancel('late')).result();
  same<typeof word, string>(true);

  await workflows.start(Checkout, { workflowId: order.id, attributes: { vip: true } }).run(order);
  await workflows.start(Checkout).cancel('late', 'twice');
  await workflows.start(Checkout).many(1, 2, 3);
  await handle.result({ timeout: '3d' });
  await handle.result({ timeout: 1_500 });

  // @ts-expect-error: the argument is missing
  await workflows.start(Checkout).run();
  // @ts-expect-error: the argument has the wrong type
  await workflows.start(Checkout).run('order');
  // @ts-expect-error: one argument too many
  await workflows.start(Checkout).run(order, 2);
  // @ts-expect-error: no such method
  await workflows.start(Checkout).refund(order);
  // @ts-expect-error: a field is no workflow
  await workflows.start(Checkout).label();
  // @ts-expect-error: an instance is not a class
  workflows.start(order);
  // @ts-expect-error: no such option
  workflows.start(Checkout, { id: 'x' });
}

export async function executeIsTyped(): Promise<void> {
  const receipt = await workflows.execute(Checkout).run(order);
  same<typeof receipt, Receipt>(true);
  const sum = await workflows.execute(Checkout).many(1, 2);
  same<typeof sum, number>(true);
  // @ts-expect-error: the argument has the wrong type
  await workflows.execute(Checkout).many('1');
}

export async function handlesByIdAreUnknownUnlessSaid(): Promise<void> {
  const unknown = await workflows.handle('id').result();
  same<typeof unknown, unknown>(true);
  const receipt = await workflows.handle<Receipt>('id').result();
  same<typeof receipt, Receipt>(true);
}

export async function stepsAreTyped(): Promise<void> {
  const rate = await flow.step('rate', ({ signal, attempt, idempotencyKey }) => {
    same<typeof signal, AbortSignal>(true);
    same<typeof attempt, number>(true);
    same<typeof idempotencyKey, string>(true);
    return 1.1;
  });
  same<typeof rate, number>(true);
  const later = await flow.step('later', async () => 'done' as const);
  same<typeof later, 'done'>(true);
  const context = flow.stepContext;
  same<typeof context, StepContext>(true);

  await flow.step('retried', () => 1, { maxRetries: 3, baseIntervalMs: 10, timeoutMs: 1_000 });
  // @ts-expect-error: a step needs a name
  await flow.step(() => 1);
  // @ts-expect-error: no such option
  await flow.step('x', () => 1, { retries: 3 });
  // @ts-expect-error: a span is '3d', not '3 d'
  await flow.sleep('three days');
  await flow.sleep('1h');
  await flow.sleep(new Date());
}

export async function branchesAreTyped(): Promise<void> {
  const [count, word, receipt] = await flow.all([
    () => 1,
    async () => 'two',
    () => workflows.execute(Checkout).run(order),
  ]);
  same<typeof count, number>(true);
  same<typeof word, string>(true);
  same<typeof receipt, Receipt>(true);

  const squares = await flow.map([1, 2, 3], async (item, index) => `${item * index}`, {
    concurrency: 2,
  });
  same<typeof squares, string[]>(true);

  const first = await flow.race([() => 1, async () => 2]);
  same<typeof first, number>(true);
  const either = await flow.race([() => 1, async () => 'two']);
  same<typeof either, number | string>(true);
}

export async function streamsAreTyped(): Promise<void> {
  const offset = await flow.writeStream('progress', { percent: 1 });
  same<typeof offset, number>(true);
  await flow.closeStream('progress');
  for await (const value of workflows.readStream<Receipt>('id', 'progress', { fromOffset: 2 }))
    same<typeof value, Receipt>(true);
  const unknown = workflows.handle('id').stream('progress');
  same<typeof unknown, LiveValues<unknown>>(true);
  const totals = workflows.readStream<Receipt>('id', 'progress').pipe(map(({ total }) => total));
  same<typeof totals, Observable<number>>(true);
  for await (const report of workflows.handle('id').status$)
    same<typeof report, WorkflowStatusReport>(true);
  const types = workflows.events$.pipe(map(({ type }) => type));
  same<typeof types, Observable<WorkflowEventType>>(true);
  // @ts-expect-error: an offset is a number
  workflows.readStream('id', 'progress', { fromOffset: '2' });
}

export async function controlIsTyped(): Promise<void> {
  const ids = await workflows.cancel(['one', 'two'], { children: true, by: 'Ada' });
  same<typeof ids, string[]>(true);
  await workflows.resume('one', { queue: 'repairs', priority: -1 });
  const fork = await workflows.fork<Receipt>('one', { from: { step: 'charge' }, timeout: '1h' });
  same<typeof fork, WorkflowHandle<Receipt>>(true);
  await workflows.fork('one', { from: 'failure', workflowId: 'two' });
  const [first] = await workflows.forkMany(['one'], { from: 0 });
  same<typeof first, ForkReport | undefined>(true);
  const handle = await workflows.start(Checkout, { timeout: '15m' }).run(order);
  same<ReturnType<typeof handle.restart>, Promise<WorkflowHandle<Receipt>>>(true);
  same<ReturnType<typeof handle.delete>, Promise<boolean>>(true);
  const actions = await workflows.actions('one');
  same<typeof actions, WorkflowAction[]>(true);
  await workflows.start(Checkout, { deadline: new Date() }).run(order);
  await workflows.start(Checkout, { timeout: null }).run(order);
  await workflows.restart('one', { applicationVersion: 'v2' });
  same<Awaited<ReturnType<typeof flow.patched>>, boolean>(true);
  await flow.deprecatePatch('check-fraud');
  same<Awaited<ReturnType<typeof workflows.setVersion>>, string[]>(true);
  await workflows.setVersion({ applicationVersion: 'v1', name: 'Checkout' }, 'v2', { by: 'ada' });
  await workflows.setVersion(['one'], 'v2');
  // @ts-expect-error: a version is moved to another
  await workflows.setVersion({ applicationVersion: 'v1' });
  // @ts-expect-error: a fork begins somewhere
  await workflows.fork('one', {});
  // @ts-expect-error: no such point
  await workflows.fork('one', { from: 'start' });
  // @ts-expect-error: the forks of many have ids of their own
  await workflows.forkMany(['one'], { from: 0, workflowId: 'two' });
  // @ts-expect-error: a moment is a Date
  workflows.start(Checkout, { deadline: '1h' });
}

export async function listsAndCountsAreTyped(): Promise<void> {
  const page = await workflows.list({
    status: ['ERROR', 'CANCELLED'],
    attributes: { customer: { tier: 'gold' } },
    createdAfter: new Date(),
    loadInput: true,
  });
  same<typeof page, WorkflowPageReport>(true);
  const counts = await workflows.count({ groupBy: ['name', 'status'], bucket: '1h' });
  same<typeof counts, WorkflowCounts>(true);
  await workflows.steps('id', { limit: 10, after: '3.0.2' });
  // @ts-expect-error: no such status
  await workflows.list({ status: 'DONE' });
  // @ts-expect-error: nothing to group by
  await workflows.count({ groupBy: 'colour' });
  const steps = await workflows.stepCounts({ step: 'charge', groupBy: ['step', 'outcome'] });
  same<typeof steps, StepCounts>(true);
  // @ts-expect-error
  await workflows.stepCounts({ groupBy: 'queue' });
}

/** Every reason can be told from the others, and none is left out. */
export async function explanationsAreTyped(): Promise<string | null> {
  const { reason } = await workflows.explain('id');
  switch (reason.kind) {
    case 'ended':
    case 'dead-lettered':
    case 'retrying':
      return reason.error;
    case 'suspended':
      return reason.difference;
    case 'waiting-for-message':
      return reason.messages.map(({ kind }) => kind).join();
    case 'waiting-for-workflow':
    case 'waiting-for-event':
      return reason.workflowId;
    case 'sleeping':
    case 'delayed':
      return reason.until.toISOString();
    case 'owner-dead':
    case 'running-step':
    case 'running':
      return reason.executorId;
    case 'no-executor':
    case 'queue-paused':
    case 'queue-full':
    case 'rate-limited':
    case 'waiting-for-turn':
      return reason.queue;
    default:
      return reason satisfies never;
  }
}

export async function resolvedProvidersAreTyped(): Promise<void> {
  const checkout = await flow.resolve(Checkout);
  same<typeof checkout, Checkout>(true);
}

export class DecoratorsTakeOptions {
  @Workflow({ name: 'checkout', version: 2, maxRecoveryAttempts: Infinity })
  async run(): Promise<void> {}

  @Step({ name: 'charge', maxRetries: 10, maxIntervalMs: 30_000, shouldRetry: (e) => e !== null })
  async charge(): Promise<void> {}

  // @ts-expect-error: no such option
  @Step({ retries: 10 })
  async refund(): Promise<void> {}

  // @ts-expect-error: a field is no method
  @Step()
  readonly label: string = '';
}

export class SchedulesGiveTheTickAndTheInput {
  @Workflow()
  @Scheduled('0 3 * * *')
  async byTick(_tick: Date): Promise<void> {}

  @Scheduled('0 3 * * *', { timeZone: 'Europe/Berlin', backfill: 'all', queue: 'reports' })
  async byNothing(): Promise<void> {}

  @Scheduled('0 3 * * *', { input: order })
  async byInput(_tick: Date, _order: Order): Promise<void> {}

  @Scheduled<'EU' | 'US'>('0 3 * * *', { input: 'EU' })
  async byChoice(_tick: Date, _region: 'EU' | 'US'): Promise<void> {}

  @Scheduled('0 3 * * *')
  async withADefault(_tick: Date, _region = 'EU'): Promise<void> {}

  // @ts-expect-error: the first argument is the time of the tick
  @Scheduled('0 3 * * *')
  async byOrder(_order: Order): Promise<void> {}

  // @ts-expect-error: there is no input
  @Scheduled('0 3 * * *')
  async withoutInput(_tick: Date, _order: Order): Promise<void> {}

  // @ts-expect-error: the input has the wrong type
  @Scheduled('0 3 * * *', { input: 5 })
  async withAnother(_tick: Date, _order: Order): Promise<void> {}

  // @ts-expect-error: no such policy
  @Scheduled('0 3 * * *', { backfill: 'some' })
  async byPolicy(): Promise<void> {}
}

export async function schedulesAreTyped(schedules: ScheduleService): Promise<void> {
  await schedules.create({ name: 'daily', workflow: Checkout, cron: '@daily', input: order });
  await schedules.create({ name: 'daily', workflow: 'Checkout.run', cron: '@daily' });
  await schedules.update('daily', { queue: null, backfill: 'latest' });
  const receipt = await (await schedules.trigger<Receipt>('daily')).result();
  same<typeof receipt, Receipt>(true);
  const ids = await schedules.backfill('daily', new Date(), new Date());
  same<typeof ids, string[]>(true);
  const found = await schedules.get('daily');
  same<typeof found, ScheduleReport | undefined>(true);
  const { deleted } = await schedules.applySet('reports', []);
  same<typeof deleted, readonly string[]>(true);

  // @ts-expect-error: a schedule has a workflow
  await schedules.create({ name: 'daily', cron: '@daily' });
  // @ts-expect-error: its name stays
  await schedules.update('daily', { name: 'weekly' });
}

/** Any generated client fits by shape, and so does what its `$extends` makes of it. */
export function clientsFitByShape(client: PrismaClient): PrismaClientLike[] {
  const extended = client.$extends({
    name: 'timing',
    query: { $allOperations: ({ args, query }) => query(args) },
  });
  const withModelMethods = client.$extends({
    model: { $allModels: { exists: (): Promise<boolean> => Promise.resolve(true) } },
  });
  const twice = extended.$extends({ client: { $ping: (): number => 1 } });
  return [client, extended, withModelMethods, twice];
}

export async function transactionsAreTypedAsTheirClients(client: PrismaClient): Promise<void> {
  same<TransactionOf<PrismaClient>, Prisma.TransactionClient>(true);
  same<typeof flow.isInWorkflow, boolean>(true);
  const tx = flow.prisma<PrismaClient>();
  same<typeof tx, Prisma.TransactionClient>(true);
  const { stock } = await tx.product.findUniqueOrThrow({ where: { sku: order.id } });
  same<typeof stock, number>(true);
  await workflows.start(Checkout, { tx }).run(order);

  const extended = client.$extends({
    model: { product: { shout: (sku: string): string => sku.toUpperCase() } },
    result: { product: { isGone: { needs: { stock: true }, compute: (row) => row.stock === 0 } } },
  });
  const extendedTx = flow.prisma<typeof extended>();
  same<ReturnType<typeof extendedTx.product.shout>, string>(true);
  const { isGone } = await extendedTx.product.findUniqueOrThrow({ where: { sku: order.id } });
  same<typeof isGone, boolean>(true);
  await workflows.start(Checkout, { tx: extendedTx }).run(order);

  // @ts-expect-error: the model has no such field
  await tx.product.findMany({ where: { weight: 1 } });
  // @ts-expect-error: what the extension adds, the client without it has not
  tx.product.shout('sku');
  // @ts-expect-error: a transaction does not connect
  await tx.$connect();
  // @ts-expect-error: nor does an extended client's
  await extendedTx.$connect();
  // @ts-expect-error: not a client with transactions
  flow.prisma<Checkout>();
  // @ts-expect-error: whose client must be said
  await flow.prisma().product.findMany();
}

export function modulesTakeTokens(token: InjectionToken): void {
  class PrismaService {
    readonly label = 'prisma';
  }
  DbosModule.forRoot({ prisma: PrismaService });
  DbosModule.forRoot({ prisma: 'Prisma' });
  DbosModule.forRoot({ prisma: Symbol('Prisma'), isGlobal: false, migrate: false });
  DbosModule.forRoot({ prisma: token, sessionUrl: false, errors: [TypeError] });
  DbosModule.forRoot({ prisma: token, telemetry: false, health: { queuedMs: 60_000 } });
  DbosModule.forRootAsync({ inject: [token], useFactory: async () => ({ prisma: token }) });
  // @ts-expect-error: the client's token is required
  DbosModule.forRoot({});
  // @ts-expect-error: no such option
  DbosModule.forRoot({ prisma: token, leaseSeconds: 3 });
  // @ts-expect-error: the factory must say which client
  DbosModule.forRootAsync({ useFactory: () => ({}) });
}

/** Marks fit classes that keep the contract, and no others. */
@StepInterceptor()
export class Timing implements StepInterceptor {
  async intercept(context: InterceptedStep, next: () => Promise<unknown>): Promise<unknown> {
    same<InterceptedStep['kind'], 'step' | 'transaction'>(true);
    same<typeof context.attempt, number>(true);
    return next();
  }
}

@WorkflowInterceptor()
export class Tracing implements WorkflowInterceptor {
  intercept({ workflowId }: InterceptedWorkflow, next: () => Promise<unknown>): Promise<unknown> {
    same<typeof workflowId, string>(true);
    return next();
  }
}

@ContextCarrier()
export class Tenant implements ContextCarrier {
  readonly name = 'tenant';
  capture(): string | undefined {
    return undefined;
  }
  run<T>(_tenant: string, work: () => T): T {
    return work();
  }
}

// @ts-expect-error an interceptor has a method intercept
@StepInterceptor()
export class NoInterceptor {}

// @ts-expect-error a carrier has a name
@ContextCarrier()
export class NoCarrier {
  capture(): undefined {}
  run<T>(_value: string, work: () => T): T {
    return work();
  }
}

export const codecs: readonly PayloadCodec[] = [
  gzipCodec({ minBytes: 100 }),
  aesGcmCodec({ keys: { k1: new Uint8Array(32) }, current: 'k1' }),
];
export function telemetryIsTyped(metrics: DbosMetrics, health: DbosReadiness): void {
  same<ReturnType<typeof metrics.prometheus>, Promise<string>>(true);
  same<typeof health.notifications, 'listening' | 'connecting' | 'lost' | 'deaf' | 'off'>(true);
  const [problem] = health.problems;
  const code: HealthProblemCode | undefined = problem?.code;
  // @ts-expect-error: no such problem
  void (code === 'tired');
  const around = (event: StepEvent): void => {
    event.around = (work) => work();
  };
  void around;
}

export function loggersTakeWorkflowFields(logger: WorkflowLogger): LoggerService {
  same<typeof flow.logFields, WorkflowLogFields | undefined>(true);
  return logger;
}
