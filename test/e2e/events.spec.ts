// Events: what a workflow lets others know, the latest value of each key, waited for from anywhere, pinned in workflows.
import { jest } from '@jest/globals';
import type { WorkflowHandle } from 'nestjs-dbos';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import { eventually } from '../support/eventually.js';
import {
  recordedBy,
  useTestEngines,
  type EngineScript,
  type TestEngine,
} from '../support/test-engine.js';

const engines = useTestEngines();

/** How many wait for something of this workflow. */
function waiting({ engine }: TestEngine, workflowId: string): number {
  const waiters = [...(engine['parts'].arrivals['waiters'].get(workflowId) ?? [])];
  return waiters.filter(({ wake }) => wake).length;
}

async function waits(test: TestEngine, workflowId: string, count = 1): Promise<void> {
  await eventually(() => expect(waiting(test, workflowId)).toBe(count));
}

/** Sets each value in turn, going on when the test says so. */
function setting(values: readonly unknown[]): {
  script: EngineScript;
  next(): void;
} {
  const turns = [...values, 'end'].map(() => deferred<void>());
  let turn = 0;
  return {
    script: async ({ events }) => {
      for (const [index, value] of values.entries()) {
        await turns[index]?.promise;
        await events.set('progress', value);
      }
      await turns.at(-1)?.promise;
    },
    next: () => turns[turn++]?.resolve(),
  };
}

describe('B55: an event', () => {
  it('has its latest value while the workflow runs, and after its end', async () => {
    const test = await engines.start();
    const { script, next } = setting([1, 2]);
    const handle = await test.begin(script);
    next();
    expect(await handle.getEvent('progress')).toBe(1);
    next();
    await eventually(async () => expect(await handle.getEvent('progress')).toBe(2));
    next();
    await handle.result();
    expect(await test.engine.events.get(handle.workflowId, 'progress')).toBe(2);
  });

  it('that has not been set is waited for', async () => {
    const test = await engines.start();
    const { script, next } = setting(['set']);
    const handle = await test.begin(script);
    const value = handle.getEvent('progress');
    await waits(test, handle.workflowId);
    next();
    expect(await value).toBe('set');
    next();
    await handle.result();
  });

  it('may be waited for before its workflow is started', async () => {
    const test = await engines.start();
    const value = test.engine.events.get('to be started', 'hello');
    await waits(test, 'to be started');
    await (await test.begin(({ events }) => events.set('hello', null), 'to be started')).result();
    expect(await value).toBeNull();
  });

  it('that is not set in time is undefined', async () => {
    const test = await engines.start();
    const held = deferred<void>();
    const handle = await test.begin(() => held.promise);
    const value = handle.getEvent('progress', { timeout: '5s' });
    await waits(test, handle.workflowId);
    test.clock.advance(5_001);
    expect(await value).toBeUndefined();
    expect(await handle.getEvent('progress', { timeout: 0 })).toBeUndefined();
    held.resolve();
    await handle.result();
  });

  it('that is not set in a minute is undefined, if nothing else was said', async () => {
    const test = await engines.start();
    const value = test.engine.events.get('nobody', 'progress');
    await waits(test, 'nobody');
    const [waiter] = test.engine['parts'].arrivals['waiters'].get('nobody') ?? [];
    expect(Math.abs((waiter?.dueAt ?? 0) - test.clock.monotonic() - 60_000)).toBeLessThan(50);
    test.clock.advance(60_001);
    expect(await value).toBeUndefined();
  });

  it('that was never set is undefined at once when the workflow has ended', async () => {
    const test = await engines.start();
    const handle = await test.begin(() => 'over');
    await handle.result();
    expect(await handle.getEvent('progress')).toBeUndefined();
  });

  it('of a cancelled workflow is waited for: that may go on', async () => {
    const test = await engines.start();
    const { script, next } = setting(['after all']);
    const handle = await test.begin(script);
    await test.engine.cancel([handle.workflowId]);
    const value = handle.getEvent('progress');
    await waits(test, handle.workflowId);
    next();
    next();
    await test.engine.resume([handle.workflowId]);
    expect(await value).toBe('after all');
  });

  it('wakes all who wait for it, and nobody else', async () => {
    const test = await engines.start();
    const { script, next } = setting(['set']);
    const handle = await test.begin(script);
    const { workflowId } = handle;
    const values = Array.from({ length: 50 }, () => handle.getEvent('progress'));
    const other = handle.getEvent('other');
    await waits(test, workflowId, 51);
    next();
    expect(new Set(await Promise.all(values))).toEqual(new Set(['set']));
    expect(waiting(test, workflowId)).toBe(1);
    next();
    await handle.result();
    test.clock.advance(60_001);
    expect(await other).toBeUndefined();
  });

  it('is handed to those who wait in the same process, without another look', async () => {
    const test = await engines.start({ options: { pollIntervalMs: 60_000 } });
    const { script, next } = setting(['set']);
    const handle = await test.begin(script);
    const value = handle.getEvent('progress');
    await waits(test, handle.workflowId);
    next();
    expect(await value).toBe('set');
    expect(test.faults.matching('dbos.latest_events')).toHaveLength(1);
    next();
    await handle.result();
  });

  it('that is set between a look and its answer is not missed', async () => {
    const test = await engines.start();
    const [looked, set] = [deferred<void>(), deferred<void>()];
    const { events } = test.engine['repository'];
    const latest = events.latest.bind(events);
    jest.spyOn(events, 'latest').mockImplementationOnce(async (event) => {
      const answer = await latest(event);
      looked.resolve();
      await set.promise;
      return answer;
    });
    const { script, next } = setting(['set']);
    const handle = await test.begin(script);
    const value = handle.getEvent('progress');
    await looked.promise;
    next();
    next();
    await handle.result();
    set.resolve();
    expect(await value).toBe('set');
  });

  it('is not looked for when a message comes that is named like it', async () => {
    const test = await engines.start();
    const { script, next } = setting(['set']);
    const handle = await test.begin(script);
    const value = handle.getEvent('progress');
    await waits(test, handle.workflowId);
    await test.engine.messages.send(handle.workflowId, 'other', { topic: 'progress' });
    expect(waiting(test, handle.workflowId)).toBe(1);
    next();
    expect(await value).toBe('set');
    expect(test.faults.matching('dbos.latest_events')).toHaveLength(1);
    next();
    await handle.result();
  });

  it('leaves nothing of those who have it in memory', async () => {
    const test = await engines.start();
    const { script, next } = setting(['set']);
    const handle = await test.begin(script);
    const value = handle.getEvent('progress');
    await waits(test, handle.workflowId);
    next();
    await value;
    await handle.getEvent('progress');
    expect(test.engine['parts'].arrivals['waiters'].size).toBe(0);
    next();
    await handle.result();
  });

  it('that is waited for at the shutdown fails those who wait', async () => {
    const test = await engines.start();
    const failure = test.engine.events.get('nobody', 'progress').catch(({ code }) => code);
    await waits(test, 'nobody');
    await test.close();
    expect(await failure).toBe('DBOS_NOT_RUNNING');
  });

  it('is handed to nobody before it is durable', async () => {
    const test = await engines.start();
    const { script, next } = setting(['set']);
    const handle = await test.begin(script);
    let heard: unknown;
    const value = handle.getEvent('progress').then((event) => (heard = event));
    await waits(test, handle.workflowId);
    test.faults.failNext('dbos.write_transitions', undefined, 3);
    next();
    await eventually(() => {
      test.clock.advance(50);
      expect(test.faults.matching('dbos.write_transitions')).toHaveLength(3);
    });
    expect(heard).toBeUndefined();
    await eventually(() => {
      test.clock.advance(100);
      expect(heard).toBe('set');
    });
    await value;
    next();
    await handle.result();
  });

  it('goes on being waited for when one of those who wait gives up', async () => {
    const test = await engines.start();
    const held = deferred<void>();
    const setter = await test.begin(async ({ events }) => {
      await held.promise;
      await events.set('progress', 'set');
    });
    const getting: EngineScript = ({ events }) => events.get(setter.workflowId, 'progress');
    const [one, two] = [await test.begin(getting), await test.begin(getting)];
    await waits(test, setter.workflowId, 2);
    await test.engine.cancel([one.workflowId]);
    await waits(test, setter.workflowId, 1);
    held.resolve();
    expect(await two.result()).toBe('set');
    expect(await recordedBy(test, one.workflowId)).toEqual(['0 workflows.getEvent deadline']);
  });

  it('keeps its history, with the steps that set it', async () => {
    const test = await engines.start();
    const handle = await test.begin(async ({ events, flow }) => {
      await events.set('a', 1);
      await flow.step('between', () => undefined);
      await events.set('a', 2);
      await events.set('b', 3);
    });
    await handle.result();
    const history = await test.prisma.$queryRaw`
      SELECT step_id, key, value FROM dbos.events WHERE workflow_id = ${handle.workflowId} ORDER BY seq`;
    expect(history).toEqual([
      { step_id: '0', key: 'a', value: '1' },
      { step_id: '2', key: 'a', value: '2' },
      { step_id: '3', key: 'b', value: '3' },
    ]);
  });

  it('keeps values as they are: dates, maps, undefined within', async () => {
    const test = await engines.start();
    const value = { at: new Date(0), seen: new Map([[1, new Set(['a'])]]), none: undefined };
    const handle = await test.begin(({ events }) => events.set('rich', value));
    await handle.result();
    expect(await handle.getEvent('rich')).toEqual(value);
  });

  it('costs no statement of its own, and is set once although the answer to it was lost', async () => {
    const test = await engines.start();
    test.faults.loseAnswerOfNext('dbos.write_transitions');
    const handle = await test.begin(async ({ events }) => {
      await events.set('a', 1);
      await events.set('a', 2);
    });
    await handle.result();
    const history = await test.prisma.$queryRaw<Array<{ value: string }>>`
      SELECT value FROM dbos.events WHERE workflow_id = ${handle.workflowId} ORDER BY seq`;
    expect(history).toEqual([{ value: '1' }, { value: '2' }]);
    expect(test.faults.matching('dbos.write_transitions')).toHaveLength(2);
    expect(test.faults.matching('dbos.latest_events')).toHaveLength(0);
  });

  it('of a run that was taken over is not set', async () => {
    const test = await engines.start();
    const held = deferred<void>();
    const after = deferred<unknown>();
    const handle = await test.begin(async ({ events, flow }) => {
      await held.promise;
      await events.set('stale', 1);
      await flow.step('after', () => undefined).catch(({ code }) => after.resolve(code));
    });
    await test.prisma.$executeRaw`
      UPDATE dbos.workflows SET epoch = epoch + 1, executor_id = 'other' WHERE id = ${handle.workflowId}`;
    held.resolve();
    expect(await after.promise).toBe('DBOS_OWNERSHIP_LOST');
    expect(await handle.getEvent('stale', { timeout: 0 })).toBeUndefined();
  });

  it('of a run that was taken over is handed to nobody who waits', async () => {
    const test = await engines.start();
    const [held, after] = [deferred<void>(), deferred<unknown>()];
    const handle = await test.begin(async ({ events, flow }) => {
      await held.promise;
      await events.set('progress', 'stale');
      await flow.step('after', () => undefined).catch(({ code }) => after.resolve(code));
    });
    handle.getEvent('progress').catch(() => undefined);
    await waits(test, handle.workflowId);
    await test.prisma.$executeRaw`
      UPDATE dbos.workflows SET epoch = epoch + 1, executor_id = 'other' WHERE id = ${handle.workflowId}`;
    held.resolve();
    expect(await after.promise).toBe('DBOS_OWNERSHIP_LOST');
    expect(waiting(test, handle.workflowId)).toBe(1);
  });

  it('cannot be seen before what was recorded before it', async () => {
    const test = await engines.start();
    const handle = await test.begin(async ({ events, flow }) => {
      await flow.step('first', () => 1);
      await events.set('after first', true);
    });
    await handle.getEvent('after first');
    expect(await recordedBy(test, handle.workflowId)).toEqual([
      '0 first',
      '1 flow.setEvent after first',
    ]);
  });

  it.each([
    ['set', async ({ events }: TestEngine['engine']) => events.set('a', undefined)],
    ['set', async ({ events }: TestEngine['engine']) => events.set('', 1)],
    ['set', async ({ events }: TestEngine['engine']) => events.set('nul\u0000', 1)],
    ['got', async ({ events }: TestEngine['engine']) => events.get('id', 'x'.repeat(10_000))],
    ['got', async ({ events }: TestEngine['engine']) => events.get('', 'a')],
    ['got', async ({ events }: TestEngine['engine']) => events.get('id', 'a', { timeout: NaN })],
  ] as const)('that cannot be is not %s, and takes no step id (%#)', async (_verb, call) => {
    const test = await engines.start();
    const handle = await test.begin(async (engine) => {
      const code = await call(engine).catch((error: { code: unknown }) => error.code);
      await engine.flow.step('after', () => undefined);
      return code;
    });
    expect(await handle.result()).toBe('DBOS_INVALID_ARGUMENT');
    expect(await recordedBy(test, handle.workflowId)).toEqual(['0 after']);
  });

  it('is neither set outside of a workflow, nor set or got in a step', async () => {
    const test = await engines.start();
    await expect(test.engine.events.set('a', 1)).rejects.toMatchObject({
      code: 'DBOS_NOT_IN_WORKFLOW',
    });
    const handle = await test.begin(({ events, flow }) =>
      flow.step('step', async () => {
        const calls = [events.set('a', 1), events.get(flow.workflowId, 'a')];
        const settled = await Promise.allSettled(calls);
        return settled.map((each) => each.status === 'rejected' && each.reason.code);
      }),
    );
    expect(await handle.result()).toEqual(['DBOS_FORBIDDEN_IN_STEP', 'DBOS_FORBIDDEN_IN_STEP']);
  });

  it.each([`'; DROP TABLE dbos.events; --`, 'a::b', '\\u0000', '👩‍👩‍👧‍👦', 'x'.repeat(256), '$1'])(
    'with a key like %j is told apart from others',
    async (key) => {
      const test = await engines.start();
      const handle = await test.begin(async ({ events }) => {
        await events.set('a', 'other');
        await events.set(key, key);
        await events.set(`${key.slice(0, 200)}b`, 'other');
      });
      await handle.result();
      expect(await handle.getEvent(key)).toBe(key);
    },
  );
});

describe('B55: an event that a workflow asks for', () => {
  it('has on a replay the value it had, whatever was set since', async () => {
    const test = await engines.start();
    const held = deferred<void>();
    const setter = await test.begin(async ({ events, messages }) => {
      await events.set('value', 'old');
      await messages.receive('go on');
      await events.set('value', 'new');
    });
    const script: EngineScript = async ({ events, flow }) => {
      const value = await events.get(setter.workflowId, 'value');
      await flow.step('held', () => held.promise);
      return [value, await events.get(setter.workflowId, 'value')];
    };
    const { workflowId } = await test.begin(script);
    await eventually(async () =>
      expect(await recordedBy(test, workflowId)).toEqual([
        '0 workflows.getEvent deadline',
        '1 workflows.getEvent value',
      ]),
    );
    await test.engine.messages.send(setter.workflowId, null, { topic: 'go on' });
    await setter.result();
    await test.kill();
    held.resolve();
    const second = await engines.start({ scripts: { [workflowId]: script } });
    expect(await second.engine.handle(workflowId).result()).toEqual(['old', 'new']);
  });

  it('was not set in time on a replay either', async () => {
    const test = await engines.start();
    const [held, ended] = [deferred<void>(), deferred<void>()];
    const setter = await test.begin(() => ended.promise);
    const script: EngineScript = async ({ events, flow }) => {
      const value = await events.get(setter.workflowId, 'value', { timeout: 0 });
      await flow.step('held', () => held.promise);
      return value === undefined;
    };
    const { workflowId } = await test.begin(script);
    await eventually(async () => expect(await recordedBy(test, workflowId)).toHaveLength(2));
    await test.kill();
    held.resolve();
    const second = await engines.start({
      scripts: {
        [workflowId]: script,
        [setter.workflowId]: ({ events }) => events.set('value', 1),
      },
    });
    expect(await second.engine.handle(workflowId).result()).toBe(true);
  });

  it('is waited for without a slot', async () => {
    const test = await engines.start({ options: { maxConcurrentWorkflows: 1 } });
    const getter: WorkflowHandle = await test.begin(({ events }) => events.get('setter', 'value'));
    await waits(test, 'setter');
    await test.begin(({ events }) => events.set('value', 'set'), 'setter');
    expect(await getter.result()).toBe('set');
  });

  it('B30: is waited for again after a cancellation and a resume', async () => {
    const test = await engines.start();
    const { script, next } = setting(['set']);
    const setter = await test.begin(script);
    const getter = await test.begin(({ events }) => events.get(setter.workflowId, 'progress'));
    await waits(test, setter.workflowId);
    await test.engine.cancel([getter.workflowId]);
    await waits(test, setter.workflowId, 0);
    expect(await recordedBy(test, getter.workflowId)).toEqual(['0 workflows.getEvent deadline']);
    next();
    next();
    await setter.result();
    await test.engine.resume([getter.workflowId]);
    expect(await getter.result()).toBe('set');
  });
});
