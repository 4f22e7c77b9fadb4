// What an application puts around its workflows: interceptors, carried context, codecs, and what its log lines say.
import { AsyncLocalStorage } from 'node:async_hooks';
import { jest } from '@jest/globals';
import { Injectable, Logger, Scope, type Provider } from '@nestjs/common';
import {
  aesGcmCodec,
  ContextCarrier,
  gzipCodec,
  StepInterceptor,
  Transaction,
  WorkflowContext,
  WorkflowInterceptor,
  type InterceptedStep,
  type InterceptedWorkflow,
} from 'nestjs-dbos';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import type { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import {
  queueOf,
  Scripted,
  ScriptedApps,
  suspension,
  thrownBy,
  type ScriptedApp,
} from '../support/scripted-app.js';
import type { TestAppSettings } from '../support/test-app.js';

let database: TestDatabase;
let settings: Omit<TestAppSettings, 'url'>;
const apps = new ScriptedApps(() => ({ ...settings, url: database.url }));

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());
beforeEach(() => {
  settings = {};
  around.calls.length = 0;
  around.step = (_, next) => next();
  around.workflow = (_, next) => next();
});
afterEach(async () => {
  jest.restoreAllMocks();
  await apps.close();
});

type Next = () => Promise<unknown>;
/** What the interceptors of a test do. */
const around = {
  calls: [] as string[],
  step: (_: InterceptedStep, next: Next): unknown => next(),
  workflow: (_: InterceptedWorkflow, next: Next): unknown => next(),
};

@Injectable()
@StepInterceptor()
class Outer implements StepInterceptor {
  async intercept({ stepName, attempt }: InterceptedStep, next: Next): Promise<unknown> {
    around.calls.push(`outer ${stepName} ${attempt}`);
    try {
      return await next();
    } finally {
      around.calls.push(`outer left`);
    }
  }
}

@Injectable()
@StepInterceptor()
class Inner implements StepInterceptor {
  intercept(context: InterceptedStep, next: Next): unknown {
    around.calls.push(`inner ${context.stepName} ${context.attempt}`);
    return around.step(context, next);
  }
}

@Injectable()
@WorkflowInterceptor()
class Runs implements WorkflowInterceptor {
  intercept(context: InterceptedWorkflow, next: Next): unknown {
    around.calls.push(`run ${context.run}, ${context.recoveryAttempts} recoveries`);
    return around.workflow(context, next);
  }
}

const user = new AsyncLocalStorage<string>();

@Injectable()
@ContextCarrier()
class UserCarrier implements ContextCarrier {
  readonly name = 'user';
  capture(): string | undefined {
    return user.getStore();
  }
  run<T>(value: string, work: () => T): T {
    return user.run(value, work);
  }
}

@Injectable()
class Till {
  constructor(private readonly flow: WorkflowContext) {}

  @Transaction({ name: 'pay' })
  async pay(cents: number): Promise<number> {
    await this.flow.prisma<PrismaClient>()
      .$executeRaw`INSERT INTO public.payments VALUES (${cents})`;
    return cents;
  }
}

const INTERCEPTORS: Provider[] = [Outer, Inner, Runs];

describe('Interceptors', () => {
  beforeEach(() => {
    settings = { providers: INTERCEPTORS };
  });

  it('lie around each attempt of a step in the order of their registration, and around the run', async () => {
    const app = await apps.start();
    let tries = 0;
    const body = (): string => {
      around.calls.push('body');
      if ((tries += 1) === 1) throw new Error('once more');
      return 'done';
    };
    const handle = await app.begin(({ flow }) =>
      flow.step('work', body, { maxRetries: 1, baseIntervalMs: 1 }),
    );
    expect(await handle.result()).toBe('done');
    expect(around.calls).toEqual([
      'run 1, 0 recoveries',
      'outer work 1',
      'inner work 1',
      'body',
      'outer left',
      'outer work 2',
      'inner work 2',
      'body',
      'outer left',
    ]);
  });

  it('see no replay of a step, and each run of the workflow', async () => {
    const { handle } = await apps.relive(async ({ flow, die }) => {
      await flow.step('work', () => 1);
      await die();
      return 'done';
    });
    expect(await handle.result()).toBe('done');
    expect(around.calls.filter((call) => /^run|^outer w/.test(call))).toEqual([
      'run 1, 0 recoveries',
      'outer work 1',
      'run 2, 1 recoveries',
    ]);
  });

  it('may put another error or result in the place of that of a step, which is what is recorded', async () => {
    around.step = async ({ stepName }, next) => {
      if (stepName === 'double') return Number(await next()) * 2;
      return next().catch(() => {
        throw new Error('of the interceptor');
      });
    };
    const app = await apps.start();
    const handle = await app.begin(async ({ flow }) => {
      const doubled = await flow.step('double', () => 2);
      const failed = flow.step('fail', () => Promise.reject(new Error('of the body')));
      return [doubled, (await thrownBy(() => failed)).message];
    });
    expect(await handle.result()).toEqual([4, 'of the interceptor']);
    const [, step] = await app.workflows.steps(handle.workflowId);
    expect(step?.error?.message).toBe('of the interceptor');
  });

  it('that throw fail the attempt, which is tried again like any other', async () => {
    around.step = ({ attempt }, next) => {
      if (attempt === 1) throw new Error('not yet');
      return next();
    };
    const app = await apps.start();
    const handle = await app.begin(({ flow }) =>
      flow.step('work', () => 'done', { maxRetries: 1, baseIntervalMs: 1 }),
    );
    expect(await handle.result()).toBe('done');
  });

  it('run no body twice in one attempt', async () => {
    around.step = async (_, next) => {
      await next();
      return next();
    };
    const app = await apps.start();
    const bodies: number[] = [];
    const handle = await app.begin(({ flow }) => flow.step('work', () => bodies.push(1)));
    expect(await thrownBy(() => handle.result())).toMatchObject({ code: 'DBOS_INTERCEPTOR' });
    expect(bodies).toEqual([1]);
  });

  it('of workflows may replace the error of a run, and what they throw is its outcome', async () => {
    around.workflow = (_, next) =>
      next().catch(() => {
        throw new Error('of the interceptor');
      });
    const app = await apps.start();
    const handle = await app.begin(() => Promise.reject(new Error('of the body')));
    expect((await thrownBy(() => handle.result())).message).toBe('of the interceptor');
  });

  it('of workflows cannot make a success of a cancellation', async () => {
    around.workflow = (_, next) => next().catch(() => 'all is well');
    const app = await apps.start();
    const handle = await app.begin(({ flow }) => flow.sleep('5s'));
    await app.workflows.cancel(handle.workflowId);
    expect(await thrownBy(() => handle.result())).toMatchObject({
      code: 'DBOS_WORKFLOW_CANCELLED',
    });
  });

  it('lie within a transaction: what they throw rolls it back', async () => {
    settings = { providers: [...INTERCEPTORS, Till] };
    const seen: unknown[] = [];
    around.step = async ({ kind, stepName, workflowName, attempt }, next) => {
      seen.push({ kind, stepName, workflowName, attempt });
      const cents = await next();
      if (cents === 13) throw new Error('of the interceptor');
      return Number(cents) + 1;
    };
    const app = await apps.start();
    await app.prisma.$executeRaw`CREATE TABLE public.payments (cents integer)`;
    const handle = await app.begin(async ({ get }) => [
      await get(Till).pay(7),
      (await thrownBy(() => get(Till).pay(13))).message,
    ]);
    expect(await handle.result()).toEqual([8, 'of the interceptor']);
    expect(await app.prisma.$queryRaw`SELECT cents FROM public.payments`).toEqual([{ cents: 7 }]);
    const pay = { kind: 'transaction', stepName: 'pay', workflowName: 'Scripted', attempt: 1 };
    expect(seen).toEqual([pay, pay]);
    const steps = await app.workflows.steps(handle.workflowId);
    expect(steps.map(({ error }) => error?.message)).toEqual([undefined, 'of the interceptor']);
  });

  it('are one where they stand under several tokens, and may be made, given or mocked', async () => {
    const mock = { intercept: (_: unknown, next: Next) => (around.calls.push('mock'), next()) };
    settings = {
      providers: [
        { provide: 'alias', useExisting: Inner },
        Outer,
        Inner,
        { provide: 'the same', inject: [Outer], useFactory: (outer: Outer) => outer },
        { provide: 'given', useValue: new Runs() },
        { provide: Runs, useValue: mock },
      ],
    };
    const app = await apps.start();
    await (await app.begin(({ flow }) => flow.step('work', () => 1))).result();
    expect(around.calls).toEqual([
      'run 1, 0 recoveries',
      'mock',
      'outer work 1',
      'inner work 1', // in the place of its class, not in that of the alias
      'outer left',
    ]);
  });

  it.each<[string, Provider[], string]>([
    [
      'of requests',
      [{ provide: Outer, useClass: Outer, scope: Scope.REQUEST }],
      '@StepInterceptor',
    ],
    [
      'transient, be it for a singleton',
      [
        { provide: Runs, useClass: Runs, scope: Scope.TRANSIENT },
        { provide: 'user', inject: [Runs], useFactory: () => ({}) },
      ],
      '@WorkflowInterceptor',
    ],
    [
      'of requests, under another token',
      [{ provide: 'x', useClass: UserCarrier, scope: Scope.REQUEST }],
      '@ContextCarrier',
    ],
  ])('that are %s are refused at the start', async (_what, providers, decorator) => {
    settings = { providers };
    const { message } = await thrownBy(() => apps.start());
    expect(message).toContain(`is marked with ${decorator}(), but it is request-scoped`);
  });

  it('must be singletons with the method', async () => {
    settings = { providers: [{ provide: Outer, useValue: {} }] };
    expect(await thrownBy(() => apps.start())).toMatchObject({
      code: 'DBOS_REGISTRATION',
      message: 'Outer is marked with @StepInterceptor(), but has no method intercept().',
    });
    settings = { providers: [{ provide: UserCarrier, useValue: { capture: () => undefined } }] };
    expect((await thrownBy(() => apps.start())).message).toBe(
      'UserCarrier is marked with @ContextCarrier(), but has no method run().',
    );
  });
});

/** The rows' contexts, by workflow. */
async function contextOf({ prisma }: ScriptedApp, workflowId: string): Promise<unknown> {
  const [row] = await prisma.$queryRaw<Array<{ context: unknown }>>`
    SELECT context FROM dbos.workflows WHERE id = ${workflowId}`;
  return row?.context;
}

describe('A carried context', () => {
  beforeEach(() => {
    settings = { providers: [UserCarrier] };
  });

  it('is around the workflow, its steps and its children, and around nothing else', async () => {
    const app = await apps.start();
    const script = async ({ flow, start }: Parameters<Parameters<ScriptedApp['begin']>[0]>[0]) => {
      const inStep = await flow.step('who', () => user.getStore() ?? null);
      if (flow.workflowId.endsWith('child')) return [inStep];
      app.get(Scripted).scripts.set('ada-child', script);
      const child = await start('ada-child');
      return [user.getStore(), inStep, ...((await child.result()) as unknown[])];
    };
    const handle = await user.run('ada', () => app.begin(script, 'ada'));
    const anonymous = await app.begin(() => user.getStore() ?? 'nobody');
    expect(await handle.result()).toEqual(['ada', 'ada', 'ada']);
    expect(await anonymous.result()).toBe('nobody');
    expect(await contextOf(app, 'ada-child')).toEqual({ user: 'ada' });
    expect(await contextOf(app, anonymous.workflowId)).toBeNull();
  });

  it('comes back with a recovery on another process, and with a fork', async () => {
    const { app, handle } = await user.run('eve', () =>
      apps.relive(async ({ die }) => {
        await die();
        return user.getStore() ?? 'nobody';
      }),
    );
    expect(await handle.result()).toBe('eve');
    const script = app.get(Scripted).scripts.get(handle.workflowId);
    if (script) app.get(Scripted).scripts.set('fork', script);
    const fork = await app.workflows.fork(handle.workflowId, { from: 0, workflowId: 'fork' });
    expect(await fork.result()).toBe('eve');
  });

  it('is inherited by children where nobody has its carrier', async () => {
    const id = await user.run('ida', () => apps.runUntilDeath(({ die }) => die()));
    settings = {};
    const app = await apps.start({ [id]: ({ start }) => start('ida-child').then(() => 'done') });
    expect(await app.workflows.handle(id).result()).toBe('done');
    expect(await contextOf(app, 'ida-child')).toEqual({ user: 'ida' });
  });

  it('is that of the caller where workflows are enqueued, one or many, or started in a transaction', async () => {
    settings = { providers: [UserCarrier, queueOf({ name: 'orders' })] };
    const app = await apps.start({}, { runWorkflows: false });
    const { queues } = app.get(Engine);
    await user.run('amy', () => queues.enqueue('orders', 'Scripted', [], { workflowId: 'one' }));
    await user.run('ben', () =>
      queues.enqueueMany('orders', 'Scripted', [{ workflowId: 'of many', args: [] }]),
    );
    await user.run('cat', () =>
      app.prisma.$transaction((tx) =>
        app.workflows.start(Scripted, { tx, workflowId: 'in tx' }).run(),
      ),
    );
    expect(await contextOf(app, 'one')).toEqual({ user: 'amy' });
    expect(await contextOf(app, 'of many')).toEqual({ user: 'ben' });
    expect(await contextOf(app, 'in tx')).toEqual({ user: 'cat' });
  });

  it('is that of the last call where what waits is replaced or put off', async () => {
    settings = { providers: [UserCarrier, queueOf({ name: 'orders' })] };
    const app = await apps.start({}, { runWorkflows: false });
    const engine = app.get(Engine);
    const placement = { deduplicationId: 'order 7', deduplication: 'replace' } as const;
    const replace = () => engine.queues.enqueue('orders', 'Scripted', [], placement);
    const putOff = async () => {
      const options = { key: 'order 7', periodMs: 3_600_000 };
      return (await engine.debounce('Scripted', [], options)).workflowId;
    };
    for (const call of [replace, putOff]) {
      const id = await user.run('dan', call);
      expect(await contextOf(app, id)).toEqual({ user: 'dan' });
      expect(await user.run('eli', call)).toBe(id);
      expect(await contextOf(app, id)).toEqual({ user: 'eli' });
      expect(await call()).toBe(id);
      expect(await contextOf(app, id)).toBeNull();
    }
  });

  it('is nobody’s for workflows of schedules, whoever made or triggered them', async () => {
    const app = await apps.start({}, { runWorkflows: false });
    const { schedules } = app.get(Engine);
    const id = await user.run('flo', async () => {
      await schedules.create({ name: 'nightly', workflow: 'Scripted', cron: '@yearly' });
      return schedules.trigger('nightly');
    });
    expect(await contextOf(app, id)).toBeNull();
    await schedules.delete('nightly');
  });

  it('may be given by the options, whose carriers lie around the marked ones', async () => {
    const tenant = new AsyncLocalStorage<string>();
    const carrier: ContextCarrier = {
      name: 'tenant',
      capture: () => tenant.getStore(),
      run: (value, work) => tenant.run(`${value}, around ${user.getStore() ?? 'nobody'}`, work),
    };
    settings = { ...settings, options: { contextCarriers: [carrier] } };
    const app = await apps.start();
    const handle = await tenant.run('acme', () =>
      user.run('gus', () => app.begin(() => [tenant.getStore(), user.getStore()])),
    );
    expect(await handle.result()).toEqual(['acme, around nobody', 'gus']);
    expect(await contextOf(app, handle.workflowId)).toEqual({ tenant: 'acme', user: 'gus' });
  });

  it('is encrypted like all that is stored', async () => {
    settings = { ...settings, options: { codecs: [aes('k1')] } };
    const app = await apps.start();
    const handle = await user.run('zoe', () => app.begin(() => user.getStore() ?? 'nobody'));
    expect(await handle.result()).toBe('zoe');
    expect(await contextOf(app, handle.workflowId)).toEqual({
      user: { format: 'text+aes-gcm:k1', text: expect.not.stringContaining('zoe') as string },
    });
  });

  it('that its carrier cannot say starts nothing', async () => {
    jest.spyOn(UserCarrier.prototype, 'capture').mockImplementation(() => {
      throw new Error('no request');
    });
    const app = await apps.start();
    expect(await thrownBy(() => app.begin(() => 1, 'nameless'))).toMatchObject({
      code: 'DBOS_CONTEXT_CAPTURE',
      carrier: 'user',
    });
    expect(await contextOf(app, 'nameless')).toBeUndefined();
  });

  it.each(['x'.repeat(20_000), 'nul \0', 'half \ud800'])('is bounded, and text', async (value) => {
    const app = await apps.start();
    const started = user.run(value, () => app.begin(() => 1));
    expect(await thrownBy(() => started)).toMatchObject({ code: 'DBOS_CONTEXT_CAPTURE' });
  });

  it('that its carrier cannot restore suspends the workflow before it has run', async () => {
    jest.spyOn(UserCarrier.prototype, 'run').mockReturnValue(undefined);
    const app = await apps.start();
    const ran: number[] = [];
    const handle = await user.run('bob', () => app.begin(() => ran.push(1)));
    expect(await suspension(handle)).toContain('"user" of workflow');
    expect(ran).toEqual([]);
  });
});

function aes(current: string, ids = [current]): ReturnType<typeof aesGcmCodec> {
  const keys = Object.fromEntries(ids.map((id) => [id, Buffer.alloc(32, id)]));
  return aesGcmCodec({ keys, current });
}

describe('Codecs', () => {
  it('see inputs, results, errors, checkpoints, messages, events and streams', async () => {
    settings = { options: { codecs: [gzipCodec({ minBytes: 50 }), aes('k1')] } };
    const app = await apps.start();
    const handle = await app.begin(async ({ flow }) => {
      await flow.setEvent('event', 'secret event');
      await flow.writeStream('stream', 'secret entry');
      await flow.step('step', () => 'secret step');
      await flow.step('fails', () => Promise.reject(new Error('secret error'))).catch(() => 0);
      return [await flow.recv('topic'), 'secret result'.repeat(50)];
    }, 'sealed');
    await app.workflows.send('sealed', 'secret message', { topic: 'topic' });
    expect(await handle.result()).toEqual(['secret message', 'secret result'.repeat(50)]);
    expect(await app.workflows.getEvent('sealed', 'event')).toBe('secret event');
    const archive = await app.workflows.export('sealed');
    const rows = JSON.stringify(archive);
    expect(rows).not.toContain('secret');
    expect(rows.match(/"serialization":"\w+\+(gzip\+)?aes-gcm:k1"/g)?.length).toBeGreaterThan(5);

    await app.workflows.delete('sealed');
    await app.workflows.import(archive);
    expect(await handle.result()).toEqual(['secret message', 'secret result'.repeat(50)]);
    expect(await app.workflows.explain('sealed')).toMatchObject({ status: 'SUCCESS' });
  });

  it('without the key suspend the workflow, which goes on once the key is back', async () => {
    settings = { options: { codecs: [aes('k1')] } };
    const id = await apps.runUntilDeath(async ({ die }) => {
      await die();
      return 'done';
    });
    settings = { options: { codecs: [aes('k2')] } };
    const without = await apps.start({ [id]: () => 'never' });
    await suspended(without, id);
    await apps.close();
    settings = { options: { codecs: [aes('k2', ['k1', 'k2'])] } };
    const app = await apps.start({ [id]: ({ die }) => die().then(() => 'done') });
    expect(await app.workflows.handle(id).result()).toBe('done');
  });
});

async function suspended(app: ScriptedApp, id: string): Promise<void> {
  expect(await suspension(app.workflows.handle(id))).toContain('needs the key "k1"');
}

describe('A schedule', () => {
  it('whose encrypted input is given again has not been changed', async () => {
    settings = { options: { codecs: [aes('k1')] } };
    const app = await apps.start();
    const { schedules } = app.get(Engine);
    const set = [{ name: 'nightly', workflow: 'Scripted', cron: '0 0 * * *', input: 'secret' }];
    const row = (): Promise<unknown> =>
      app.prisma.$queryRaw`SELECT revision, input FROM dbos.schedules WHERE name = 'nightly'`;
    await schedules.applySet('set', set);
    const before = await row();
    await schedules.applySet('set', set);
    expect(await row()).toEqual(before);
  });
});

describe('Log lines', () => {
  /** What is logged of a workflow that is suspended after code threw a secret. */
  async function logged(): Promise<string> {
    const lines = [jest.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined)];
    const { handle } = await apps.relive(
      async ({ flow, die }) => {
        await flow.step('work', () => 1);
        await die();
      },
      () => Promise.reject(new Error('card 4111')),
    );
    await suspension(handle);
    return JSON.stringify(lines.flatMap(({ mock }) => mock.calls));
  }

  it('do not quote the errors of the application, but say what happened', async () => {
    const lines = await logged();
    expect(lines).toContain('does not match its history');
    expect(lines).not.toContain('4111');
  });

  it('say what redact makes of messages', async () => {
    settings = { options: { redact: (message) => message.replace(/card \d+/, 'card ****') } };
    const lines = await logged();
    expect(lines).toContain('card ****');
    expect(lines).not.toContain('4111');
  });
});
