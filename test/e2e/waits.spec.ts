// Durable sleep: recorded as the moment of waking, parked in the database when it is long, and holding no slot there.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { WorkflowHandle } from 'nestjs-dbos';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import type { EngineOptions } from '../../libs/dbos/src/engine/engine-options.js';
import type { Engine } from '../../libs/dbos/src/engine/engine.js';
import { eventually } from '../support/eventually.js';
import { recordedBy, useTestEngines, type TestEngine } from '../support/test-engine.js';

const HOUR_MS = 3_600_000;
const engines = useTestEngines();

/** Looks for workflows to wake as often as `lookForSleepers` lets time pass. */
const OFTEN = { pollIntervalMs: 1_000 };

/** Lets time pass until the engine has looked once more for workflows to wake. */
async function lookForSleepers({ clock, faults }: TestEngine): Promise<void> {
  const countLooks = (): number => faults.matching('dbos.claim_workflows').length;
  const before = countLooks();
  await eventually(() => {
    clock.advance(1_000);
    expect(countLooks()).toBeGreaterThan(before);
  });
}

/** V8 has no other way to be asked for it, short of a flag of the process. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

async function parked(handle: WorkflowHandle): Promise<Date> {
  const { wakeAt } = await eventually(async () => {
    const status = await handle.status();
    expect(status).toMatchObject({ status: 'DELAYED', executorId: null, completedAt: null });
    return status;
  });
  if (!wakeAt) throw new Error('A delayed workflow has a moment of waking.');
  return wakeAt;
}

/** What a sleep has recorded, epoch milliseconds. */
async function recordedWake({ engine }: TestEngine, workflowId: string): Promise<number> {
  const steps = await engine.steps(workflowId);
  return steps.find(({ name }) => name === 'flow.sleep')?.output as number;
}

/** As if the workflow had begun to sleep `ms` earlier. */
async function backDate({ prisma }: TestEngine, workflowId: string, ms: number): Promise<void> {
  await prisma.$executeRaw`
    UPDATE dbos.steps SET output = (output::bigint - ${ms}::bigint)::text
     WHERE workflow_id = ${workflowId} AND name = 'flow.sleep'`;
  await prisma.$executeRaw`
    UPDATE dbos.workflows SET wake_at = wake_at - ${ms} * interval '1 millisecond'
     WHERE id = ${workflowId}`;
}

/** Starts another engine that knows the workflow, after the first one was killed. */
async function restart(
  first: TestEngine,
  { workflowId }: WorkflowHandle,
  script: (engine: Engine) => unknown,
  options: EngineOptions = {},
): Promise<TestEngine> {
  await first.kill();
  return engines.start({ scripts: { [workflowId]: script }, options: { ...OFTEN, ...options } });
}

describe('A sleep', () => {
  it('B37: lasts as long as was asked for, and not a moment less', async () => {
    const test = await engines.start();
    let isAwake = false;
    const handle = await test.begin(async ({ flow }) => {
      await flow.sleep('8s');
      isAwake = true;
    });
    await test.timer(8_000);
    test.clock.advance(7_999);
    await handle.status();
    expect(isAwake).toBe(false);
    test.clock.advance(1.5);
    await handle.result();
    expect(isAwake).toBe(true);
  });

  it('B37: that was interrupted sleeps only the rest after a restart', async () => {
    const inMemory = { parkAfterMs: 100 * HOUR_MS };
    const test = await engines.start({ options: inMemory });
    const script = async ({ flow }: Engine): Promise<string> => {
      await flow.sleep('10h');
      return 'awake';
    };
    const handle = await test.begin(script);
    await test.timer(10 * HOUR_MS);
    await eventually(async () => expect(await recordedWake(test, handle.workflowId)).toBeDefined());
    await backDate(test, handle.workflowId, 2 * HOUR_MS);
    const second = await restart(test, handle, script, inMemory);

    const rest = await eventually(() => {
      const timers = second.clock.pending.filter((ms) => ms > 5 * HOUR_MS);
      expect(timers).toHaveLength(1);
      return timers[0]!;
    });
    expect(rest).toBeLessThanOrEqual(8 * HOUR_MS);
    second.clock.advance(rest);
    expect(await second.engine.handle(handle.workflowId).result()).toBe('awake');
  });

  it('B37: whose time passed while nobody ran it is over at once', async () => {
    const test = await engines.start();
    const script = async ({ flow }: Engine): Promise<string> => {
      await flow.sleep('1h');
      return 'awake';
    };
    const handle = await test.begin(script);
    await parked(handle);
    await backDate(test, handle.workflowId, 2 * HOUR_MS);
    const second = await restart(test, handle, script);
    expect(await second.engine.handle(handle.workflowId).result()).toBe('awake');
  });

  it('B37: is recorded in whole milliseconds', async () => {
    const test = await engines.start();
    const handle = await test.begin(({ flow }) => flow.sleep(1.5));
    await test.timer(2);
    test.clock.advance(3);
    await handle.result();
    expect(Number.isInteger(await recordedWake(test, handle.workflowId))).toBe(true);
  });

  it.each([NaN, Infinity, -Infinity, 'soon', new Date('soon'), 9e15])(
    'B37: of %p is refused, and takes no step id',
    async (until) => {
      const test = await engines.start();
      const handle = await test.begin(async ({ flow }) => {
        const code = await flow.sleep(until as number).catch((error) => error.code as string);
        await flow.step('after', () => undefined);
        return code;
      });
      expect(await handle.result()).toBe('DBOS_INVALID_ARGUMENT');
      expect(await recordedBy(test, handle.workflowId)).toEqual(['0 after']);
    },
  );

  it.each([0, -5, new Date(0)])('until %p takes a step id and no time', async (until) => {
    const test = await engines.start();
    const handle = await test.begin(async ({ flow }) => {
      await flow.sleep(until);
      await flow.step('after', () => undefined);
    });
    await handle.result();
    expect(await recordedBy(test, handle.workflowId)).toEqual(['0 flow.sleep', '1 after']);
  });

  it('until a Date ends at that moment', async () => {
    const test = await engines.start();
    const until = new Date(Date.now() + 30 * HOUR_MS);
    const handle = await test.begin(({ flow }) => flow.sleep(until));
    expect(await parked(handle)).toEqual(until);
  });

  it('ends at once when its workflow is cancelled', async () => {
    const test = await engines.start();
    const handle = await test.begin(({ flow }) => flow.sleep('8s'));
    await test.timer(8_000);
    await test.engine.cancel([handle.workflowId]);
    await eventually(() => expect(test.clock.pending.map(Math.round)).not.toContain(8_000));
    await expect(handle.result()).rejects.toMatchObject({ code: 'DBOS_WORKFLOW_CANCELLED' });
  });
});

describe('A long sleep', () => {
  it('leaves the workflow delayed until the moment that was recorded', async () => {
    const test = await engines.start();
    const before = Date.now();
    const handle = await test.begin(({ flow }) => flow.sleep('1h'));
    const wakeAt = await parked(handle);

    expect(wakeAt.getTime()).toBe(await recordedWake(test, handle.workflowId));
    expect(Math.abs(wakeAt.getTime() - before - HOUR_MS)).toBeLessThan(10_000);
  });

  it('leaves no timer behind in the process', async () => {
    const test = await engines.start();
    const handle = await test.begin(({ flow }) => flow.sleep('1h'));
    await parked(handle);
    await eventually(() => expect(Math.max(...test.clock.pending)).toBeLessThan(HOUR_MS / 2));
  });

  it('leaves nothing of the workflow in memory', async () => {
    const test = await engines.start();
    const cargo: Array<WeakRef<Buffer>> = [];
    const handles = await Promise.all(
      Array.from({ length: 5 }, () =>
        test.begin(async ({ flow }) => {
          const bytes = Buffer.alloc(1_000);
          cargo.push(new WeakRef(bytes));
          await flow.sleep('1h');
          return bytes.length;
        }),
      ),
    );
    await Promise.all(handles.map(parked));

    await eventually(() => {
      collectGarbage();
      // Whatever was the last to happen may still be referred to from somewhere below.
      expect(cargo.filter((ref) => ref.deref()).length).toBeLessThanOrEqual(1);
    });
  });

  it('lets its own process wake the workflow when the time has come', async () => {
    const test = await engines.start({ options: OFTEN });
    const bodies: string[] = [];
    const handle = await test.begin(async ({ flow }) => {
      await flow.step('before', () => bodies.push('before'));
      await flow.sleep('1h');
      return flow.step('after', () => bodies.push('after'));
    });
    await parked(handle);
    await backDate(test, handle.workflowId, HOUR_MS);
    await lookForSleepers(test);

    expect(await handle.result()).toBe(2);
    expect(bodies).toEqual(['before', 'after']);
    expect(await handle.status()).toMatchObject({ status: 'SUCCESS', recoveryAttempts: 0 });
  });

  it('lets the next process wake the workflow when the time has come', async () => {
    const test = await engines.start();
    const bodies: string[] = [];
    const script = async ({ flow }: Engine): Promise<number> => {
      await flow.step('before', () => bodies.push('before'));
      await flow.sleep('1h');
      return flow.step('after', () => bodies.push('after'));
    };
    const handle = await test.begin(script);
    await parked(handle);
    await test.close();
    const second = await engines.start({
      scripts: { [handle.workflowId]: script },
      options: OFTEN,
    });
    await backDate(second, handle.workflowId, HOUR_MS);
    await lookForSleepers(second);

    expect(await second.engine.handle(handle.workflowId).result()).toBe(2);
    expect(bodies).toEqual(['before', 'after']);
  });

  it('is not cut short by the next process', async () => {
    const test = await engines.start();
    const script = ({ flow }: Engine): Promise<void> => flow.sleep('1h');
    const handle = await test.begin(script);
    const wakeAt = await parked(handle);
    const second = await restart(test, handle, script);
    await lookForSleepers(second);
    await lookForSleepers(second);
    expect(await second.engine.handle(handle.workflowId).status()).toMatchObject({
      status: 'DELAYED',
      wakeAt,
    });
  });

  it('of several that sleep side by side ends with the first to wake', async () => {
    const test = await engines.start({ options: OFTEN });
    const handle = await test.begin(async ({ flow }) => {
      await Promise.all([flow.sleep('2h'), flow.sleep('1h'), flow.sleep('3h')]);
      return 'awake';
    });
    const wakings: number[] = [];
    for (const run of [1, 2, 3]) {
      await eventually(async () => expect(await epochOf(test, handle)).toBe(run));
      wakings.push(Math.round(((await parked(handle)).getTime() - Date.now()) / HOUR_MS));
      await backDate(test, handle.workflowId, HOUR_MS);
      await lookForSleepers(test);
    }
    expect(await handle.result()).toBe('awake');
    expect(wakings).toEqual([1, 1, 1]);
  });

  it('does not park a workflow that has a step at work, until that has ended', async () => {
    const test = await engines.start();
    const working = deferred<void>();
    const handle = await test.begin(({ flow }) =>
      Promise.all([flow.sleep('1h'), flow.step('work', () => working.promise)]),
    );
    await test.timer(HOUR_MS);
    expect(await handle.status()).toMatchObject({ status: 'PENDING' });
    working.resolve();
    await parked(handle);
    expect(await recordedBy(test, handle.workflowId)).toEqual(['0 flow.sleep', '1 work']);
  });

  it('does not park a workflow that takes up work in the turn in which it falls asleep', async () => {
    const test = await engines.start();
    const [working, begun] = [deferred<void>(), deferred<void>()];
    const handle = await test.begin(async ({ flow }) => {
      const turn = new Promise((resolve) => setImmediate(resolve));
      const body = (): Promise<void> => {
        begun.resolve();
        return working.promise;
      };
      await Promise.all([turn.then(() => flow.step('work', body)), flow.sleep('1h')]);
    });
    await begun.promise;
    expect(await handle.status()).toMatchObject({ status: 'PENDING' });
    working.resolve();
    await parked(handle);
    expect(await recordedBy(test, handle.workflowId)).toEqual(['0 flow.sleep', '1 work']);
  });

  it('of at most parkAfterMs stays in memory', async () => {
    const test = await engines.start({ options: { parkAfterMs: HOUR_MS + 1 } });
    const handle = await test.begin(({ flow }) => flow.sleep('1h'));
    await test.timer(HOUR_MS);
    await eventually(async () => expect(await recordedWake(test, handle.workflowId)).toBeDefined());
    expect(await handle.status()).toMatchObject({ status: 'PENDING' });
  });

  it('can be cancelled, and is not woken after that', async () => {
    const test = await engines.start({ options: OFTEN });
    let bodies = 0;
    const handle = await test.begin(async ({ flow }) => {
      await flow.sleep('1h');
      await flow.step('after', () => (bodies += 1));
    });
    await parked(handle);
    await test.engine.cancel([handle.workflowId]);
    await backDate(test, handle.workflowId, HOUR_MS);
    await lookForSleepers(test);

    await expect(handle.result()).rejects.toMatchObject({ code: 'DBOS_WORKFLOW_CANCELLED' });
    expect(bodies).toBe(0);
  });

  async function epochOf({ prisma }: TestEngine, { workflowId }: WorkflowHandle): Promise<number> {
    const rows = await prisma.$queryRaw<
      Array<{ epoch: number }>
    >`SELECT epoch FROM dbos.workflows WHERE id = ${workflowId} AND status = 'DELAYED'`;
    return rows[0]?.epoch ?? 0;
  }
});

describe('The recorded time', () => {
  it('follows the clock of the engine, as sleeps do', async () => {
    const test = await engines.start({ options: { parkAfterMs: 10 * HOUR_MS } });
    const handle = await test.begin(async ({ flow }) => {
      const before = await flow.now();
      await flow.sleep('1h');
      return (await flow.now()).getTime() - before.getTime();
    });
    await test.timer(HOUR_MS);
    test.clock.advance(HOUR_MS + 1);
    expect(await handle.result()).toBeGreaterThanOrEqual(HOUR_MS);
  });

  it('is that of the process outside of a workflow', async () => {
    const test = await engines.start();
    expect(await test.engine.flow.now()).toBeInstanceOf(Date);
    expect(await test.engine.flow.uuid()).not.toBe(await test.engine.flow.uuid());
  });
});
