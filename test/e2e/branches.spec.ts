// `all` and `map`: branches side by side, each with steps of its own, replayed to the same results in any timing.
import { recorded, thrownBy, useScriptedApps, type Stage } from '../support/scripted-app.js';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import { eventually } from '../support/eventually.js';

const apps = useScriptedApps();

/** Lets other code run for some turns. */
async function turns(count: number): Promise<void> {
  for (let left = count; left > 0; left -= 1) await new Promise((resolve) => setImmediate(resolve));
}

type Flow = Stage['flow'];

function failingAfter(flow: Flow, name: string, count: number): Promise<never> {
  return flow.step(name, async () => {
    await turns(count);
    throw new Error(`${name} failed`);
  });
}

describe('flow.all', () => {
  it('resolves with the results in the order of the branches', async () => {
    const app = await apps.start();
    const handle = await app.begin(({ flow }) =>
      flow.all([
        () => flow.step('slow', () => turns(5).then(() => 'slow')),
        () => flow.step('quick', () => 'quick'),
        () => 'without a step',
      ]),
    );
    expect(await handle.result()).toEqual(['slow', 'quick', 'without a step']);
  });

  it('gives each branch a sequence of ids of its own, below its own id', async () => {
    const app = await apps.start();
    const handle = await app.begin(async ({ flow }) => {
      await flow.step('before', () => undefined);
      await flow.all(
        ['a', 'b'].map((branch) => async () => {
          await flow.step(`${branch}0`, () => turns(branch === 'a' ? 3 : 0));
          await flow.step(`${branch}1`, () => undefined);
        }),
      );
      await flow.step('after', () => undefined);
    });
    await handle.result();

    expect(await recorded(app, handle.workflowId)).toEqual([
      '0 before',
      '1.0.0 a0',
      '1.0.1 a1',
      '1.1.0 b0',
      '1.1.1 b1',
      '2 after',
    ]);
  });

  it('may stand in branches of branches', async () => {
    const app = await apps.start();
    const handle = await app.begin(({ flow }) =>
      flow.all([
        () => flow.map(['x', 'y'], (item) => flow.step(item, () => item)),
        () => flow.step('z', () => ['z']),
      ]),
    );

    expect(await handle.result()).toEqual([['x', 'y'], ['z']]);
    expect(await recorded(app, handle.workflowId)).toEqual([
      '0.0.0.0.0 x',
      '0.0.0.1.0 y',
      '0.1.0 z',
    ]);
  });

  it('replays sequences in branches to the same results, although their timing differs', async () => {
    let life = 0;
    const bodies: string[] = [];
    const { app, handle } = await apps.relive(async ({ flow, die }) => {
      life += 1;
      const line = (name: string, delays: number[]) => async () => {
        const results: string[] = [];
        for (const [index, delay] of delays.entries()) {
          await turns(life === 1 ? delay : 7 - delay); // code between steps takes its time too
          results.push(await flow.step('part', () => `${name}${bodies.push(name) && index}`));
        }
        return results;
      };
      const all = await flow.all([line('a', [0, 5, 0]), line('b', [3, 0, 2])]);
      await die();
      return all;
    });

    expect(await handle.result()).toEqual([
      ['a0', 'a1', 'a2'],
      ['b0', 'b1', 'b2'],
    ]);
    expect(bodies).toHaveLength(6);
    expect(await recorded(app, handle.workflowId)).toHaveLength(7);
  });

  it('goes on where each branch had come to when the process died', async () => {
    const bodies: string[] = [];
    const farEnough = deferred<void>();
    const { handle } = await apps.relive(({ flow, die }) => {
      const step = (name: string) => flow.step(name, () => bodies.push(name));
      return flow.all([
        async () => {
          await step('a0');
          await farEnough.promise;
          await die();
          await step('a1');
        },
        async () => {
          await step('b0');
          await step('b1');
          farEnough.resolve(); // b1 is durable before the body of die begins
          await die();
          await step('b2');
        },
      ]);
    });

    await handle.result();
    expect(bodies.toSorted()).toEqual(['a0', 'a1', 'b0', 'b1', 'b2']);
  });

  it.each(['all', 'map'] as const)('%s of nothing is an empty list', async (kind) => {
    const app = await apps.start();
    const handle = await app.begin(async ({ flow }) => {
      const results = await (kind === 'all' ? flow.all([]) : flow.map([], () => 'never'));
      await flow.step('after', () => undefined);
      return results;
    });
    expect(await handle.result()).toEqual([]);
    expect(await recorded(app, handle.workflowId)).toEqual(['1 after']);
  });

  it('refuses a branch that is no function', async () => {
    const app = await apps.start();
    const handle = await app.begin(({ flow }) => flow.all([undefined as unknown as () => number]));
    await expect(handle.result()).rejects.toMatchObject({ code: 'DBOS_INVALID_ARGUMENT' });
  });
});

describe('A failing branch', () => {
  it('fails all of them, when those that have begun have ended', async () => {
    const app = await apps.start();
    const gate = deferred<void>();
    const ended: string[] = [];
    const handle = await app.begin(async ({ flow }) => {
      const error = await thrownBy(() =>
        flow.all([
          () => failingAfter(flow, 'first', 0),
          async () => {
            await flow.step('wait', () => gate.promise);
            ended.push('second');
          },
        ]),
      );
      return [error.message, ...ended];
    });
    await eventually(async () =>
      expect(await recorded(app, handle.workflowId)).toEqual(['0.0.0 first']),
    );
    gate.resolve();
    expect(await handle.result()).toEqual(['first failed', 'second']);
  });

  it('counts when it is the first in order, not the first in time, on first run and replay', async () => {
    const failures: string[] = [];
    const { handle } = await apps.relive(async ({ flow, die }) => {
      const error = await thrownBy(() =>
        flow.all([() => failingAfter(flow, 'slow', 20), () => failingAfter(flow, 'quick', 0)]),
      );
      failures.push(error.message);
      await die();
    });

    await handle.result();
    expect(failures).toEqual(['slow failed', 'slow failed']);
  });

  it('lets no further item of a map begin', async () => {
    const app = await apps.start();
    const begun: number[] = [];
    const handle = await app.begin(({ flow }) =>
      flow.map(
        [0, 1, 2, 3, 4, 5],
        async (item) => {
          begun.push(item);
          await flow.step(`item ${item}`, () => {
            if (item === 2) throw new Error('item 2 failed');
          });
        },
        { concurrency: 1 },
      ),
    );

    await expect(handle.result()).rejects.toThrow('item 2 failed');
    expect(begun).toEqual([0, 1, 2]);
    expect(await recorded(app, handle.workflowId)).toHaveLength(3);
  });

  it('need not be in a step to fail them all', async () => {
    const app = await apps.start();
    const handle = await app.begin(({ flow }) =>
      flow.map(['a'], () => {
        throw new RangeError('no such item');
      }),
    );
    await expect(handle.result()).rejects.toMatchObject({ name: 'RangeError' });
  });
});

describe('flow.map', () => {
  it('hands each item and its index to the work', async () => {
    const app = await apps.start();
    const handle = await app.begin(({ flow }) =>
      flow.map(['a', 'b'], (item, index) => flow.step(item, () => `${index}${item}`)),
    );
    expect(await handle.result()).toEqual(['0a', '1b']);
  });

  it.each([
    [1, 1],
    [3, 3],
    [Infinity, 10],
    [undefined, 10],
    [99, 10],
  ])('with concurrency %p has at most %d items at work', async (concurrency, expected) => {
    const app = await apps.start();
    let [running, most] = [0, 0];
    const handle = await app.begin(({ flow }) =>
      flow.map(
        Array.from({ length: 10 }, (_, index) => index),
        async (item) => {
          running += 1;
          most = Math.max(most, running);
          await flow.step('one', () => turns(item % 3));
          await flow.step('two', () => undefined);
          running -= 1;
          return item;
        },
        concurrency === undefined ? {} : { concurrency },
      ),
    );

    expect(await handle.result()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(most).toBe(expected);
  });

  it.each([0, -1, 1.5, NaN, '2' as unknown as number])(
    'refuses a concurrency of %p, begins nothing and takes no id',
    async (concurrency) => {
      const app = await apps.start();
      let begun = 0;
      const handle = await app.begin(async ({ flow }) => {
        const error = await thrownBy(() => flow.map([1], () => (begun += 1), { concurrency }));
        await flow.step('after', () => undefined);
        return (error as { code?: string }).code;
      });

      expect(await handle.result()).toBe('DBOS_INVALID_ARGUMENT');
      expect(begun).toBe(0);
      expect(await recorded(app, handle.workflowId)).toEqual(['0 after']);
    },
  );

  it('starts children in branches under ids of their own', async () => {
    const app = await apps.start();
    const handle = await app.begin(({ flow, start }) =>
      flow.map(['a', 'b'], async () => (await start()).workflowId),
    );
    const { workflowId } = handle;
    expect(await handle.result()).toEqual([`${workflowId}-0.0.0`, `${workflowId}-0.1.0`]);
  });
});

describe('Recorded moments and ids', () => {
  it('are the same on a replay', async () => {
    const views: unknown[] = [];
    const { handle } = await apps.relive(async ({ flow, die }) => {
      views.push([await flow.now(), await flow.uuid(), await flow.uuid()]);
      await die();
    });

    await handle.result();
    expect(views[0]).toEqual([
      expect.any(Date),
      expect.stringMatching(
        /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
      ),
      expect.any(String),
    ]);
    expect(views[1]).toEqual(views[0]);
    const [, first, second] = views[0] as string[];
    expect(first).not.toBe(second);
  });

  it('need no commit of their own before the next step', async () => {
    const app = await apps.start();
    const handle = await app.begin(async ({ flow }) => [await flow.now(), await flow.uuid()]);
    await handle.result();
    expect(app.faults.matching('dbos.write_transitions')).toHaveLength(1);
  });
});
