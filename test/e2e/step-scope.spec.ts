// Where a step is called: what may be done inside of one, what it is outside of a workflow, what it knows of itself.
import { Injectable } from '@nestjs/common';
import { Step, WorkflowContext, type StepContext } from 'nestjs-dbos';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import { eventually } from '../support/eventually.js';
import {
  recorded,
  Scripted,
  thrownBy,
  useScriptedApps,
  type Stage,
} from '../support/scripted-app.js';

@Injectable()
class Payments {
  readonly attempts: StepContext[] = [];
  inner = 0;

  constructor(private readonly flow: WorkflowContext) {}

  @Step({ maxRetries: 2, baseIntervalMs: 0 })
  async charge(): Promise<string> {
    this.attempts.push(this.flow.stepContext);
    throw new Error(`refused ${this.attempts.length}`);
  }

  @Step({ maxRetries: 5, baseIntervalMs: 0 })
  async innermost(): Promise<string> {
    this.inner += 1;
    throw new Error(`inner ${this.inner}`);
  }

  @Step()
  async outer(): Promise<string> {
    return this.innermost();
  }

  @Step()
  async balance(account: string): Promise<string> {
    return `balance of ${account}`;
  }
}

const apps = useScriptedApps({ providers: [Payments] });

describe('A step within a step', () => {
  it('B7: is part of it: no record, no id, no retries of its own', async () => {
    const app = await apps.start();
    const payments = app.get(Payments);
    const handle = await app.begin(async ({ flow }) => {
      const error = await thrownBy(() => payments.outer());
      await flow.step('after', () => undefined);
      return error.message;
    });

    expect(await handle.result()).toBe('inner 1');
    expect(await recorded(app, handle.workflowId)).toEqual(['0 Payments.outer', '1 after']);
  });

  it('B7: is part of it inline too, and shares its context', async () => {
    const app = await apps.start();
    const handle = await app.begin(async ({ flow }) => {
      const keys = await flow.step('outer', (outer) =>
        flow.step('inner', (inner) => [outer.idempotencyKey, inner.idempotencyKey], {
          maxRetries: 3,
        }),
      );
      await flow.step('after', () => undefined);
      return keys;
    });

    expect(await handle.result()).toEqual(Array(2).fill(`${handle.workflowId}/0`));
    expect(await recorded(app, handle.workflowId)).toEqual(['0 outer', '1 after']);
  });
});

describe('Inside a step', () => {
  it.each<[string, (stage: Stage) => unknown]>([
    ['starting a workflow', ({ workflows }) => workflows.start(Scripted).run()],
    ['executing a workflow', ({ workflows }) => workflows.execute(Scripted).run()],
    ['calling the method of a workflow', ({ run }) => run()],
    ['awaiting a result', ({ workflows, flow }) => workflows.handle(flow.workflowId).result()],
    ['sleep', ({ flow }) => flow.sleep(0)],
    ['all', ({ flow }) => flow.all([() => 1])],
    ['map', ({ flow }) => flow.map([1], (item) => item)],
    ['race', ({ flow }) => flow.race([() => 1])],
    ['cancelling a workflow', ({ workflows, flow }) => workflows.cancel(flow.workflowId)],
    ['resuming a workflow', ({ workflows, flow }) => workflows.resume(flow.workflowId)],
    ['resolving a provider', ({ flow }) => flow.resolve(Payments)],
  ])('B8: %s is refused, writes nothing and takes no step id', async (_, operation) => {
    const app = await apps.start();
    const countRows = (): Promise<unknown> =>
      app.prisma.$queryRaw`SELECT count(*)::int AS count FROM dbos.workflows`;
    const before = (await countRows()) as Array<{ count: number }>;
    const handle = await app.begin(async (stage) => {
      const refusal = await stage.flow.step('outer', async () => {
        const error = await thrownBy(() => operation(stage));
        const { code, stepName } = error as Error & { code: string; stepName: string };
        return { code, stepName };
      });
      await stage.flow.step('after', () => undefined);
      return refusal;
    });

    expect(await handle.result()).toMatchObject({
      code: 'DBOS_FORBIDDEN_IN_STEP',
      stepName: 'outer',
    });
    expect(await recorded(app, handle.workflowId)).toEqual(['0 outer', '1 after']);
    expect(await countRows()).toEqual([{ count: before[0]!.count + 1 }]);
  });

  it('B8: the refusal is the error of the step when the step does not catch it', async () => {
    const app = await apps.start();
    const handle = await app.begin(({ flow }) => flow.step('nap', () => flow.sleep(1)));

    await expect(handle.result()).rejects.toThrow(
      'flow.sleep() cannot be called inside step "nap"',
    );
    expect(await recorded(app, handle.workflowId)).toEqual(['0 nap']);
  });

  it('B8: code that an abandoned call left behind is still inside', async () => {
    const app = await apps.start();
    const later = deferred<void>();
    const refusal = deferred<Error>();
    const handle = await app.begin(async ({ flow }) => {
      await flow.step('outer', () => {
        void later.promise.then(() => thrownBy(() => flow.sleep(0))).then(refusal.resolve);
      });
      await flow.step('after', async () => {
        later.resolve();
        await refusal.promise;
      });
    });

    await handle.result();
    expect(await refusal.promise).toMatchObject({ code: 'DBOS_FORBIDDEN_IN_STEP' });
    expect(await recorded(app, handle.workflowId)).toEqual(['0 outer', '1 after']);
  });

  it('B8: reading is allowed and takes no step id', async () => {
    const app = await apps.start();
    const handle = await app.begin(async ({ flow, workflows }) => {
      const status = await flow.step('read', async () => {
        await flow.now();
        await flow.uuid();
        await workflows.steps(flow.workflowId);
        return (await workflows.handle(flow.workflowId).status()).status;
      });
      await flow.step('after', () => undefined);
      return status;
    });

    expect(await handle.result()).toBe('PENDING');
    expect(await recorded(app, handle.workflowId)).toEqual(['0 read', '1 after']);
  });

  it('the retry predicate is inside too: what it calls takes no step id', async () => {
    const { app, handle } = await apps.relive(async ({ flow, die }) => {
      const shouldRetry = async (): Promise<boolean> => {
        await flow.uuid();
        return false;
      };
      const body = (): Promise<never> => Promise.reject(new Error('refused'));
      await thrownBy(() => flow.step('charge', body, { maxRetries: 1, shouldRetry }));
      await die();
      await flow.step('after', () => undefined);
    });

    await eventually(async () => expect((await handle.status()).status).toBe('SUCCESS'));
    expect(await recorded(app, handle.workflowId)).toEqual(['0 charge', '1 die', '2 after']);
  });
});

describe('A step outside of a workflow', () => {
  it('is an ordinary call of the method: nothing is recorded, nothing retried', async () => {
    const app = await apps.start();
    const payments = app.get(Payments);

    expect(await payments.balance('4711')).toBe('balance of 4711');
    await expect(payments.outer()).rejects.toThrow('inner 1');
    expect(payments.inner).toBe(1);
    expect(app.faults.matching('dbos.write_transitions')).toEqual([]);
  });

  it('is an ordinary call of the function, at its first attempt', async () => {
    const app = await apps.start();
    const flow = app.get(WorkflowContext);
    const contexts: StepContext[] = [];
    const body = (context: StepContext): never => {
      contexts.push(context);
      throw new Error('refused');
    };

    await expect(flow.step('charge', body, { maxRetries: 3 })).rejects.toThrow('refused');
    expect(contexts).toMatchObject([{ attempt: 1, stepName: 'charge', workflowId: '' }]);
  });

  it('throws the very error of the method', async () => {
    const app = await apps.start();
    const error = new RangeError('refused');
    const flow = app.get(WorkflowContext);
    expect(await thrownBy(() => flow.step('charge', () => Promise.reject(error)))).toBe(error);
  });

  it('leaves no step behind to ask for its context', async () => {
    const app = await apps.start();
    expect(() => app.get(WorkflowContext).stepContext).toThrow(
      expect.objectContaining({ code: 'DBOS_NOT_IN_WORKFLOW' }),
    );
  });
});

describe('A step after the end of its workflow', () => {
  it('is refused, for nobody would record it', async () => {
    const app = await apps.start();
    const end = deferred<void>();
    const late = deferred<Error | string>();
    let bodies = 0;
    const handle = await app.begin(({ flow }) => {
      const callLate = (): Promise<string> => flow.step('late', () => `ran ${(bodies += 1)}`);
      void end.promise.then(callLate).then(late.resolve, late.resolve);
    });
    await handle.result();
    end.resolve();

    expect(await late.promise).toBeInstanceOf(Error);
    expect(bodies).toBe(0);
  });
});

describe('The context of a step', () => {
  it('counts attempts from 1 and keeps its idempotency key over them', async () => {
    const app = await apps.start();
    const payments = app.get(Payments);
    const handle = await app.begin(async () => {
      await payments.balance('first');
      await thrownBy(() => payments.charge());
    });

    await handle.result();
    const { workflowId } = handle;
    const same = { workflowId, stepId: '1', stepName: 'Payments.charge' };
    expect(payments.attempts).toMatchObject(
      [1, 2, 3].map((attempt) => ({
        ...same,
        attempt,
        idempotencyKey: payments.attempts[0]!.idempotencyKey,
      })),
    );
  });

  it('keeps its idempotency key when the step is run again after a crash', async () => {
    const keys: string[] = [];
    const { handle } = await apps.relive(async ({ flow, die }) => {
      await flow.step('before', () => undefined);
      const interrupted = flow.step('charge', async ({ idempotencyKey, signal }) => {
        keys.push(idempotencyKey);
        if (keys.length > 1) return 'charged';
        return new Promise<string>((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error));
        });
      });
      const [, charged] = await Promise.all([die(), interrupted]);
      return charged;
    });

    expect(await handle.result()).toBe('charged');
    expect(keys).toHaveLength(2);
    expect(keys[1]).toBe(keys[0]);
  });

  it('has a key of its own for each step and each workflow', async () => {
    const app = await apps.start();
    const begin = () =>
      app.begin(async ({ flow }) => [
        await flow.step('a', ({ idempotencyKey }) => idempotencyKey),
        await flow.step('a', ({ idempotencyKey }) => idempotencyKey),
      ]);
    const handles = await Promise.all([begin(), begin()]);
    const keys = await Promise.all(handles.map((handle) => handle.result()));
    expect(new Set(keys.flat()).size).toBe(4);
  });

  it('aborts its signal when the workflow is cancelled, and nothing is recorded', async () => {
    const app = await apps.start();
    const begun = deferred<AbortSignal>();
    const aborted = deferred<void>();
    const handle = await app.begin(({ flow }) =>
      flow.step('charge', async ({ signal }) => {
        signal.addEventListener('abort', () => aborted.resolve());
        begun.resolve(signal);
        await aborted.promise;
        return 'charged after all';
      }),
    );
    const signal = await begun.promise;

    await app.workflows.cancel(handle.workflowId);
    await aborted.promise;

    expect(signal.reason).toMatchObject({ code: 'DBOS_RUN_CANCELLED' });
    await expect(handle.result()).rejects.toMatchObject({ code: 'DBOS_WORKFLOW_CANCELLED' });
    expect(await recorded(app, handle.workflowId)).toEqual([]);
  });

  it('keeps nobody waiting for a cancelled workflow when its body does not listen', async () => {
    const app = await apps.start();
    const begun = deferred<void>();
    const released = deferred<void>();
    const handle = await app.begin(({ flow }) =>
      flow.step('deaf', () => {
        begun.resolve();
        return released.promise;
      }),
    );
    const heard: Error[] = [];
    void thrownBy(() => handle.result()).then((error) => heard.push(error));
    await begun.promise;
    await app.workflows.cancel(handle.workflowId);

    await eventually(() => expect(heard).toMatchObject([{ code: 'DBOS_WORKFLOW_CANCELLED' }]));
    released.resolve();
  });

  it('shows an aborted signal to a body that first asks for it afterwards', async () => {
    const app = await apps.start();
    const begun = deferred<void>();
    const cancelled = deferred<void>();
    const seenAborted = deferred<boolean>();
    const handle = await app.begin(({ flow }) =>
      flow.step('charge', async (context) => {
        begun.resolve();
        await cancelled.promise;
        seenAborted.resolve(context.signal.aborted);
      }),
    );
    await begun.promise;
    await app.workflows.cancel(handle.workflowId);
    cancelled.resolve();

    expect(await seenAborted.promise).toBe(true);
  });

  it('does not abort the signal of a step that has ended', async () => {
    const app = await apps.start();
    const signals: AbortSignal[] = [];
    const handle = await app.begin(({ flow }) =>
      flow.step('charge', ({ signal }) => void signals.push(signal)),
    );
    await handle.result();
    await app.close();
    expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
  });
});
