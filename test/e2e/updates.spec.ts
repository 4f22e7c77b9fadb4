// Updates: a request to a running workflow, and the reply of its handler.
import type { WorkflowHandle } from 'nestjs-dbos';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import type { Update } from '../../libs/dbos/src/engine/updates.js';
import { eventually } from '../support/eventually.js';
import {
  recordedBy,
  useTestEngines,
  type EngineScript,
  type TestEngine,
} from '../support/test-engine.js';

const engines = useTestEngines();

type Handler = (update: Update<number>, test: Parameters<EngineScript>[0]) => Promise<void>;

/** Takes up updates until one of them is 0. */
function adding(handle: Handler = (update) => update.answer((payload) => payload)): EngineScript {
  return async (engine) => {
    let sum = 0;
    for await (const update of engine.updates.receive<number>('add')) {
      await handle(update, engine);
      if (update.payload === 0) return sum;
      sum += update.payload;
    }
    return sum;
  };
}

const code = ({ code: found }: { readonly code?: unknown }): unknown => found;

async function parked(handle: WorkflowHandle): Promise<void> {
  await eventually(async () => expect(await handle.status()).toMatchObject({ status: 'DELAYED' }));
}

async function asksFor({ engine }: TestEngine, workflowId: string): Promise<void> {
  await eventually(() =>
    expect(
      [...(engine['parts'].arrivals['waiters'].get(workflowId) ?? [])].some(({ wake }) => wake),
    ).toBe(true),
  );
}

describe('An update', () => {
  it('resolves with what its handler returns', async () => {
    const test = await engines.start();
    const handle = await test.begin(
      adding((update, { flow }) =>
        update.answer((payload) => flow.step('double', () => ({ doubled: 2 * payload }))),
      ),
    );
    expect(await handle.update('add', 21)).toEqual({ doubled: 42 });
    await handle.update('add', 0);
    expect(await handle.result()).toBe(21);
  });

  it('rejects with what its handler throws, and the workflow goes on', async () => {
    const test = await engines.start();
    const handle = await test.begin(
      adding((update) =>
        update.answer((payload) => {
          if (payload === 13) throw Object.assign(new RangeError('unlucky'), { code: 'UNLUCKY' });
        }),
      ),
    );
    await expect(handle.update('add', 13)).rejects.toMatchObject({
      name: 'RangeError',
      message: 'unlucky',
      code: 'UNLUCKY',
    });
    await handle.update('add', 1);
    await handle.update('add', 0);
    expect(await handle.result()).toBe(14);
  });

  it('that is refused by the validator does not reach the handler', async () => {
    const test = await engines.start();
    const taken: number[] = [];
    const handle = await test.begin(async ({ updates }) => {
      const validate = (payload: number): void => {
        if (payload < 0) throw new RangeError('negative');
      };
      for await (const update of updates.receive<number>('add', { validate })) {
        taken.push(update.payload);
        await update.answer(() => 'taken');
        if (update.payload === 0) return;
      }
    });
    await expect(handle.update('add', -1)).rejects.toThrow('negative');
    expect(await handle.update('add', 0)).toBe('taken');
    await handle.result();
    expect(taken).toEqual([0]);
  });

  it('is taken up one after the other, each with a reply of its own', async () => {
    const test = await engines.start();
    const handle = await test.begin(adding());
    const numbers = Array.from({ length: 30 }, (_, index) => index + 1);
    expect(await Promise.all(numbers.map((number) => handle.update('add', number)))).toEqual(
      numbers,
    );
    await handle.update('add', 0);
    expect(await handle.result()).toBe(465);
  });

  it('with the id of an earlier one gets its reply, and is not taken up again', async () => {
    const test = await engines.start();
    let handled = 0;
    const handle = await test.begin(adding((update) => update.answer(() => (handled += 1))));
    const updateId = 'add five';
    expect(await handle.update('add', 5, { updateId })).toBe(1);
    expect(await handle.update('add', 5, { updateId })).toBe(1);
    await handle.update('add', 0);
    expect(await handle.result()).toBe(5);
    expect(handled).toBe(2);
    expect(await handle.update('add', 5, { updateId })).toBe(1);
  });

  it('that nobody replies to in time says so', async () => {
    const test = await engines.start();
    const held = deferred<void>();
    const handle = await test.begin(() => held.promise);
    const update = handle.update('add', 1, { timeout: '5s', updateId: 'late' }).catch(code);
    await asksFor(test, handle.workflowId);
    test.clock.advance(5_001);
    expect(await update).toBe('DBOS_UPDATE_TIMEOUT');
    held.resolve();
    await handle.result();
  });

  it('of a workflow that ended without a reply says so', async () => {
    const test = await engines.start();
    const handle = await test.begin(() => 'over');
    await handle.result();
    expect(await handle.update('add', 1).catch(code)).toBe('DBOS_UPDATE_NOT_HANDLED');
  });

  it('of a workflow that does not exist is refused', async () => {
    const test = await engines.start();
    const update = test.engine.handle('nobody').update('add', 1);
    expect(await update.catch(code)).toBe('DBOS_WORKFLOW_NOT_FOUND');
  });

  it('brings a parked workflow back', async () => {
    const test = await engines.start({ options: { parkAfterMs: 0 } });
    const handle = await test.begin(adding());
    await parked(handle);
    expect(await handle.update('add', 7)).toBe(7);
    await parked(handle);
    expect(await handle.update('add', 0)).toBe(0);
    expect(await handle.result()).toBe(7);
  });

  it('that was being carried out when the process died is carried out by the next', async () => {
    const test = await engines.start();
    const held = deferred<void>();
    const bodies: string[] = [];
    const script = adding((update, { flow }) =>
      update.answer(async (payload) => {
        await flow.step('first', () => bodies.push(`first ${payload}`));
        await flow.step('held', () => held.promise);
        return payload;
      }),
    );
    const { workflowId } = await test.begin(script);
    const lost = test.engine.handle(workflowId).update('add', 3, { updateId: 'three' });
    lost.catch(() => undefined);
    await eventually(() => expect(bodies).toEqual(['first 3']));
    await eventually(async () => expect(await recordedBy(test, workflowId)).toContain('2 first'));
    await test.kill();
    held.resolve();
    const second = await engines.start({ scripts: { [workflowId]: script } });
    const handle = second.engine.handle(workflowId);
    expect(await handle.update('add', 3, { updateId: 'three' })).toBe(3);
    await handle.update('add', 0);
    expect(await handle.result()).toBe(3);
    expect(bodies).toEqual(['first 3', 'first 0']);
  });

  it('from a workflow is sent once, and its reply is the same on a replay', async () => {
    const test = await engines.start();
    const held = deferred<void>();
    let handled = 0;
    const server = await test.begin(adding((update) => update.answer(() => (handled += 1))));
    const script: EngineScript = async (engine) => {
      const reply = await engine.handle(server.workflowId).update('add', 5);
      await engine.flow.step('held', () => held.promise);
      return reply;
    };
    const { workflowId } = await test.begin(script);
    await eventually(async () =>
      expect(await recordedBy(test, workflowId)).toEqual([
        '0 handle.update add',
        '1 workflows.getEvent deadline',
        '2 handle.update add reply',
      ]),
    );
    await server.update('add', 0);
    await test.kill();
    held.resolve();
    const second = await engines.start({ scripts: { [workflowId]: script } });
    expect(await second.engine.handle(workflowId).result()).toBe(1);
    expect(handled).toBe(2);
  });

  it('is waited for no longer than asked for', async () => {
    const test = await engines.start();
    const handle = await test.begin(async ({ updates }) => {
      for await (const update of updates.receive<number>('add', { timeout: '5s' }))
        await update.answer(() => update.payload);
      return 'closed';
    });
    await handle.update('add', 1);
    await asksFor(test, handle.workflowId);
    test.clock.advance(5_001);
    expect(await handle.result()).toBe('closed');
  });

  it('leaves messages on a topic of the same name alone', async () => {
    const test = await engines.start();
    const handle = await test.begin(async (engine) => {
      const message = await engine.messages.receive('add');
      return [message, await adding()(engine)];
    });
    const update = handle.update('add', 0);
    await test.engine.messages.send(handle.workflowId, 'message', { topic: 'add' });
    expect(await update).toBe(0);
    expect(await handle.result()).toEqual(['message', 0]);
  });
});
