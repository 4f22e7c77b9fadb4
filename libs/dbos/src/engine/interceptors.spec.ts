// Interceptors by themselves: in which order, how often, and that nobody pays for none.
import { Interceptors, type InterceptedStep } from './interceptors.js';
import type { StepContext } from './run-scope.js';
import type { WorkflowRun } from './workflow-run.js';

const run = { id: 'order-7', name: 'Checkout', owner: { epoch: 3 } } as unknown as WorkflowRun;
const step = { run, kind: 'transaction' } as const;
const recovered = { recoveryAttempts: 2 };

function contextOf(signal: () => AbortSignal = () => new AbortController().signal): StepContext {
  return {
    workflowId: 'order-7',
    stepId: '4',
    stepName: 'charge',
    attempt: 2,
    idempotencyKey: 'key',
    get signal() {
      return signal();
    },
  };
}

describe('Without interceptors', () => {
  it('a body is called as it is', () => {
    const none = new Interceptors();
    expect(none.aroundStep(step, contextOf(), () => 'charged')).toBe('charged');
    expect(none.aroundWorkflow(run, recovered, () => 'done')).toBe('done');
  });
});

describe('Interceptors', () => {
  it('are told which attempt of which step of which workflow it is', async () => {
    const seen: InterceptedStep[] = [];
    const interceptors = new Interceptors();
    interceptors.addStep({ intercept: (context, next) => (seen.push(context), next()) });

    await interceptors.aroundStep(step, contextOf(), () => 'charged');

    expect(seen).toMatchObject([
      { workflowId: 'order-7', workflowName: 'Checkout', kind: 'transaction', stepId: '4' },
    ]);
    expect(seen).toMatchObject([{ stepName: 'charge', attempt: 2, idempotencyKey: 'key' }]);
  });

  it('have the signal made only when one of them asks for it', async () => {
    const { signal } = new AbortController();
    let made = 0;
    const context = contextOf(() => ((made += 1), signal));
    const idle = new Interceptors();
    idle.addStep({ intercept: (_, next) => next() });
    await idle.aroundStep(step, context, () => 'charged');
    expect(made).toBe(0);

    const asking = new Interceptors();
    asking.addStep({ intercept: (intercepted) => intercepted.signal });
    expect(await asking.aroundStep(step, context, () => signal)).toBe(signal);
  });

  it('are told which run of a workflow it is, and how often its executors died', async () => {
    const interceptors = new Interceptors();
    interceptors.addWorkflow({ intercept: (context) => context });
    expect(await interceptors.aroundWorkflow(run, recovered, () => 'done')).toEqual({
      workflowId: 'order-7',
      workflowName: 'Checkout',
      run: 3,
      recoveryAttempts: 2,
    });
  });

  it('of workflows lie around each other in their order', async () => {
    const calls: string[] = [];
    const interceptors = new Interceptors();
    for (const name of ['outer', 'inner'])
      interceptors.addWorkflow({ intercept: (_, next) => (calls.push(name), next()) });
    await interceptors.aroundWorkflow(run, recovered, () => calls.push('body'));
    expect(calls).toEqual(['outer', 'inner', 'body']);
  });

  it('get what a body throws at once as a promise, and what they throw is one as well', async () => {
    const interceptors = new Interceptors();
    interceptors.addWorkflow({
      intercept: () => {
        throw new Error('of the outer');
      },
    });
    const thrown = interceptors.aroundWorkflow(run, recovered, () => 'done');
    await expect(thrown).rejects.toThrow('of the outer');

    const catching = new Interceptors();
    catching.addWorkflow({ intercept: (_, next) => next().catch(() => 'caught') });
    const body = (): string => {
      throw new Error('of the body');
    };
    expect(await catching.aroundWorkflow(run, recovered, body)).toBe('caught');
  });

  it('may leave the body out', async () => {
    const interceptors = new Interceptors();
    interceptors.addStep({ intercept: () => 'cached' });
    let ran = false;
    expect(await interceptors.aroundStep(step, contextOf(), () => String((ran = true)))).toBe(
      'cached',
    );
    expect(ran).toBe(false);
  });

  it('call the body again in the next attempt, but never twice in one', async () => {
    const interceptors = new Interceptors();
    interceptors.addStep({
      intercept: async (_, next) => {
        await next();
        return next();
      },
    });
    const bodies: string[] = [];
    for (const attempt of ['first', 'second']) {
      const work = interceptors.aroundStep(step, contextOf(), () => bodies.push(attempt));
      await expect(work).rejects.toMatchObject({
        code: 'DBOS_INTERCEPTOR',
        place: 'step "charge" of workflow "order-7"',
      });
    }
    expect(bodies).toEqual(['first', 'second']);
  });
});
