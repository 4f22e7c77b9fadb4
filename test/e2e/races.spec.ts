// `race`: the outcome of the branch that settles first is recorded, and the others are cut off.
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import { eventually } from '../support/eventually.js';
import { recorded, thrownBy, useScriptedApps } from '../support/scripted-app.js';
import { useTestEngines } from '../support/test-engine.js';

const apps = useScriptedApps();
const engines = useTestEngines();
const unhandled: unknown[] = [];
const noteUnhandled = (reason: unknown): void => void unhandled.push(reason);

beforeAll(() => process.on('unhandledRejection', noteUnhandled));

afterEach(() => void unhandled.splice(0));

afterAll(() => process.off('unhandledRejection', noteUnhandled));

const never = new Promise<never>(() => {});

describe('flow.race', () => {
  it('is the result of the branch that ends first, and is recorded', async () => {
    const app = await apps.start();
    const handle = await app.begin(({ flow }) =>
      flow.race([() => never, () => flow.step('quick', () => 'quick')]),
    );

    expect(await handle.result()).toBe('quick');
    expect(await app.workflows.steps(handle.workflowId)).toMatchObject([
      { stepId: '0', name: 'flow.race', output: 'quick' },
      { stepId: '0.1.0', name: 'quick' },
    ]);
  });

  it('is the error of that branch when it fails', async () => {
    const app = await apps.start();
    const handle = await app.begin(({ flow }) =>
      flow.race([
        () => never,
        () => flow.step('quick', () => Promise.reject(new Error('refused'))),
      ]),
    );
    await expect(handle.result()).rejects.toThrow('refused');
  });

  it('has the same winner on a replay, although another would be first by then', async () => {
    let life = 0;
    const bodies: string[] = [];
    const { handle } = await apps.relive(async ({ flow, die }) => {
      life += 1;
      const branch = (name: string, winsIn: number) => () =>
        flow.step(name, () => {
          bodies.push(name);
          return life === winsIn ? name : never;
        });
      const winner = await flow.race([branch('a', 2), branch('b', 1)]);
      await die();
      return winner;
    });

    expect(await handle.result()).toBe('b');
    expect(bodies).toEqual(['a', 'b']);
  });

  it('has the same loser when the winner failed', async () => {
    const { handle } = await apps.relive(async ({ flow, die }) => {
      const error = await thrownBy(() =>
        flow.race([() => never, () => flow.step('quick', () => Promise.reject(new Error('no')))]),
      );
      await die();
      return error.message;
    });
    expect(await handle.result()).toBe('no');
  });

  it('that was undecided when the process died goes on with what its branches had recorded', async () => {
    const bodies: string[] = [];
    const { handle } = await apps.relive(({ flow, die }) =>
      flow.race([
        async () => {
          await flow.step('prepared', () => bodies.push('prepared'));
          await die();
          return flow.step('finished', () => bodies.push('finished'));
        },
        () => never,
      ]),
    );

    expect(await handle.result()).toBe(2);
    expect(bodies).toEqual(['prepared', 'finished']);
  });

  it('refuses to have no branch, and takes no id for it', async () => {
    const app = await apps.start();
    const handle = await app.begin(async ({ flow }) => {
      const error = await thrownBy(() => flow.race([]));
      await flow.step('after', () => undefined);
      return (error as { code?: string }).code;
    });
    expect(await handle.result()).toBe('DBOS_INVALID_ARGUMENT');
    expect(await recorded(app, handle.workflowId)).toEqual(['0 after']);
  });
});

describe('The loser of a race', () => {
  it('has its signal aborted', async () => {
    const app = await apps.start();
    const signals: AbortSignal[] = [];
    const handle = await app.begin(({ flow }) =>
      flow.race([
        () =>
          flow.step('slow', ({ signal }) => {
            signals.push(signal);
            return never;
          }),
        () => flow.step('quick', () => 'quick'),
      ]),
    );

    await handle.result();
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
  });

  it.each<[string, (gate: Promise<void>) => Promise<unknown>]>([
    ['resolves', (gate) => gate],
    ['rejects', (gate) => gate.then(() => Promise.reject(new Error('too late')))],
  ])('is not recorded when it %s after all, and nobody hears of it', async (_, end) => {
    const app = await apps.start();
    const gate = deferred<void>();
    const handle = await app.begin(async ({ flow }) => {
      await flow.race([() => flow.step('slow', () => end(gate.promise)), () => 'quick']);
      await flow.step('after', async () => {
        gate.resolve();
        await new Promise((resolve) => setImmediate(resolve));
      });
    });

    await handle.result();
    expect(await recorded(app, handle.workflowId)).toEqual(['0 flow.race', '1 after']);
    expect(unhandled).toEqual([]);
  });

  it('begins no further step, sleep, child or branch', async () => {
    const app = await apps.start();
    const gate = deferred<void>();
    const bodies: string[] = [];
    const handle = await app.begin(async ({ flow, start }) => {
      const operations = [
        () => flow.step('late', () => bodies.push('late')),
        () => flow.sleep(0),
        () => flow.uuid(),
        () => start(),
        () => flow.all([() => bodies.push('branch')]),
        () => flow.race([() => bodies.push('race')]),
      ];
      const losers = operations.map((operation) => async () => {
        await gate.promise; // code of its own, which nothing can stop
        await operation();
        bodies.push('went on');
      });
      await flow.race([...losers, () => 'quick']);
      gate.resolve();
      await flow.step('after', () => new Promise((resolve) => setImmediate(resolve)));
    });

    await handle.result();
    expect(bodies).toEqual([]);
    expect(await recorded(app, handle.workflowId)).toEqual(['0 flow.race', '1 after']);
  });

  it('does not go on after what it was doing, not even to clean up', async () => {
    const app = await apps.start();
    const gate = deferred<void>();
    const after: string[] = [];
    const handle = await app.begin(async ({ flow }) => {
      const loser = async (): Promise<void> => {
        try {
          await flow.step('slow', () => gate.promise);
        } finally {
          after.push('finally');
        }
      };
      await flow.race([loser, () => 'quick']);
      gate.resolve();
      await flow.step('after', () => new Promise((resolve) => setImmediate(resolve)));
    });

    await handle.result();
    expect(after).toEqual([]);
  });

  it('is cut off with all branches below it', async () => {
    const app = await apps.start();
    const signals: AbortSignal[] = [];
    const handle = await app.begin(({ flow }) =>
      flow.race([
        () =>
          flow.map(['a', 'b'], (item) =>
            flow.step(item, ({ signal }) => {
              signals.push(signal);
              return never;
            }),
          ),
        () => flow.step('quick', () => 'quick'),
      ]),
    );

    await handle.result();
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true]);
    expect(await recorded(app, handle.workflowId)).toEqual(['0 flow.race', '0.1.0 quick']);
  });

  it('keeps no timer when it sleeps', async () => {
    const test = await engines.start();
    const gate = deferred<string>();
    const handle = await test.begin(({ flow }) =>
      flow.race([
        () => flow.sleep('7s').then(() => 'slept'),
        () => flow.step('quick', () => gate.promise),
      ]),
    );
    await test.timer(7_000);
    gate.resolve('quick');

    expect(await handle.result()).toBe('quick');
    expect(test.clock.pending.map(Math.round)).not.toContain(7_000);
  });

  it('keeps no timer when it waits for its next attempt, and has none', async () => {
    const test = await engines.start();
    const gate = deferred<string>();
    let attempts = 0;
    const failing = (): Promise<never> => {
      attempts += 1;
      return Promise.reject(new Error('refused'));
    };
    const handle = await test.begin(({ flow }) =>
      flow.race([
        () => flow.step('slow', failing, { maxRetries: 5, baseIntervalMs: 7_000 }),
        () => flow.step('quick', () => gate.promise),
      ]),
    );
    await test.timer(7_000);
    gate.resolve('quick');

    expect(await handle.result()).toBe('quick');
    expect(test.clock.pending.map(Math.round)).not.toContain(7_000);
    expect(attempts).toBe(1);
  });

  it('leaves a child that it started alone', async () => {
    const app = await apps.start();
    const started = deferred<string>();
    const handle = await app.begin(async ({ flow, start }) => {
      const loser = async (): Promise<unknown> => {
        const child = await start();
        started.resolve(child.workflowId);
        return child.result();
      };
      return flow.race([loser, () => flow.step('quick', () => started.promise)]);
    });

    const child = app.workflows.handle((await handle.result()) as string);
    await eventually(async () => expect((await child.status()).status).toBe('ERROR')); // it has no script
  });

  it('holds up the end of its workflow in no way', async () => {
    const app = await apps.start();
    const handle = await app.begin(({ flow }) =>
      flow.race([() => flow.step('slow', () => never), () => 'quick']),
    );
    expect(await handle.result()).toBe('quick');
    expect(await handle.status()).toMatchObject({ status: 'SUCCESS' });
  });
});
