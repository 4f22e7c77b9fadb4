// The time that an attempt of a step may take, and what becomes of one that takes longer.
import {
  InvalidArgumentError,
  Step,
  type StepContext,
  type StepOptions,
  type StepRetriesExhaustedError,
  type WorkflowHandle,
} from 'nestjs-dbos';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import type { Engine } from '../../libs/dbos/src/engine/engine.js';
import { Attempts } from '../support/attempts.js';
import { thrownBy } from '../support/scripted-app.js';
import { useTestEngines, type TestEngine } from '../support/test-engine.js';

const engines = useTestEngines();
let test: TestEngine;
const unhandled: unknown[] = [];
const noteUnhandled = (reason: unknown): void => void unhandled.push(reason);

beforeAll(() => process.on('unhandledRejection', noteUnhandled));

beforeEach(async () => {
  test = await engines.start();
});

afterEach(() => void unhandled.splice(0));

afterAll(() => process.off('unhandledRejection', noteUnhandled));

/** A workflow of one step, and one behind it whose record stands only after that of the first. */
function beginStep(
  body: (context: StepContext) => unknown,
  options: StepOptions,
): Promise<WorkflowHandle> {
  return test.begin(async ({ flow }: Engine) => {
    const result = await flow.step('charge', body, options);
    await flow.step('after', () => undefined);
    return result;
  });
}

/** Node reports an unhandled rejection at the end of the turn in which nobody handled it. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function messages({ errors }: StepRetriesExhaustedError): string[] {
  return errors.map((error) => (error as Error).message);
}

describe('An attempt with a timeout', () => {
  it('B38: that hangs once is followed by another, which succeeds', async () => {
    const attempts = new Attempts();
    const handle = await beginStep(attempts.body, {
      timeoutMs: 200,
      maxRetries: 2,
      baseIntervalMs: 0,
    });
    await test.pass(200);
    attempts.end(2).resolve('charged');
    await test.pass(0);

    expect(await handle.result()).toBe('charged');
    expect(attempts.contexts.map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(await test.engine.steps(handle.workflowId)).toMatchObject([
      { name: 'charge', attempts: 2, output: 'charged' },
      { name: 'after' },
    ]);
  });

  it('B38: aborts the signal of the attempt that hangs, and of no other', async () => {
    const aborts: number[] = [];
    const attempts = new Attempts();
    const body = (context: StepContext): Promise<string> => {
      context.signal.addEventListener('abort', () => aborts.push(context.attempt));
      return attempts.body(context);
    };
    const handle = await beginStep(body, { timeoutMs: 200, maxRetries: 2, baseIntervalMs: 0 });
    await test.pass(200);
    attempts.end(2).resolve('charged');
    await test.pass(0);
    await handle.result();

    expect(aborts).toEqual([1]);
    expect(attempts.contexts.map(({ signal }) => signal.aborted)).toEqual([true, false]);
    expect(attempts.contexts[0]?.signal.reason).toMatchObject({ code: 'DBOS_STEP_TIMEOUT' });
  });

  it('B38: shows an aborted signal to a body that first asks for it too late', async () => {
    const attempts = new Attempts();
    const handle = await beginStep(attempts.body, { timeoutMs: 200 });
    await test.pass(200);
    await thrownBy(() => handle.result());
    expect(attempts.contexts[0]?.signal.aborted).toBe(true);
  });

  it('B38: that hangs always leaves an error with a timeout for each attempt', async () => {
    const attempts = new Attempts();
    const options = { timeoutMs: 200, maxRetries: 2, baseIntervalMs: 10, backoffFactor: 1 };
    const handle = await beginStep(attempts.body, options);
    for (const ms of [200, 10, 200, 10, 200]) await test.pass(ms);
    const error = (await thrownBy(() => handle.result())) as StepRetriesExhaustedError;

    expect(attempts.count).toBe(3);
    expect(error.code).toBe('DBOS_STEP_RETRIES_EXHAUSTED');
    expect(error.errors).toMatchObject(
      [1, 2, 3].map(() => ({ code: 'DBOS_STEP_TIMEOUT', stepName: 'charge', timeoutMs: 200 })),
    );
    expect(await test.engine.steps(handle.workflowId)).toMatchObject([{ attempts: 3 }]);
  });

  it('B38: without retries fails with the timeout itself', async () => {
    const handle = await beginStep(new Attempts().body, { timeoutMs: 200 });
    await test.pass(200);
    await expect(handle.result()).rejects.toMatchObject({
      code: 'DBOS_STEP_TIMEOUT',
      message: 'An attempt of step "charge" did not finish within 200 ms.',
    });
  });

  it('B38: resolves too late: the result is not recorded', async () => {
    const attempts = new Attempts();
    const handle = await beginStep(attempts.body, {
      timeoutMs: 200,
      maxRetries: 1,
      baseIntervalMs: 10,
    });
    await test.pass(200);
    attempts.end(1).resolve('too late');
    await test.pass(10);
    attempts.end(2).resolve('in time');

    expect(await handle.result()).toBe('in time');
    expect(await test.engine.steps(handle.workflowId)).toMatchObject([
      { output: 'in time', attempts: 2 },
      { name: 'after' },
    ]);
  });

  it('B38: rejects too late: the error is neither recorded nor unhandled', async () => {
    const attempts = new Attempts();
    const handle = await beginStep(attempts.body, {
      timeoutMs: 200,
      maxRetries: 1,
      baseIntervalMs: 10,
    });
    await test.pass(200);
    attempts.end(1).reject(new Error('too late'));
    await turn();
    await test.pass(10);
    attempts.end(2).reject(new Error('in time'));
    const error = (await thrownBy(() => handle.result())) as StepRetriesExhaustedError;
    await turn();

    expect(messages(error)).toEqual([expect.stringContaining('within 200 ms'), 'in time']);
    expect(unhandled).toEqual([]);
  });

  it('B38: rejects when the workflow has long ended: nobody hears of it', async () => {
    const attempts = new Attempts();
    const handle = await beginStep(attempts.body, { timeoutMs: 200 });
    await test.pass(200);
    await thrownBy(() => handle.result());
    const before = await test.engine.steps(handle.workflowId);
    attempts.end(1).reject(new Error('much too late'));
    await turn();

    expect(unhandled).toEqual([]);
    expect(await test.engine.steps(handle.workflowId)).toEqual(before);
  });

  it('B38: rejects because its signal was aborted: the timeout is what is recorded', async () => {
    const body = ({ signal }: StepContext): Promise<never> =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(new Error('aborted')));
      });
    const handle = await beginStep(body, { timeoutMs: 200 });
    await test.pass(200);
    await expect(handle.result()).rejects.toMatchObject({ code: 'DBOS_STEP_TIMEOUT' });
  });

  it('B38: goes on inside of its step when it was abandoned', async () => {
    const attempts = new Attempts();
    const refused = deferred<Error>();
    const handle = await test.begin(async ({ flow }) => {
      const abandoned = async (context: StepContext): Promise<void> => {
        await attempts.body(context);
        await flow.step('inner', () => undefined);
        refused.resolve(await thrownBy(() => flow.sleep(0)));
      };
      await flow.step('charge', abandoned, { timeoutMs: 200 }).catch(() => undefined);
      await flow.step('after', async () => {
        attempts.end(1).resolve('too late');
        await refused.promise;
      });
    });
    await test.pass(200);
    await handle.result();

    expect(await refused.promise).toMatchObject({ code: 'DBOS_FORBIDDEN_IN_STEP' });
    expect((await test.engine.steps(handle.workflowId)).map(({ name }) => name)).toEqual([
      'charge',
      'after',
    ]);
  });

  it('ends in time: leaves no timer behind', async () => {
    const attempts = new Attempts();
    const handle = await beginStep(attempts.body, { timeoutMs: 200 });
    attempts.end(1).resolve('charged');
    await handle.result();
    expect(test.clock.pending.map(Math.round)).not.toContain(200);
  });

  it('throws before it returns a promise: that error counts', async () => {
    const body = (): never => {
      throw new RangeError('refused');
    };
    const handle = await beginStep(body, { timeoutMs: 200 });
    await expect(handle.result()).rejects.toMatchObject({ name: 'RangeError' });
    expect(test.clock.pending.map(Math.round)).not.toContain(200);
  });

  it('has its time anew at every attempt', async () => {
    const attempts = new Attempts();
    const options = { timeoutMs: 200, maxRetries: 1, baseIntervalMs: 150 };
    const handle = await beginStep(attempts.body, options);
    await test.pass(200);
    await test.pass(150);
    await test.pass(200);
    expect(await thrownBy(() => handle.result())).toMatchObject({ errors: [{}, {}] });
  });

  it('B38: loses against a cancellation: nothing is recorded, nothing tried again', async () => {
    const attempts = new Attempts();
    const body = (context: StepContext): Promise<string> => {
      context.signal.addEventListener('abort', () => attempts.end(1).reject(new Error('aborted')));
      return attempts.body(context);
    };
    const handle = await beginStep(body, { timeoutMs: 200, maxRetries: 5 });
    const result = thrownBy(() => handle.result());
    await test.timer(200);
    await test.engine.cancel([handle.workflowId]);
    test.clock.advance(1_000);

    expect(await result).toMatchObject({ code: 'DBOS_WORKFLOW_CANCELLED' });
    expect(attempts.count).toBe(1);
    expect(await test.engine.steps(handle.workflowId)).toEqual([]);
  });

  it.each([0, -1, NaN, Infinity, -Infinity, '200' as unknown as number])(
    'B38: refuses a timeout of %p where the step is defined',
    async (timeoutMs) => {
      const define = (): unknown => {
        class Shop {
          @Step({ timeoutMs })
          charge(): void {}
        }
        return Shop;
      };
      expect(define).toThrow(InvalidArgumentError);
      expect(define).toThrow('"Shop.charge": timeoutMs must be ');
      const handle = await beginStep(() => 'never', { timeoutMs });
      await expect(handle.result()).rejects.toMatchObject({
        code: 'DBOS_INVALID_ARGUMENT',
        message: expect.stringContaining(`"charge": timeoutMs must be `),
      });
      expect(await test.engine.steps(handle.workflowId)).toEqual([]);
    },
  );
});
