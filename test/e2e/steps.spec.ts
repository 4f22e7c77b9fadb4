// Steps: tried, recorded once, never run again.
import { Injectable } from '@nestjs/common';
import {
  FatalStepError,
  InvalidArgumentError,
  Step,
  StepRetriesExhaustedError,
  WorkflowContext,
  type StepOptions,
} from 'nestjs-dbos';
import { recorded, thrownBy, useScriptedApps } from '../support/scripted-app.js';

const NO_WAIT: StepOptions = { baseIntervalMs: 0 };

@Injectable()
class Payments {
  readonly attempts: number[] = [];

  constructor(private readonly flow: WorkflowContext) {}

  @Step({ maxRetries: 2, baseIntervalMs: 0 })
  async charge(): Promise<string> {
    this.attempts.push(this.flow.stepContext.attempt);
    throw new Error(`refused ${this.attempts.length}`);
  }
}

const apps = useScriptedApps({ providers: [Payments] });

describe('A step that fails', () => {
  it('B4: is recorded with its error, which the workflow can handle', async () => {
    const app = await apps.start();
    const handle = await app.begin(async ({ flow }) =>
      flow.step('charge', () => Promise.reject(new Error('refused'))).catch(() => 'paid in cash'),
    );

    expect(await handle.result()).toBe('paid in cash');
    expect(await app.workflows.steps(handle.workflowId)).toMatchObject([
      { stepId: '0', name: 'charge', attempts: 1, error: { message: 'refused' } },
    ]);
  });

  it('B4: is not run again on a replay, and throws the same error', async () => {
    let calls = 0;
    const { handle } = await apps.relive(async ({ flow, die }) => {
      const error = await thrownBy(() =>
        flow.step('charge', () => {
          calls += 1;
          throw new Error('card 4711 has expired');
        }),
      );
      await die();
      return error.message;
    });

    expect(await handle.result()).toBe('card 4711 has expired');
    expect(calls).toBe(1);
  });

  it('fails the workflow when nobody catches its error', async () => {
    const app = await apps.start();
    const handle = await app.begin(({ flow }) =>
      flow.step('charge', () => {
        throw new Error('card 4711 has expired');
      }),
    );

    await expect(handle.result()).rejects.toThrow('card 4711 has expired');
    expect(await handle.status()).toMatchObject({ status: 'ERROR' });
  });
});

describe('Retries', () => {
  it('B5: five retries are six calls, one record, and an error with the error of each', async () => {
    const app = await apps.start();
    let calls = 0;
    const handle = await app.begin(({ flow }) =>
      flow.step(
        'charge',
        () => {
          calls += 1;
          throw new Error(`refused ${calls}`);
        },
        { maxRetries: 5, baseIntervalMs: 1 },
      ),
    );
    const error = (await thrownBy(() => handle.result())) as StepRetriesExhaustedError;

    expect(calls).toBe(6);
    expect(error.code).toBe('DBOS_STEP_RETRIES_EXHAUSTED');
    expect(error.message).toContain('exceeded its maximum of 5 retries');
    expect(error.errors.map((each) => (each as Error).message)).toEqual(
      [1, 2, 3, 4, 5, 6].map((call) => `refused ${call}`),
    );
    expect((error.cause as Error).message).toBe('refused 6');
    expect(await app.workflows.steps(handle.workflowId)).toMatchObject([{ attempts: 6 }]);
  });

  it('B5: the message names every error', async () => {
    const app = await apps.start();
    const handle = await app.begin(({ flow }) => {
      let calls = 0;
      return flow.step('charge', () => Promise.reject(new TypeError(`refused ${(calls += 1)}`)), {
        ...NO_WAIT,
        maxRetries: 1,
      });
    });
    await expect(handle.result()).rejects.toThrow(
      '(1) TypeError: refused 1; (2) TypeError: refused 2',
    );
  });

  it('B5: of very many attempts the first and the last are kept, each under its number', async () => {
    const app = await apps.start();
    const handle = await app.begin(({ flow }) =>
      flow.step('s', ({ attempt }) => Promise.reject(new Error(`refused ${attempt}`)), {
        ...NO_WAIT,
        maxRetries: 129,
      }),
    );
    const error = (await thrownBy(() => handle.result())) as StepRetriesExhaustedError;

    expect([error.errors.length, error.omittedErrors]).toEqual([100, 30]);
    expect(error.message).toContain('(50) Error: refused 50');
    expect(error.message).toContain('(130) Error: refused 130');
    expect(error.message).not.toContain('refused 51');
  });

  it('B5: without retries there is one call and its own error', async () => {
    const app = await apps.start();
    let calls = 0;
    const handle = await app.begin(({ flow }) =>
      flow.step('charge', () => {
        calls += 1;
        throw new RangeError('refused');
      }),
    );

    await expect(handle.result()).rejects.toMatchObject({ name: 'RangeError', message: 'refused' });
    expect(calls).toBe(1);
  });

  it('B5: the exhaustion is the same on a replay, and nothing is tried again', async () => {
    const views: unknown[] = [];
    let calls = 0;
    const { handle } = await apps.relive(async ({ flow, die }) => {
      const body = (): never => {
        throw new Error(`refused ${(calls += 1)}`);
      };
      const error = await thrownBy(() => flow.step('s', body, { ...NO_WAIT, maxRetries: 2 }));
      const { message, errors, cause } = error as StepRetriesExhaustedError;
      views.push([error instanceof StepRetriesExhaustedError, message, String(cause), ...errors]);
      await die();
    });

    await handle.result();
    expect(calls).toBe(3);
    expect(views[0]).toMatchObject([true, expect.any(String), 'Error: refused 3', {}, {}, {}]);
    expect(views[1]).toEqual(views[0]);
  });

  it('end with the first success, which is what is recorded', async () => {
    const app = await apps.start();
    const handle = await app.begin(({ flow }) =>
      flow.step(
        'charge',
        ({ attempt }) => {
          if (attempt < 3) throw new Error('refused');
          return `charged at attempt ${attempt}`;
        },
        { ...NO_WAIT, maxRetries: 9 },
      ),
    );

    expect(await handle.result()).toBe('charged at attempt 3');
    expect(await app.workflows.steps(handle.workflowId)).toMatchObject([{ attempts: 3 }]);
  });

  it('are configured on a method by its decorator', async () => {
    const app = await apps.start();
    const payments = app.get(Payments);
    const handle = await app.begin(() => payments.charge());

    await expect(handle.result()).rejects.toThrow('exceeded its maximum of 2 retries');
    expect(payments.attempts).toEqual([1, 2, 3]);
  });

  it('stop at a FatalStepError, which is the outcome', async () => {
    let calls = 0;
    const fatal: boolean[] = [];
    const { handle } = await apps.relive(async ({ flow, die }) => {
      const body = (): never => {
        calls += 1;
        throw new FatalStepError('the card is stolen');
      };
      const error = await thrownBy(() => flow.step('s', body, { ...NO_WAIT, maxRetries: 5 }));
      fatal.push(error instanceof FatalStepError);
      await die();
      return [error.message, (error as FatalStepError).code];
    });

    expect(await handle.result()).toEqual(['the card is stolen', 'DBOS_FATAL_STEP']);
    expect(calls).toBe(1);
    expect(fatal).toEqual([true, true]);
  });

  it.each<[string, StepOptions]>([
    ['maxRetries', { maxRetries: -1 }],
    ['baseIntervalMs', { baseIntervalMs: NaN }],
    ['backoffFactor', { backoffFactor: 0 }],
    ['maxIntervalMs', { maxIntervalMs: -1 }],
    ['maxRetryDurationMs', { maxRetryDurationMs: 0 }],
  ])('with an unusable %s are refused where the step is written', (option, options) => {
    const define = (): unknown => {
      class Shop {
        @Step(options)
        charge(): void {}
      }
      return Shop;
    };
    expect(define).toThrow(InvalidArgumentError);
    expect(define).toThrow(`"Shop.charge": ${option} must be `);
  });
});

describe('An inline step', () => {
  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['an empty text', ''],
    ['a text with a line break', 'a\nb'],
    ['a text of 257 characters', 'x'.repeat(257)],
    ['a number', 42],
  ])('refuses %s as its name, runs nothing and takes no id', async (_, name) => {
    const app = await apps.start();
    let calls = 0;
    const handle = await app.begin(async ({ flow }) => {
      const error = await thrownBy(() => flow.step(name as string, () => (calls += 1)));
      await flow.step('after', () => undefined);
      return error instanceof InvalidArgumentError;
    });

    expect(await handle.result()).toBe(true);
    expect(calls).toBe(0);
    expect(await recorded(app, handle.workflowId)).toEqual(['0 after']);
  });

  it('refuses its name by a rejection, as everything else', async () => {
    const app = await apps.start();
    const handle = await app.begin(async ({ flow }) => {
      let rejection: Promise<string> | undefined;
      expect(() => (rejection = flow.step('', () => 'never').catch(() => 'refused'))).not.toThrow();
      return rejection;
    });
    expect(await handle.result()).toBe('refused');
  });
});

describe('The result of a step', () => {
  it('is a copy, on the first run as on a replay', async () => {
    const original = { lines: [1, 2] };
    const views: unknown[] = [];
    const { handle } = await apps.relive(async ({ flow, die }) => {
      const order = await flow.step('load', () => original);
      views.push(order === original);
      order.lines.push(3);
      await die();
      return [order, original];
    });

    expect(await handle.result()).toEqual([{ lines: [1, 2, 3] }, { lines: [1, 2] }]);
    expect(views).toEqual([false, false]);
  });

  it('is undefined on the first run as on a replay when the body returns nothing', async () => {
    const results: unknown[] = [];
    const { handle } = await apps.relive(async ({ flow, die }) => {
      results.push(await flow.step('nothing', () => undefined));
      await die();
    });
    await handle.result();
    expect(results).toEqual([undefined, undefined]);
  });

  it('that cannot be kept is an error of the step that names the place in the value', async () => {
    const app = await apps.start();
    const handle = await app.begin(({ flow }) =>
      flow.step('load', () => ({ order: { lines: [{ price: () => 5 }] } })),
    );
    await expect(handle.result()).rejects.toThrow('order.lines[0].price');
  });
});
