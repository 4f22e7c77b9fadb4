// How many workflows run at once: a limit that those who wait for others, or for long, do not count against.
import { AsyncLocalStorage } from 'node:async_hooks';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import { eventually } from '../support/eventually.js';
import { useTestEngines, type TestEngine } from '../support/test-engine.js';

const HOUR_MS = 3_600_000;
const engines = useTestEngines();

function startWithOneSlot(): Promise<TestEngine> {
  return engines.start({ options: { maxConcurrentWorkflows: 1, pollIntervalMs: 1_000 } });
}

/** How a workflow ends that can only run with a slot of its own. */
async function another(test: TestEngine): Promise<string> {
  const handle = await test.begin(({ flow }) => flow.step('work', () => 'done'));
  return eventually(async () => {
    test.clock.advance(100); // the loops need time to pass
    const { status } = await handle.status();
    expect(status).not.toBe('ENQUEUED');
    expect(status).not.toBe('PENDING');
    return status;
  });
}

describe('The limit on workflows running at once', () => {
  it('is never exceeded by workflows that work', async () => {
    const test = await engines.start({
      options: { maxConcurrentWorkflows: 3, pollIntervalMs: 1_000 },
    });
    let [running, most] = [0, 0];
    const work = async (): Promise<void> => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
    };
    const handles = await Promise.all(
      Array.from({ length: 20 }, () =>
        test.begin(async ({ flow }) => {
          await flow.step('one', work);
          await flow.step('two', work);
        }),
      ),
    );
    await Promise.all(handles.map((handle) => handle.result()));

    expect(most).toBe(3);
  });

  it('lets workflows beyond it wait in the database, and takes them one after the other', async () => {
    const test = await startWithOneSlot();
    const gate = deferred<void>();
    const first = await test.begin(({ flow }) => flow.step('work', () => gate.promise));
    const second = await test.begin(({ flow }) => flow.step('work', () => 'second'));

    expect(await second.status()).toMatchObject({ status: 'ENQUEUED', executorId: null });
    gate.resolve();
    await first.result();
    expect(await second.result()).toBe('second');
  });

  it('is not counted against by a workflow that awaits its child', async () => {
    const test = await startWithOneSlot();
    test.define('child-of-one', ({ flow }) => flow.step('work', () => 'child'));
    const handle = await test.begin(async (engine) => {
      const child = await engine.start<string>('Scripted', [], { workflowId: 'child-of-one' });
      return `parent of ${await child.result()}`;
    });
    expect(await handle.result()).toBe('parent of child');
  });

  it('is not counted against by a line of parents, each of which executes the next', async () => {
    const test = await startWithOneSlot();
    const generation = (depth: number) => async () =>
      depth === 0
        ? 'youngest'
        : test.engine.execute('Scripted', [], { workflowId: `generation-${depth - 1}` });
    for (const depth of [0, 1, 2, 3]) test.define(`generation-${depth}`, generation(depth));
    const handle = await test.begin(generation(4), 'generation-4');
    expect(await handle.result()).toBe('youngest');
  });

  it('is not counted against by a workflow that sleeps for long', async () => {
    const test = await startWithOneSlot();
    const sleeping = await test.begin(({ flow }) => flow.sleep('1h'));
    expect(await another(test)).toBe('SUCCESS');
    // Its slot is given back as it falls asleep; the row says so a statement later.
    await eventually(async () => expect((await sleeping.status()).status).toBe('DELAYED'));
  });

  it('has its slot for good when a workflow has left memory, also when its time has come', async () => {
    const test = await startWithOneSlot();
    const sleeping = await test.begin(({ flow }) => flow.sleep('1h'));
    await eventually(async () => expect((await sleeping.status()).status).toBe('DELAYED'));
    test.clock.advance(2 * HOUR_MS);
    expect(await another(test)).toBe('SUCCESS');
    expect(await another(test)).toBe('SUCCESS');
  });

  it('is not counted against by a step that waits for long before its next attempt', async () => {
    const test = await startWithOneSlot();
    await test.begin(({ flow }) =>
      flow.step('call', () => Promise.reject(new Error('refused')), {
        maxRetries: 1,
        baseIntervalMs: HOUR_MS,
      }),
    );
    await test.timer(HOUR_MS);
    expect(await another(test)).toBe('SUCCESS');
  });

  it('lets a workflow that comes back from a wait go on at once', async () => {
    const test = await startWithOneSlot();
    const gate = deferred<void>();
    const childDone = deferred<void>();
    test.define('awaited-child', ({ flow }) => flow.step('work', () => childDone.promise));
    const parent = await test.begin(async ({ flow }) => {
      await test.engine.execute('Scripted', [], { workflowId: 'awaited-child' });
      return flow.step('after', () => 'parent went on');
    });
    await eventually(async () =>
      expect((await test.engine.handle('awaited-child').status()).status).toBe('PENDING'),
    );
    const greedy = await test.begin(({ flow }) => flow.step('work', () => gate.promise));
    childDone.resolve();

    expect(await parent.result()).toBe('parent went on');
    gate.resolve();
    await greedy.result();
  });

  it('frees the slot of a workflow that was suspended', async () => {
    const test = await startWithOneSlot();
    const blocked = await test.begin(async ({ flow }) => {
      await flow.step('old', () => undefined);
      await flow.sleep('1h');
    });
    await eventually(async () => expect((await blocked.status()).status).toBe('DELAYED'));
    test.define(blocked.workflowId, ({ flow }) => flow.step('new', () => undefined));
    await test.engine.resume([blocked.workflowId]);
    await eventually(async () => expect((await blocked.status()).status).toBe('SUSPENDED'));
    expect(await another(test)).toBe('SUCCESS');
  });

  it('leaves those who waited for a slot no context of the one who gave it to them', async () => {
    const test = await startWithOneSlot();
    const request = new AsyncLocalStorage<string>();
    const gate = deferred<void>();
    const first = await request.run('request of the first', () =>
      test.begin(({ flow }) => flow.step('work', () => gate.promise)),
    );
    const second = await test.begin(() => request.getStore() ?? 'no request');
    gate.resolve();
    await first.result();

    expect(await second.result()).toBe('no request');
  });
});
