// Before a step is tried again: who is asked, and how long it waits.
import {
  FatalStepError,
  RetryAfterError,
  type StepContext,
  type StepOptions,
  type StepRetriesExhaustedError,
  type WorkflowHandle,
} from 'nestjs-dbos';
import type { Engine } from '../../libs/dbos/src/engine/engine.js';
import { Attempts } from '../support/attempts.js';
import { thrownBy } from '../support/scripted-app.js';
import { useTestEngines, type TestEngine } from '../support/test-engine.js';

const engines = useTestEngines();
let test: TestEngine;

beforeEach(async () => {
  test = await engines.start();
});

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

/** Lets what is ready run. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function messages({ errors }: StepRetriesExhaustedError): string[] {
  return errors.map((error) => (error as Error).message);
}

describe('The retry predicate', () => {
  const RETRIES: StepOptions = { maxRetries: 3, baseIntervalMs: 0 };

  it('B39: that says no ends the step at its first error, as it was thrown', async () => {
    const attempts = new Attempts();
    attempts.end(1).reject(Object.assign(new RangeError('refused'), { code: 'NO_RETRY' }));
    const handle = await beginStep(attempts.body, { ...RETRIES, shouldRetry: () => false });

    await expect(handle.result()).rejects.toMatchObject({ name: 'RangeError', code: 'NO_RETRY' });
    expect(attempts.count).toBe(1);
    expect(await test.engine.steps(handle.workflowId)).toMatchObject([
      { attempts: 1, error: { name: 'RangeError', message: 'refused' } },
    ]);
  });

  it('B39: may be asynchronous, also when it says no', async () => {
    const attempts = new Attempts();
    attempts.end(1).reject(new Error('refused'));
    const shouldRetry = async (): Promise<boolean> => {
      await turn();
      return false;
    };
    const handle = await beginStep(attempts.body, { ...RETRIES, shouldRetry });
    await expect(handle.result()).rejects.toThrow(/^refused$/);
    expect(attempts.count).toBe(1);
  });

  it('B39: that says yes lets the step be tried again', async () => {
    const attempts = new Attempts();
    attempts.end(1).reject(new Error('refused'));
    attempts.end(2).resolve('charged');
    const handle = await beginStep(attempts.body, { ...RETRIES, shouldRetry: async () => true });
    await test.pass(0);
    expect(await handle.result()).toBe('charged');
  });

  it('B39: is given the error and the number of the attempt', async () => {
    const asked: unknown[] = [];
    const shouldRetry = (error: unknown, attempt: number): boolean => {
      asked.push([(error as Error).message, attempt]);
      return true;
    };
    const body = ({ attempt }: StepContext): string => {
      if (attempt < 3) throw new Error(`refused ${attempt}`);
      return 'charged';
    };
    const handle = await beginStep(body, { maxRetries: 2, baseIntervalMs: 0, shouldRetry });
    await test.pass(0);
    await test.pass(0);

    expect(await handle.result()).toBe('charged');
    expect(asked).toEqual([
      ['refused 1', 1],
      ['refused 2', 2],
    ]);
  });

  it('B39: that says no to the last error leaves that error as it was thrown', async () => {
    const body = ({ attempt }: StepContext): never => {
      throw new RangeError(`refused ${attempt}`);
    };
    const shouldRetry = (_: unknown, attempt: number): boolean => attempt < 2;
    const handle = await beginStep(body, { maxRetries: 1, baseIntervalMs: 0, shouldRetry });
    await test.pass(0);
    await expect(handle.result()).rejects.toMatchObject({
      name: 'RangeError',
      message: 'refused 2',
    });
  });

  it.each<[string, () => Promise<boolean>]>([
    [
      'throws',
      () => {
        throw new TypeError('predicate broken');
      },
    ],
    ['rejects', () => Promise.reject(new TypeError('predicate broken'))],
  ])('B39: that %s gives the step its error', async (_, shouldRetry) => {
    const attempts = new Attempts();
    attempts.end(1).reject(new Error('refused'));
    const handle = await beginStep(attempts.body, { ...RETRIES, shouldRetry });

    await expect(handle.result()).rejects.toMatchObject({
      name: 'TypeError',
      message: 'predicate broken',
    });
    expect(attempts.count).toBe(1);
  });

  it('B39: is not asked when retries are off', async () => {
    let asked = 0;
    const attempts = new Attempts();
    attempts.end(1).reject(new Error('refused'));
    const handle = await beginStep(attempts.body, { shouldRetry: () => (asked += 1) > 0 });
    await expect(handle.result()).rejects.toThrow(/^refused$/);
    expect(asked).toBe(0);
  });

  it('is not asked about a FatalStepError', async () => {
    let asked = 0;
    const attempts = new Attempts();
    attempts.end(1).reject(new FatalStepError('stolen'));
    const handle = await beginStep(attempts.body, {
      ...RETRIES,
      shouldRetry: () => (asked += 1) > 0,
    });
    await expect(handle.result()).rejects.toMatchObject({ code: 'DBOS_FATAL_STEP' });
    expect(asked).toBe(0);
  });

  it('is not asked about an attempt that a cancellation ended', async () => {
    let asked = 0;
    const attempts = new Attempts();
    const body = (context: StepContext): Promise<string> => {
      context.signal.addEventListener('abort', () => attempts.end(1).reject(new Error('aborted')));
      return attempts.body(context);
    };
    const options = { ...RETRIES, timeoutMs: 200, shouldRetry: () => (asked += 1) > 0 };
    const handle = await beginStep(body, options);
    const result = thrownBy(() => handle.result());
    await test.timer(200);
    await test.engine.cancel([handle.workflowId]);

    expect(await result).toMatchObject({ code: 'DBOS_WORKFLOW_CANCELLED' });
    await turn();
    expect(asked).toBe(0);
  });

  it('decides on timeouts too', async () => {
    const attempts = new Attempts();
    const shouldRetry = (error: unknown): boolean =>
      (error as { code?: string }).code !== 'DBOS_STEP_TIMEOUT';
    const handle = await beginStep(attempts.body, { ...RETRIES, timeoutMs: 200, shouldRetry });
    await test.pass(200);
    await expect(handle.result()).rejects.toMatchObject({ code: 'DBOS_STEP_TIMEOUT' });
    expect(attempts.count).toBe(1);
  });
});

describe('The wait between two attempts', () => {
  /** Lets the given waits pass; each must be what is waited for. */
  async function passAll(...waits: number[]): Promise<void> {
    for (const ms of waits) await test.pass(ms);
  }

  /** Fails at the first `count` attempts, then succeeds. */
  function failing(count: number, error = () => new Error('refused')): Attempts {
    const attempts = new Attempts();
    const body = (context: StepContext): string => {
      attempts.contexts.push(context);
      if (context.attempt <= count) throw error();
      return 'charged';
    };
    return Object.assign(attempts, { body });
  }

  it('B6: doubles from 100 ms up to 5 s', async () => {
    const handle = await beginStep(failing(8).body, { maxRetries: 8 });
    await passAll(100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000);
    expect(await handle.result()).toBe('charged');
  });

  it('is not over a moment before its time', async () => {
    const attempts = failing(1);
    const handle = await beginStep(attempts.body, { maxRetries: 1 });
    await test.timer(100);
    test.clock.advance(99.6);
    await turn();
    expect(attempts.count).toBe(1);
    test.clock.advance(0.4);
    expect(await handle.result()).toBe('charged');
  });

  it('is what a RetryAfterError asks for', async () => {
    const attempts = failing(1, () => new RetryAfterError('too many requests', 1_234));
    const handle = await beginStep(attempts.body, { maxRetries: 1, maxIntervalMs: 10 });
    await test.pass(1_234);
    expect(await handle.result()).toBe('charged');
  });

  it('lasts until the moment that a RetryAfterError names', async () => {
    const at = new Date(test.clock.now() + 4_321);
    const handle = await beginStep(
      failing(1, () => new RetryAfterError('too many requests', at)).body,
      { maxRetries: 1 },
    );
    await test.pass(4_321);
    expect(await handle.result()).toBe('charged');
  });

  it.each([new Date(0), -5])('is nothing when that moment, %p, has passed', async (retryAfter) => {
    const attempts = failing(1, () => new RetryAfterError('too many requests', retryAfter));
    const handle = await beginStep(attempts.body, { maxRetries: 1 });
    await test.pass(0);
    expect(await handle.result()).toBe('charged');
  });

  it.each([NaN, new Date('soon')])('is the usual one when that moment is %p', async (never) => {
    const attempts = failing(1, () => new RetryAfterError('too many requests', never));
    const handle = await beginStep(attempts.body, { maxRetries: 1 });
    await test.pass(100);
    expect(await handle.result()).toBe('charged');
  });

  it('a RetryAfterError counts against the retries as any failure', async () => {
    const attempts = failing(2, () => new RetryAfterError('too many requests', 50));
    const handle = await beginStep(attempts.body, { maxRetries: 1 });
    await test.pass(50);
    await expect(handle.result()).rejects.toThrow('exceeded its maximum of 1 retries');
    expect(attempts.count).toBe(2);
  });

  it('a RetryAfterError without retries is the outcome', async () => {
    const attempts = failing(1, () => new RetryAfterError('too many requests', 50));
    const handle = await beginStep(attempts.body, {});
    await expect(handle.result()).rejects.toMatchObject({ code: 'DBOS_RETRY_AFTER' });
  });

  it('is not begun when it would lead beyond maxRetryDurationMs', async () => {
    const attempts = failing(9);
    const handle = await beginStep(attempts.body, {
      maxRetries: Infinity,
      backoffFactor: 1,
      maxRetryDurationMs: 250,
    });
    await passAll(100, 100);
    const error = (await thrownBy(() => handle.result())) as StepRetriesExhaustedError;

    expect(attempts.count).toBe(3);
    expect(error.code).toBe('DBOS_STEP_RETRIES_EXHAUSTED');
    expect(messages(error)).toEqual(['refused', 'refused', 'refused']);
  });

  it('counts the time that the attempts took towards maxRetryDurationMs', async () => {
    const attempts = new Attempts();
    const handle = await beginStep(attempts.body, {
      timeoutMs: 240,
      maxRetries: 9,
      maxRetryDurationMs: 300,
    });
    await test.pass(240);
    await thrownBy(() => handle.result());
    expect(attempts.count).toBe(1);
  });

  it('ends at once when the workflow is cancelled, and nothing is recorded', async () => {
    const attempts = failing(1);
    const handle = await beginStep(attempts.body, { maxRetries: 1, baseIntervalMs: 60_000 });
    const result = thrownBy(() => handle.result());
    await test.timer(60_000);
    await test.engine.cancel([handle.workflowId]);

    expect(await result).toMatchObject({ code: 'DBOS_WORKFLOW_CANCELLED' });
    expect(test.clock.pending.map(Math.round)).not.toContain(60_000);
    expect(attempts.count).toBe(1);
    expect(await test.engine.steps(handle.workflowId)).toEqual([]);
  });
});
