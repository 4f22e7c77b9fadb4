// Messages: sent before or after the receiving begins, received in order, each once; waits that outlive processes.
import { jest } from '@jest/globals';
import type { WorkflowHandle } from 'nestjs-dbos';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import type { Engine } from '../../libs/dbos/src/engine/engine.js';
import { eventually } from '../support/eventually.js';
import {
  drivenBy,
  recordedBy,
  useTestEngines,
  type EngineScript,
  type TestEngine,
} from '../support/test-engine.js';

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
/** As long as a test may wait within one; Prisma's own limits are 2 s and 5 s. */
const LONG_TRANSACTION = { maxWait: 30_000, timeout: 30_000 };
const engines = useTestEngines();

/** Receives `count` messages of a topic. */
function receiving(count: number, topic?: string): EngineScript<unknown[]> {
  return async ({ messages }) => {
    const received: unknown[] = [];
    for (let index = 0; index < count; index += 1) received.push(await messages.receive(topic));
    return received;
  };
}

/** The run looked, found nothing and waits in memory. */
async function waits({ engine }: TestEngine, workflowId: string): Promise<void> {
  const { arrivals } = engine['parts'];
  await eventually(() =>
    expect([...(arrivals['waiters'].get(workflowId) ?? [])].some(({ wake }) => wake)).toBe(true),
  );
}

async function parked(handle: WorkflowHandle): Promise<void> {
  await eventually(async () =>
    expect(await handle.status()).toMatchObject({ status: 'DELAYED', executorId: null }),
  );
}

async function unreceived({ prisma }: TestEngine, workflowId: string): Promise<string[]> {
  const rows = await prisma.$queryRaw<Array<{ message: string }>>`
    SELECT message FROM dbos.messages WHERE workflow_id = ${workflowId} AND consumed_by IS NULL ORDER BY seq`;
  return rows.map(({ message }) => message);
}

describe('B53: a message', () => {
  it('that was sent before the receiving begins is found', async () => {
    const test = await engines.start();
    const begun = deferred<void>();
    const handle = await test.begin(async (engine) => {
      await begun.promise;
      return receiving(1)(engine);
    });
    await test.engine.messages.send(handle.workflowId, { hello: 'world' });
    begun.resolve();
    expect(await handle.result()).toEqual([{ hello: 'world' }]);
  });

  it('that is sent while its receiver waits ends the wait at once', async () => {
    const test = await engines.start();
    const handle = await test.begin(receiving(1));
    await waits(test, handle.workflowId);
    await test.engine.messages.send(handle.workflowId, 'now');
    expect(await handle.result()).toEqual(['now']);
  });

  it('is received after those that were sent before it, topic by topic', async () => {
    const test = await engines.start();
    const begun = deferred<void>();
    const handle = await test.begin(async (engine) => {
      await begun.promise;
      return [
        await receiving(2, 'b')(engine),
        await receiving(2)(engine),
        await receiving(3, 'a')(engine),
      ];
    });
    const { messages } = test.engine;
    for (const [topic, message] of [
      ['a', 1],
      ['b', 2],
      [undefined, 3],
      ['a', 4],
      ['b', 5],
      ['a', 6],
      [undefined, 7],
    ] as const) {
      await messages.send(handle.workflowId, message, topic === undefined ? {} : { topic });
    }
    begun.resolve();
    expect(await handle.result()).toEqual([
      [2, 5],
      [3, 7],
      [1, 4, 6],
    ]);
  });

  it('of hundreds that are sent at once is received in the order of the calls', async () => {
    const test = await engines.start();
    const numbers = Array.from({ length: 300 }, (_, index) => index);
    const handle = await test.begin(receiving(numbers.length));
    await Promise.all(
      numbers.map((number) => test.engine.messages.send(handle.workflowId, number)),
    );
    expect(await handle.result()).toEqual(numbers);
  });

  it('with an idempotency key comes once to each workflow it is sent to', async () => {
    const test = await engines.start();
    const handles = [await test.begin(receiving(2)), await test.begin(receiving(2))];
    for (const { workflowId } of handles) {
      const { messages } = test.engine;
      await messages.send(workflowId, 'first', { idempotencyKey: 'k' });
      await messages.send(workflowId, 'again', { idempotencyKey: 'k' });
      await messages.send(workflowId, 'second', { idempotencyKey: 'k2' });
    }
    expect(await Promise.all(handles.map((handle) => handle.result()))).toEqual([
      ['first', 'second'],
      ['first', 'second'],
    ]);
  });

  it('to a workflow that does not exist is refused', async () => {
    const test = await engines.start();
    await expect(test.engine.messages.send('nobody', 1)).rejects.toMatchObject({
      code: 'DBOS_WORKFLOW_NOT_FOUND',
    });
  });

  it('to a workflow that does not exist is refused beside others that are sent', async () => {
    const test = await engines.start();
    const handle = await test.begin(receiving(2));
    const { messages } = test.engine;
    const sendings = await Promise.allSettled([
      messages.send(handle.workflowId, 1),
      messages.send('nobody', 2),
      messages.send(handle.workflowId, 3),
    ]);
    expect(sendings.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(await handle.result()).toEqual([1, 3]);
  });

  it('to a workflow that has ended is kept', async () => {
    const test = await engines.start();
    const handle = await test.begin(() => 'over');
    await handle.result();
    await test.engine.messages.send(handle.workflowId, 'late');
    expect(await unreceived(test, handle.workflowId)).toEqual(['"late"']);
  });

  it('comes once although the answer to its sending was lost', async () => {
    const test = await engines.start();
    const handle = await test.begin(receiving(1));
    test.faults.loseAnswerOfNext('dbos.send_messages');
    await test.engine.messages.send(handle.workflowId, 'once');
    expect(await handle.result()).toEqual(['once']);
    expect(await unreceived(test, handle.workflowId)).toEqual([]);
  });

  it('is received once although the answer to its receiving was lost', async () => {
    const test = await engines.start();
    const begun = deferred<void>();
    const handle = await test.begin(async (engine) => {
      await begun.promise;
      return receiving(1)(engine);
    });
    await test.engine.messages.send(handle.workflowId, 'one');
    await test.engine.messages.send(handle.workflowId, 'two');
    test.faults.loseAnswerOfNext('dbos.receive_messages');
    begun.resolve();
    expect(await handle.result()).toEqual(['one']);
    expect(await unreceived(test, handle.workflowId)).toEqual(['"two"']);
  });

  it('is the same on a replay, and is not received again', async () => {
    const test = await engines.start();
    const held = deferred<void>();
    const script: EngineScript = async (engine) => {
      const first = await engine.messages.receive('letters');
      await engine.flow.step('held', () => held.promise);
      return [first, await engine.messages.receive('letters')];
    };
    const handle = await test.begin(script);
    const { workflowId } = handle;
    await test.engine.messages.send(workflowId, { a: new Date(0) }, { topic: 'letters' });
    await test.engine.messages.send(workflowId, 'b', { topic: 'letters' });
    await eventually(async () =>
      expect(await recordedBy(test, workflowId)).toEqual(['1 flow.recv letters']),
    );
    await test.kill();
    held.resolve();
    const second = await engines.start({ scripts: { [workflowId]: script } });
    expect(await second.engine.handle(workflowId).result()).toEqual([{ a: new Date(0) }, 'b']);
  });

  it('from a workflow to itself is received', async () => {
    const test = await engines.start();
    const handle = await test.begin(async ({ messages, flow }) => {
      await messages.send(flow.workflowId, 'note');
      return messages.receive();
    });
    expect(await handle.result()).toBe('note');
  });

  it('from a workflow is sent once, although that is run again', async () => {
    const test = await engines.start();
    const held = deferred<void>();
    const receiver = await test.begin(() => held.promise);
    const script: EngineScript = async (engine) => {
      await engine.messages.send(receiver.workflowId, 'once', { topic: 't' });
      await engine.flow.step('held', () => held.promise);
    };
    const { workflowId } = await test.begin(script);
    await eventually(async () =>
      expect(await recordedBy(test, workflowId)).toEqual(['0 workflows.send t']),
    );
    await test.kill();
    held.resolve();
    const second = await engines.start({
      scripts: { [workflowId]: script, [receiver.workflowId]: () => undefined },
    });
    await second.engine.handle(workflowId).result();
    expect(await unreceived(second, receiver.workflowId)).toEqual(['"once"']);
  });

  it('from a workflow is sent once although the answer to its sending was lost', async () => {
    const test = await engines.start();
    const receiver = await test.begin(() => undefined);
    test.faults.loseAnswerOfNext('dbos.send_messages');
    const sender = await test.begin(async ({ messages }) => {
      await messages.send(receiver.workflowId, 'once');
    });
    await sender.result();
    expect(await unreceived(test, receiver.workflowId)).toEqual(['"once"']);
  });

  it('from a workflow to one that does not exist is refused on every run', async () => {
    const test = await engines.start();
    const codes: unknown[] = [];
    const held = deferred<void>();
    const script: EngineScript = async (engine) => {
      const sending = engine.messages.send('nobody', 1);
      codes.push(await sending.catch((error: { code: unknown }) => error.code));
      await engine.flow.step('held', () => held.promise);
    };
    const { workflowId } = await test.begin(script);
    await eventually(async () =>
      expect(await recordedBy(test, workflowId)).toEqual(['0 workflows.send']),
    );
    await eventually(() => expect(codes).toHaveLength(1)); // the run has heard of it, too
    await test.kill();
    held.resolve();
    const second = await engines.start({ scripts: { [workflowId]: script } });
    await second.engine.handle(workflowId).result();
    expect(codes).toEqual(['DBOS_WORKFLOW_NOT_FOUND', 'DBOS_WORKFLOW_NOT_FOUND']);
  });

  it('of a run that was taken over is not sent', async () => {
    const test = await engines.start();
    const [held, sent] = [deferred<void>(), deferred<unknown>()];
    const receiver = await test.begin(() => undefined);
    const { workflowId } = await test.begin(async ({ messages }) => {
      await held.promise;
      await messages
        .send(receiver.workflowId, 'stale')
        .then(sent.resolve, ({ code }: { code: unknown }) => sent.resolve(code));
    });
    await test.prisma
      .$executeRaw`UPDATE dbos.workflows SET epoch = epoch + 1, executor_id = 'other' WHERE id = ${workflowId}`;
    held.resolve();
    expect(await sent.promise).toBe('DBOS_OWNERSHIP_LOST');
    expect(await unreceived(test, receiver.workflowId)).toEqual([]);
  });

  it('is not received by a run that was taken over', async () => {
    const test = await engines.start();
    const [held, received] = [deferred<void>(), deferred<unknown>()];
    const { workflowId } = await test.begin(async ({ messages }) => {
      await held.promise;
      await messages
        .receive()
        .then(received.resolve, ({ code }: { code: unknown }) => received.resolve(code));
    });
    await test.engine.messages.send(workflowId, 'for the other');
    await test.prisma
      .$executeRaw`UPDATE dbos.workflows SET epoch = epoch + 1, executor_id = 'other' WHERE id = ${workflowId}`;
    held.resolve();
    expect(await received.promise).toBe('DBOS_OWNERSHIP_LOST');
    expect(await unreceived(test, workflowId)).toEqual(['"for the other"']);
  });

  it('goes to one of two branches that receive at once', async () => {
    const test = await engines.start();
    const handle = await test.begin(({ flow, messages }) =>
      flow.all([() => messages.receive(), () => messages.receive()]),
    );
    await waits(test, handle.workflowId);
    await test.engine.messages.send(handle.workflowId, 1);
    await test.engine.messages.send(handle.workflowId, 2);
    expect(new Set(await handle.result())).toEqual(new Set([1, 2]));
  });

  it('is sent, received and refused by its step ids, whatever they are called', async () => {
    const test = await engines.start();
    const handle = await test.begin(async ({ messages, flow }) => {
      await messages.send(flow.workflowId, 1, { topic: 'a' });
      await messages.receive('a');
      await messages.receive('a', { timeout: 0 });
      await flow.step('after', () => undefined);
    });
    await handle.result();
    expect(await recordedBy(test, handle.workflowId)).toEqual([
      '0 workflows.send a',
      '2 flow.recv a',
      '4 flow.recv a',
      '5 after',
    ]);
  });

  it.each([
    ['a topic', { topic: '' }],
    ['a topic', { topic: 'line\nbreak' }],
    ['a topic', { topic: 'x'.repeat(10_000) }],
    ['a key', { idempotencyKey: '' }],
    ['a key', { idempotencyKey: 'nul\u0000' }],
  ])('with %s like %j is refused', async (_what, options) => {
    const test = await engines.start();
    await expect(test.engine.messages.send('any', 1, options)).rejects.toMatchObject({
      code: 'DBOS_INVALID_ARGUMENT',
    });
  });

  it('must be a value', async () => {
    const test = await engines.start();
    await expect(test.engine.messages.send('any', undefined)).rejects.toMatchObject({
      code: 'DBOS_INVALID_ARGUMENT',
    });
  });

  it('is neither sent nor received inside of a step', async () => {
    const test = await engines.start();
    const handle = await test.begin(({ flow, messages }) =>
      flow.step('step', async () => {
        const attempts = [messages.send(flow.workflowId, 1), messages.receive()];
        const settled = await Promise.allSettled(attempts);
        return settled.map((each) => each.status === 'rejected' && each.reason.code);
      }),
    );
    expect(await handle.result()).toEqual(['DBOS_FORBIDDEN_IN_STEP', 'DBOS_FORBIDDEN_IN_STEP']);
    expect(await recordedBy(test, handle.workflowId)).toEqual(['0 step']);
  });
});

describe('A message', () => {
  it.each(['', 'nul\u0000', 'x'.repeat(10_000), 7])('to an id like %j is refused', async (id) => {
    const test = await engines.start();
    await expect(test.engine.messages.send(id as string, 1)).rejects.toMatchObject({
      code: 'DBOS_INVALID_ARGUMENT',
    });
  });

  it('of a workflow costs one statement, its checkpoint included', async () => {
    const test = await engines.start();
    const to = await test.begin(receiving(2));
    const handle = await test.begin(async ({ messages }) => {
      await messages.send(to.workflowId, 1);
      await messages.send(to.workflowId, 2);
      await to.result();
    });
    await handle.result();
    expect(await to.result()).toEqual([1, 2]);
    expect(test.faults.matching('dbos.send_messages')).toHaveLength(2);
    const steps = await recordedBy(test, handle.workflowId);
    expect(steps.slice(0, 2)).toEqual(['0 workflows.send', '1 workflows.send']);
    expect(test.faults.matching('dbos.write_transitions').length).toBeLessThanOrEqual(3);
  });

  it('to a workflow of the same process is no news for others', async () => {
    const test = await engines.start({ options: { parkAfterMs: DAY_MS } });
    const { notifier } = test.engine['parts'].common;
    const handle = await test.begin(({ messages }) => messages.receive('t', { timeout: '1h' }));
    await waits(test, handle.workflowId);
    notifier.hasAudience = true; // it is told now of what it was not told before
    await drivenBy(test.clock, notifier.flush());
    notifier.hasAudience = true; // a heartbeat may have seen nobody meanwhile
    const before = test.faults.matching('pg_notify').length;
    await test.engine.messages.send(handle.workflowId, 'here', { topic: 't' });
    await handle.result();
    await drivenBy(test.clock, notifier.flush());
    expect(test.faults.matching('pg_notify')).toHaveLength(before);
  });
});

describe('A receiving', () => {
  it('looks again for what came between its look and the answer', async () => {
    const test = await engines.start();
    const [looked, sent] = [deferred<void>(), deferred<void>()];
    const { messages } = test.engine['repository'];
    const receive = messages.receive.bind(messages);
    jest.spyOn(messages, 'receive').mockImplementationOnce(async (receipt) => {
      const answer = await receive(receipt);
      looked.resolve();
      await sent.promise;
      return answer;
    });
    const handle = await test.begin(receiving(1));
    await looked.promise;
    await test.engine.messages.send(handle.workflowId, 'between');
    sent.resolve();
    expect(await handle.result()).toEqual(['between']);
  });

  it('that waits gives its slot back at once', async () => {
    const test = await engines.start({ options: { maxConcurrentWorkflows: 1 } });
    const handle = await test.begin(receiving(1));
    await waits(test, handle.workflowId);
    expect(await (await test.begin(() => 'meanwhile')).result()).toBe('meanwhile');
    await test.engine.messages.send(handle.workflowId, 'now');
    expect(await handle.result()).toEqual(['now']);
  });

  it('takes nothing before what its run has recorded is durable', async () => {
    const test = await engines.start({ options: { parkAfterMs: DAY_MS } }); // it stays in memory
    const held = deferred<void>();
    const handle = await test.begin(({ flow, messages }) =>
      flow.all([
        () => messages.receive('t', { timeout: '1h' }),
        async () => {
          await held.promise;
          return flow.now();
        },
      ]),
    );
    await waits(test, handle.workflowId);
    test.faults.failNext('dbos.write_transitions');
    held.resolve();
    await eventually(() => expect(test.faults.matching('dbos.write_transitions')).toHaveLength(1));
    await test.engine.messages.send(handle.workflowId, 'now', { topic: 't' });
    await handle.status();
    expect(await unreceived(test, handle.workflowId)).toEqual(['"now"']);
    await drivenBy(
      test.clock,
      handle.result().then(() => undefined),
    );
  });
});

describe('B54: a receiving with a timeout', () => {
  /** As if it had begun `ms` earlier. */
  async function backDate({ prisma }: TestEngine, workflowId: string, ms: number): Promise<void> {
    await prisma.$executeRaw`
      UPDATE dbos.steps SET output = (output::bigint - ${ms}::bigint)::text
       WHERE workflow_id = ${workflowId} AND name = 'flow.recv deadline'`;
    await prisma.$executeRaw`
      UPDATE dbos.workflows SET wake_at = wake_at - ${ms} * interval '1 millisecond' WHERE id = ${workflowId}`;
  }

  it('ends without a message when the time is up, and not before', async () => {
    const test = await engines.start();
    let isOver = false;
    const handle = await test.begin(async ({ messages }) => {
      const message = await messages.receive('t', { timeout: '2s' });
      isOver = true;
      return message;
    });
    await waits(test, handle.workflowId);
    test.clock.advance(1_999);
    await handle.status();
    expect(isOver).toBe(false);
    test.clock.advance(1.5);
    expect(await handle.result()).toBeUndefined();
    expect(await recordedBy(test, handle.workflowId)).toEqual([
      '0 flow.recv deadline',
      '1 flow.recv t',
    ]);
  });

  it('that waits records its deadline with the look that finds nothing', async () => {
    const test = await engines.start();
    const handle = await test.begin(({ messages }) => messages.receive('t', { timeout: '5m' }));
    await waits(test, handle.workflowId);
    expect(await recordedBy(test, handle.workflowId)).toEqual(['0 flow.recv deadline']);
    expect(test.faults.matching('dbos.write_transitions')).toEqual([]);
    await test.engine.messages.send(handle.workflowId, 'now', { topic: 't' });
    expect(await handle.result()).toBe('now');
  });

  it('keeps its deadline although the answer to the first look was lost', async () => {
    const test = await engines.start();
    test.faults.loseAnswerOfNext('dbos.receive_messages');
    const handle = await test.begin(({ messages }) => messages.receive('t', { timeout: '5m' }));
    await eventually(() => {
      test.clock.advance(10);
      expect(test.faults.matching('dbos.receive_messages').length).toBeGreaterThan(1);
    });
    await waits(test, handle.workflowId);
    expect(await recordedBy(test, handle.workflowId)).toEqual(['0 flow.recv deadline']);
    await test.engine.messages.send(handle.workflowId, 'now', { topic: 't' });
    expect(await handle.result()).toBe('now');
  });

  it('of a run that was taken over records no deadline', async () => {
    const test = await engines.start();
    const [held, received] = [deferred<void>(), deferred<unknown>()];
    const handle = await test.begin(async ({ messages }) => {
      await held.promise;
      const receipt = messages.receive('t', { timeout: '5m' });
      await receipt.catch(({ code }: { code: unknown }) => received.resolve(code));
    });
    await test.prisma.$executeRaw`
      UPDATE dbos.workflows SET epoch = epoch + 1, executor_id = 'other' WHERE id = ${handle.workflowId}`;
    held.resolve();
    expect(await received.promise).toBe('DBOS_OWNERSHIP_LOST');
    expect(await recordedBy(test, handle.workflowId)).toEqual([]);
  });

  it('waits only the rest after a restart', async () => {
    const options = { parkAfterMs: DAY_MS };
    const test = await engines.start({ options });
    const script: EngineScript = ({ messages }) => messages.receive('t', { timeout: '2h' });
    const handle = await test.begin(script);
    const { workflowId } = handle;
    await eventually(async () =>
      expect(await recordedBy(test, workflowId)).toEqual(['0 flow.recv deadline']),
    );
    await test.kill();
    const second = await engines.start({ options: { runWorkflows: false } });
    await backDate(second, workflowId, HOUR_MS);
    await second.close();
    const third = await engines.start({ options, scripts: { [workflowId]: script } });
    await waits(third, workflowId);
    const [waiter] = third.engine['parts'].arrivals['waiters'].get(workflowId) ?? [];
    const rest = (waiter?.dueAt ?? Infinity) - third.clock.monotonic();
    expect(rest).toBeLessThanOrEqual(HOUR_MS);
    third.clock.advance(rest);
    expect(await third.engine.handle(workflowId).result()).toBeUndefined();
  });

  it('that was over when its process died is over at once on a replay', async () => {
    const test = await engines.start();
    const held = deferred<void>();
    const script: EngineScript = async (engine) => {
      const message = await engine.messages.receive('t', { timeout: 0 });
      await engine.flow.step('held', () => held.promise);
      return String(message);
    };
    const { workflowId } = await test.begin(script);
    await eventually(async () =>
      expect(await recordedBy(test, workflowId)).toEqual(['1 flow.recv t']),
    );
    await test.engine.messages.send(workflowId, 'too late', { topic: 't' });
    await test.kill();
    held.resolve();
    const second = await engines.start({ scripts: { [workflowId]: script } });
    expect(await second.engine.handle(workflowId).result()).toBe('undefined');
    expect(await unreceived(second, workflowId)).toEqual(['"too late"']);
  });

  it('of 0 takes what is there', async () => {
    const test = await engines.start();
    const handle = await test.begin(async ({ flow, messages }) => {
      await messages.send(flow.workflowId, 'there');
      return [
        await messages.receive(undefined, { timeout: 0 }),
        await messages.receive(undefined, { timeout: 0 }),
      ];
    });
    expect(await handle.result()).toEqual(['there', undefined]);
  });

  it('may have a deadline instead', async () => {
    const test = await engines.start();
    const handle = await test.begin(({ messages }) =>
      messages.receive('t', { deadline: new Date(0) }),
    );
    expect(await handle.result()).toBeUndefined();
  });

  it('throws where that is asked for', async () => {
    const test = await engines.start();
    const handle = await test.begin(async ({ messages, flow }) => {
      await messages.send(flow.workflowId, 'there', { topic: 't' });
      const message = await messages.receiveOrThrow('t', { timeout: 0 });
      const failing = messages.receiveOrThrow('t', { timeout: 0 });
      return [message, await failing.catch(({ code }: { code: unknown }) => code)];
    });
    expect(await handle.result()).toEqual(['there', 'DBOS_RECV_TIMEOUT']);
  });

  it('takes a message that came in time although nobody heard of it', async () => {
    const test = await engines.start();
    const handle = await test.begin(({ messages }) => messages.receive('t', { timeout: '5s' }));
    await waits(test, handle.workflowId);
    await sendUnheard(test, handle.workflowId, 't');
    test.clock.advance(5_001);
    expect(await handle.result()).toBe('unheard');
  });

  it.each([{ timeout: Number.NaN }, { timeout: 1, deadline: new Date() }])(
    'of %j is refused, and takes no step ids',
    async (options) => {
      const test = await engines.start();
      const handle = await test.begin(async ({ messages, flow }) => {
        const call = async (): Promise<unknown> => messages.receive('t', options as never);
        const code = await call().catch((error: { code: unknown }) => error.code);
        await flow.step('after', () => undefined);
        return code;
      });
      expect(await handle.result()).toBe('DBOS_INVALID_ARGUMENT');
      expect(await recordedBy(test, handle.workflowId)).toEqual(['0 after']);
    },
  );
});

/** As a message that another process sends whose notification is lost. */
async function sendUnheard(
  { prisma }: { readonly prisma: Pick<TestEngine['prisma'], '$queryRaw'> },
  workflowId: string,
  topic: string,
): Promise<void> {
  const sent = JSON.stringify([
    { place: 0, workflow_id: workflowId, topic, serialization: 'json', message: '"unheard"' },
  ]);
  await prisma.$queryRaw`SELECT place FROM dbos.send_messages(${sent}::json)`;
}

describe('A long wait for a message', () => {
  /** Waits for a message longer than it may in memory, and has been parked. */
  async function parkedRun(
    test: TestEngine,
    script: EngineScript = ({ messages }) => messages.receive('t', { timeout: '1d' }),
  ): Promise<WorkflowHandle> {
    const handle = await test.begin(script);
    await waits(test, handle.workflowId);
    test.clock.advance(1_000);
    await parked(handle);
    return handle;
  }

  it('leaves memory after a moment, and wakes up at its deadline', async () => {
    const test = await engines.start();
    const handle = await parkedRun(test);
    const { wakeAt } = await handle.status();
    const [step] = await test.engine.steps(handle.workflowId);
    expect(wakeAt?.getTime()).toBe(step?.output);
    expect(Math.abs((wakeAt?.getTime() ?? 0) - Date.now() - DAY_MS)).toBeLessThan(10_000);
    await eventually(() => expect(test.engine['parts'].arrivals['waiters'].size).toBe(0));
  });

  it('without a timeout leaves memory for good', async () => {
    const test = await engines.start();
    const handle = await parkedRun(test, ({ messages }) => messages.receive('t'));
    expect(await handle.status()).toMatchObject({ status: 'DELAYED', wakeAt: null });
    await test.engine.messages.send(handle.workflowId, 'at last', { topic: 't' });
    expect(await handle.result()).toBe('at last');
  });

  it('ends with the message, and nothing of it is left behind', async () => {
    const test = await engines.start();
    const handle = await parkedRun(test);
    await test.engine.messages.send(handle.workflowId, 'come back', { topic: 't' });
    expect(await handle.result()).toBe('come back');
    expect(await handle.status()).toMatchObject({ wakeAt: null, recoveryAttempts: 0 });
  });

  it('is not begun when a message came after the last look', async () => {
    const test = await engines.start();
    const handle = await test.begin(({ messages }) => messages.receive('t', { timeout: '1d' }));
    await waits(test, handle.workflowId);
    await sendUnheard(test, handle.workflowId, 't');
    test.clock.advance(1_000);
    expect(await handle.result()).toBe('unheard');
  });

  it('is not begun when a message is sent that nobody can see yet', async () => {
    const test = await engines.start();
    const handle = await test.begin(({ messages }) => messages.receive('t', { timeout: '1d' }));
    await waits(test, handle.workflowId);
    const held = async (transaction: Pick<TestEngine['prisma'], '$queryRaw'>): Promise<void> => {
      await sendUnheard({ prisma: transaction }, handle.workflowId, 't');
      test.clock.advance(1_000);
      await eventually(async () => expect(await blocked(test)).toBe(1)); // the parking, behind this very row
    };
    await test.prisma.$transaction(held, LONG_TRANSACTION);
    expect(await handle.result()).toBe('unheard');
  });

  /** Statements that wait for a lock. */
  async function blocked({ prisma }: TestEngine): Promise<number | undefined> {
    const rows = await prisma.$queryRaw<Array<{ count: number }>>`
      SELECT count(*)::int AS count FROM pg_stat_activity
       WHERE datname = current_database() AND wait_event_type = 'Lock'`;
    return rows[0]?.count;
  }

  it('goes on through a message on another topic', async () => {
    const test = await engines.start();
    const handle = await parkedRun(test);
    await test.engine.messages.send(handle.workflowId, 'not for it', { topic: 'other' });
    await test.engine.messages.send(handle.workflowId, 'nor this');
    expect(await handle.status()).toMatchObject({ status: 'DELAYED' });
  });

  it('of several is ended by a message on any of the topics', async () => {
    const test = await engines.start();
    const handle = await parkedRun(test, ({ flow, messages }) =>
      flow.race([() => messages.receive('a'), () => messages.receive('b')]),
    );
    await test.engine.messages.send(handle.workflowId, 'for b', { topic: 'b' });
    expect(await handle.result()).toBe('for b');
  });

  it('B30: that is cancelled ends, and after a resume takes the message that came meanwhile', async () => {
    const test = await engines.start();
    const handle = await parkedRun(test);
    await test.engine.cancel([handle.workflowId]);
    await test.engine.messages.send(handle.workflowId, 'meanwhile', { topic: 't' });
    expect(await handle.status()).toMatchObject({ status: 'CANCELLED' });
    await test.engine.resume([handle.workflowId]);
    expect(await handle.result()).toBe('meanwhile');
  });

  it('B30: in memory that is cancelled ends without a checkpoint', async () => {
    const test = await engines.start();
    const received = deferred<unknown>();
    const handle = await test.begin(({ messages }) => {
      const receipt = messages.receive('t', { timeout: '5s' });
      receipt.then(received.resolve, ({ code }: { code: unknown }) => received.resolve(code));
      return receipt;
    });
    await waits(test, handle.workflowId);
    await eventually(async () =>
      expect(await test.engine.steps(handle.workflowId)).toHaveLength(1),
    );
    await test.engine.cancel([handle.workflowId]);
    expect(await received.promise).toBe('DBOS_RUN_CANCELLED');
    expect(await recordedBy(test, handle.workflowId)).toEqual(['0 flow.recv deadline']);
    expect(test.engine['parts'].arrivals['waiters'].size).toBe(0);

    await test.engine.messages.send(handle.workflowId, 'real', { topic: 't' });
    await test.engine.resume([handle.workflowId]);
    expect(await handle.result()).toBe('real');
  });

  it('does not delay another that is merely asleep', async () => {
    const test = await engines.start();
    const handle = await test.begin(({ flow }) => flow.sleep('1d'));
    await parked(handle);
    await test.engine.messages.send(handle.workflowId, 'sleep on');
    expect(await handle.status()).toMatchObject({ status: 'DELAYED' });
  });

  it('of a workflow that has not begun is none: it stays delayed', async () => {
    const test = await engines.start();
    await test.prisma.$executeRaw`
      INSERT INTO dbos.workflows (id, name, status, serialization, input, wake_at)
      VALUES ('to come', 'Scripted', 'DELAYED', 'json', '[]', now() + interval '1 day')`;
    await test.engine.messages.send('to come', 'early');
    expect(await test.engine.handle('to come').status()).toMatchObject({ status: 'DELAYED' });
  });

  it('asleep after having waited is not cut short by what it waited for before', async () => {
    const test = await engines.start({ options: { pollIntervalMs: 1_000 } });
    const handle = await parkedRun(test, async ({ messages, flow }: Engine) => {
      await messages.receive('t', { timeout: '1d' });
      await flow.sleep('1d');
    });
    await test.prisma.$executeRaw`
      UPDATE dbos.steps SET output = '0' WHERE workflow_id = ${handle.workflowId}`;
    await test.prisma.$executeRaw`
      UPDATE dbos.workflows SET wake_at = now() WHERE id = ${handle.workflowId}`;
    await eventually(async () => {
      test.clock.advance(1_000);
      expect(await recordedBy(test, handle.workflowId)).toContain('2 flow.sleep');
    });
    await parked(handle);
    await test.engine.messages.send(handle.workflowId, 'sleep on', { topic: 't' });
    expect(await handle.status()).toMatchObject({ status: 'DELAYED' });
  });
});

describe('Many waits', () => {
  it('share the timers of the process', async () => {
    const test = await engines.start();
    const ofTheEngine = test.clock.pending.length;
    const handles = await Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        test.begin(({ messages }) => messages.receive('t', { timeout: 5_000 + index })),
      ),
    );
    await Promise.all(handles.map(({ workflowId }) => waits(test, workflowId)));
    expect(test.clock.pending.length - ofTheEngine).toBeLessThan(10);
    for (let ms = 5_000; ms > 0; ms -= 250) test.clock.advance(250);
    await eventually(() => {
      test.clock.advance(25);
      expect(test.engine['parts'].arrivals['waiters'].size).toBe(0);
    });
    expect(new Set(await Promise.all(handles.map((handle) => handle.result())))).toEqual(
      new Set([undefined]),
    );
  });
});

/** What would break out of a text, or run into another one. */
const HOSTILE = [
  `'; DROP TABLE dbos.messages; --`,
  '"quoted"',
  'back\\slash \\u0000 \\x00',
  '$1 ${x} %s {0}',
  'a::b',
  'a',
  'b::a',
  '::',
  'ünïcödé 漢字',
  '👩‍👩‍👧‍👦',
  '__null__topic__',
  '{"topic":"a"}',
  'null',
  'x'.repeat(256),
  `${'x'.repeat(255)}y`,
];

describe('Topics', () => {
  it.each(HOSTILE)('like %j are told apart from all others', async (topic) => {
    const test = await engines.start();
    const handle = await test.begin(async ({ messages, flow }) => {
      for (const other of HOSTILE)
        await messages.send(flow.workflowId, other, { topic: other, idempotencyKey: other });
      await messages.send(flow.workflowId, 'none');
      const received = [
        await messages.receive(topic, { timeout: 0 }),
        await messages.receive(topic, { timeout: 0 }),
      ];
      return [...received, await messages.receive(undefined, { timeout: 0 })];
    });
    expect(await handle.result()).toEqual([topic, undefined, 'none']);
  });

  it.each(['', 'nul\u0000', 'x'.repeat(10_000), '\ud800', 7, null])(
    'like %j are refused by sender and receiver',
    async (topic) => {
      const test = await engines.start();
      const handle = await test.begin(async ({ messages, flow }) => {
        const calls = [
          messages.send(flow.workflowId, 1, { topic: topic as string }),
          messages.receive(topic as string),
        ];
        const settled = await Promise.allSettled(calls);
        return settled.map((each) => each.status === 'rejected' && each.reason.code);
      });
      expect(await handle.result()).toEqual(['DBOS_INVALID_ARGUMENT', 'DBOS_INVALID_ARGUMENT']);
    },
  );
});
