// Streams: what a workflow and its steps append, once and in order, and what a reader gets of it.
import { DbosModule, WorkflowContext, type WorkflowHandle } from 'nestjs-dbos';
import pg from 'pg';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import { eventually } from '../support/eventually.js';
import { NestApps } from '../support/nest-app.js';
import {
  recorded,
  Scripted,
  thrownBy,
  useScriptedApps,
  type ScriptedApp,
} from '../support/scripted-app.js';

const apps = useScriptedApps();

/** All values of a stream, to its end. */
async function valuesOf<T>(handle: WorkflowHandle, key = 'progress', fromOffset = 0): Promise<T[]> {
  const values: T[] = [];
  for await (const value of handle.stream<T>(key, { fromOffset })) values.push(value);
  return values;
}

/** The rows of a stream: where, by which step, what. */
async function entries({ prisma }: ScriptedApp, workflowId: string): Promise<string[]> {
  const rows = await prisma.$queryRaw<Array<{ line: string }>>`
    SELECT concat_ws(' ', key, "offset", step_id, coalesce(value, 'closed')) AS line
      FROM dbos.stream_entries WHERE workflow_id = ${workflowId} ORDER BY key, "offset"`;
  return rows.map(({ line }) => line);
}

describe('A stream', () => {
  it('B58: gives its values in the order of offsets, and ends where it was closed', async () => {
    const app = await apps.start();
    const goOn = deferred<void>();
    const handle = await app.begin(async ({ flow }) => {
      const offsets = [];
      for (const value of ['a', 'b', 'c']) offsets.push(await flow.writeStream('progress', value));
      await flow.closeStream('progress');
      await flow.step('work', () => goOn.promise);
      return offsets;
    });
    expect(await valuesOf(handle)).toEqual(['a', 'b', 'c']); // although the workflow goes on
    expect(await valuesOf(handle, 'progress', 2)).toEqual(['c']);
    goOn.resolve();
    expect(await handle.result()).toEqual([0, 1, 2]);
    expect(await valuesOf(handle, 'progress', 17)).toEqual([]);
  });

  it('B58: that was not closed ends with its workflow, however that ends', async () => {
    const app = await apps.start();
    const succeeded = await app.begin(({ flow }) => flow.writeStream('progress', 1));
    const failed = await app.begin(async ({ flow }) => {
      await flow.writeStream('progress', 2);
      throw new Error('no more');
    });
    expect(await valuesOf(succeeded)).toEqual([1]);
    expect(await valuesOf(failed)).toEqual([2]);
    expect(await valuesOf(failed, 'never written')).toEqual([]);
  });

  it('B58: of a cancelled workflow is drained, then ends', async () => {
    const app = await apps.start();
    const written = deferred<void>();
    const handle = await app.begin(async ({ flow }) => {
      for (let index = 0; index < 250; index += 1) await flow.writeStream('progress', index);
      written.resolve();
      await flow.sleep('1h');
    });
    await written.promise;
    const reader = handle.stream<number>('progress')[Symbol.asyncIterator]();
    expect(await reader.next()).toEqual({ done: false, value: 0 }); // of the first of three pages
    await app.workflows.cancel(handle.workflowId);
    const rest = [];
    for (let next = await reader.next(); !next.done; next = await reader.next())
      rest.push(next.value);
    expect(rest).toEqual(Array.from({ length: 249 }, (_, index) => index + 1));
  });

  it('B58: tells who waits of each value as it comes', async () => {
    const app = await apps.start();
    const gates = [deferred<void>(), deferred<void>()];
    const handle = await app.begin(async ({ flow }) => {
      for (const [index, gate] of gates.entries()) {
        await flow.step('wait', () => gate.promise);
        await flow.writeStream('progress', index);
      }
    });
    const reader = handle.stream<number>('progress')[Symbol.asyncIterator]();
    for (const [index, gate] of gates.entries()) {
      const next = reader.next();
      gate.resolve();
      expect(await next).toEqual({ done: false, value: index });
    }
    expect(await reader.next()).toEqual({ done: true, value: undefined });
    expect(await reader.next()).toEqual({ done: true, value: undefined });
  });

  it('B58: gives concurrent writers distinct offsets without gaps, in one statement', async () => {
    const app = await apps.start();
    const count = 50;
    const handle = await app.begin(async ({ flow }) => {
      await flow.now();
      return Promise.all(
        Array.from({ length: count }, (_, index) => flow.writeStream('progress', index)),
      );
    });
    const offsets = await handle.result();
    expect(offsets).toEqual(Array.from({ length: count }, (_, index) => index));
    expect(await valuesOf(handle)).toEqual(offsets);
    expect(app.faults.matching('dbos.append_to_streams')).toHaveLength(1);
  });

  it('B58: gives branches and steps distinct offsets without gaps', async () => {
    const app = await apps.start();
    const handle = await app.begin(async ({ flow }) => {
      await flow.map([0, 1, 2, 3, 4, 5, 6, 7], async (branch) => {
        for (let round = 0; round < 5; round += 1) {
          await flow.writeStream('progress', `${branch}.${round}`);
          await flow.step('step', () => flow.writeStream('progress', `step ${branch}.${round}`));
        }
      });
    });
    const values = await valuesOf<string>(handle);
    expect(new Set(values).size).toBe(80);
    expect(await entries(app, handle.workflowId)).toHaveLength(80); // with 0 to 79 by the primary key
    expect((await entries(app, handle.workflowId)).at(-1)).toMatch(/^progress 79 /);
    for (let branch = 0; branch < 8; branch += 1) {
      const ofBranch = values.filter((value) => value.startsWith(`${branch}.`));
      expect(ofBranch).toEqual([0, 1, 2, 3, 4].map((round) => `${branch}.${round}`));
    }
  });

  it('is one for each key and workflow', async () => {
    const app = await apps.start();
    const write = (name: string) =>
      app.begin(async ({ flow }) => {
        await flow.writeStream('a', `${name} a`);
        await flow.writeStream('b', `${name} b`);
        await flow.closeStream('a');
        return flow.writeStream('b', `${name} more`);
      });
    const [first, second] = await Promise.all([write('first'), write('second')]);
    expect(await valuesOf(first, 'a')).toEqual(['first a']);
    expect(await valuesOf(first, 'b')).toEqual(['first b', 'first more']);
    expect(await valuesOf(second, 'b')).toEqual(['second b', 'second more']);
  });

  it('keeps values as steps do', async () => {
    const app = await apps.start();
    const values = [undefined, null, new Date(5), new Map([['a', 1n]]), 'line\n\u0000', { a: [] }];
    const handle = await app.begin(async ({ flow }) => {
      for (const value of values) await flow.writeStream('progress', value);
    });
    expect(await valuesOf(handle)).toEqual(values);
  });

  it('keeps a value as it was when it was written', async () => {
    const app = await apps.start();
    const handle = await app.begin(async ({ flow }) => {
      const value = { percent: 1 };
      const writing = flow.writeStream('progress', value);
      value.percent = 2;
      await writing;
    });
    expect(await valuesOf(handle)).toEqual([{ percent: 1 }]);
  });

  const KEYS = [
    `'; DROP TABLE dbos.stream_entries; --`,
    '"',
    '\\',
    '$$',
    '::',
    'a::b',
    '🛒🧾',
    '%s',
    ' ',
    '{"a":1}',
    'x'.repeat(256),
  ];

  it('takes any printable key, and mixes up none of them', async () => {
    const app = await apps.start();
    const handle = await app.begin(async ({ flow }) => {
      for (const key of KEYS) await flow.writeStream(key, `of ${key}`);
    });
    for (const key of KEYS) expect(await valuesOf(handle, key)).toEqual([`of ${key}`]);
  });

  it.each([
    ['NUL', 'a\u0000b'],
    ['10 kB', 'x'.repeat(10_000)],
    ['nothing', ''],
    ['half', '\ud83d'],
  ])(
    'refuses %s as a key, to writers and readers, and takes no step id for it',
    async (_what, key) => {
      const app = await apps.start();
      const handle = await app.begin(async ({ flow }) => {
        const codes = [];
        codes.push(await flow.writeStream(key, 1).catch((error) => error.code as string));
        codes.push(await flow.closeStream(key).catch((error) => error.code as string));
        return codes;
      });
      expect(await handle.result()).toEqual(['DBOS_INVALID_ARGUMENT', 'DBOS_INVALID_ARGUMENT']);
      expect(await recorded(app, handle.workflowId)).toEqual([]);
      expect(await thrownBy(() => handle.stream(key))).toMatchObject({
        code: 'DBOS_INVALID_ARGUMENT',
      });
    },
  );

  it.each(['', 'a\u0000b', 'x'.repeat(10_000)])(
    'refuses %j as the id of a workflow',
    async (id) => {
      const app = await apps.start();
      expect(await thrownBy(() => app.workflows.readStream(id, 'key'))).toMatchObject({
        code: 'DBOS_INVALID_ARGUMENT',
      });
    },
  );

  it.each([-1, 1.5, Number.NaN, 2 ** 31, '0'])('refuses to be read from %p', async (fromOffset) => {
    const app = await apps.start();
    const read = () => app.workflows.readStream('any', 'key', { fromOffset: fromOffset as number });
    expect(await thrownBy(read)).toMatchObject({ code: 'DBOS_INVALID_ARGUMENT' });
  });

  it('of a workflow that does not exist is an error to who reads it', async () => {
    const app = await apps.start();
    await expect(valuesOf(app.workflows.handle('no such workflow'))).rejects.toMatchObject({
      code: 'DBOS_WORKFLOW_NOT_FOUND',
    });
  });

  it('with a value that cannot be read is an error to who comes to it', async () => {
    const app = await apps.start();
    const handle = await app.begin(async ({ flow }) => {
      await flow.writeStream('progress', 1);
      await flow.writeStream('progress', 2);
    });
    await handle.result();
    await app.prisma.$executeRaw`
      UPDATE dbos.stream_entries SET serialization = 'unknown'
       WHERE workflow_id = ${handle.workflowId} AND "offset" = 1`;
    const reader = handle.stream('progress')[Symbol.asyncIterator]();
    expect(await reader.next()).toEqual({ done: false, value: 1 });
    await expect(reader.next()).rejects.toMatchObject({ code: 'DBOS_UNKNOWN_FORMAT' });
    expect(await reader.next()).toEqual({ done: true, value: undefined });
  });
});

describe('Writing to a stream', () => {
  it('that is closed is refused, on a replay as well, and leaves it closed', async () => {
    const script = async ({ flow, die }: { flow: WorkflowContext; die: () => Promise<void> }) => {
      await flow.writeStream('progress', 1);
      await flow.closeStream('progress');
      await flow.closeStream('progress');
      const code = await flow.writeStream('progress', 2).catch((error) => error.code as string);
      const inStep = await flow.step('late', () =>
        flow.writeStream('progress', 3).catch((error) => error.code as string),
      );
      await die();
      return [code, inStep];
    };
    const { app, handle } = await apps.relive(script);
    expect(await handle.result()).toEqual(['DBOS_STREAM_CLOSED', 'DBOS_STREAM_CLOSED']);
    expect(await valuesOf(handle)).toEqual([1]);
    expect(await entries(app, handle.workflowId)).toEqual([
      'progress 0 0 1',
      'progress 1 1 closed',
    ]);
  });

  it('outside of a workflow is refused, and closing in a step, too', async () => {
    const app = await apps.start();
    const flow = app.get(WorkflowContext);
    await expect(flow.writeStream('progress', 1)).rejects.toMatchObject({
      code: 'DBOS_NOT_IN_WORKFLOW',
    });
    const handle = await app.begin(({ flow: inside }) =>
      inside.step('close', () => inside.closeStream('progress')),
    );
    await expect(handle.result()).rejects.toMatchObject({ code: 'DBOS_FORBIDDEN_IN_STEP' });
  });

  it('of what cannot be kept is refused with the path, and writes nothing', async () => {
    const app = await apps.start();
    const handle = await app.begin(({ flow }) =>
      flow.writeStream('progress', { lines: [() => 1] }).catch((error) => error.message as string),
    );
    expect(await handle.result()).toContain('value for stream progress.lines[0]');
    expect(await entries(app, handle.workflowId)).toEqual([]);
  });

  it('B58: is not doubled when the workflow is run again', async () => {
    const bodies: string[] = [];
    const { app, handle } = await apps.relive(async ({ flow, die }) => {
      await flow.writeStream('progress', 'before');
      await flow.step('step', async () => {
        bodies.push('step');
        await flow.writeStream('progress', 'in a step');
      });
      await die();
      await flow.writeStream('progress', 'after');
    });
    await handle.result();
    expect(await valuesOf(handle)).toEqual(['before', 'in a step', 'after']);
    expect(bodies).toEqual(['step']);
    expect(await recorded(app, handle.workflowId)).toEqual([
      '0 flow.writeStream progress',
      '1 step',
      '2 die',
      '3 flow.writeStream progress',
    ]);
  });

  it('B58: is not doubled when its answer is lost', async () => {
    const app = await apps.start();
    app.faults.loseAnswerOfNext('dbos.append_to_streams', 3);
    const handle = await app.begin(async ({ flow }) => [
      await flow.writeStream('progress', 1),
      await flow.writeStream('progress', 2),
      await flow.closeStream('progress'),
    ]);
    expect(await handle.result()).toEqual([0, 1, undefined]);
    expect(await valuesOf(handle)).toEqual([1, 2]);
  });

  it('costs a workflow one statement, its checkpoint included', async () => {
    const app = await apps.start();
    const handle = await app.begin(async ({ flow }) => {
      for (let index = 0; index < 5; index += 1) await flow.writeStream('progress', index);
    });
    await handle.result();
    expect(app.faults.matching('dbos.append_to_streams')).toHaveLength(5);
    expect(app.faults.matching('dbos.write_transitions')).toHaveLength(1); // the outcome
  });

  it('in a step is repeated as often as the step', async () => {
    const app = await apps.start();
    const handle = await app.begin(({ flow }) =>
      flow.step(
        'step',
        async ({ attempt }) => {
          await flow.writeStream('progress', attempt);
          if (attempt < 3) throw new Error('again');
        },
        { maxRetries: 2, baseIntervalMs: 1 },
      ),
    );
    await handle.result();
    expect(await valuesOf(handle)).toEqual([1, 2, 3]);
  });

  it('comes after everything that was recorded before it', async () => {
    const app = await apps.start();
    const handle = await app.begin(async ({ flow }) => {
      await flow.step('work', () => 1);
      await flow.writeStream('progress', 1);
    });
    await handle.result();
    const order = app.faults.statements.filter((sql) => /write_transitions|append_to/.test(sql));
    expect(order.map((sql) => /append_to/.test(sql))).toEqual([false, true, false]);
  });

  it('is refused to a run that has lost its workflow, in a step as well', async () => {
    const app = await apps.start();
    const [lost, goOn] = [deferred<void>(), deferred<void>()];
    const handle = await app.begin(async ({ flow }) => {
      await flow.writeStream('progress', 'mine');
      const codes: string[] = [];
      await flow.step('zombie', async () => {
        lost.resolve();
        await goOn.promise;
        await flow.writeStream('progress', 'not mine').catch((error) => codes.push(error.code));
      });
      return codes;
    });
    await lost.promise;
    await app.prisma.$executeRaw`
      UPDATE dbos.workflows SET epoch = epoch + 1, executor_id = 'another'
       WHERE id = ${handle.workflowId}`;
    goOn.resolve();
    await eventually(async () => expect((await handle.status()).executorId).toBe('another'));
    await eventually(() => expect(app.faults.matching('append_to_streams')).toHaveLength(2));
    expect(await entries(app, handle.workflowId)).toEqual(['progress 0 0 "mine"']);
  });

  it('waits for a take-over that is under way, and is refused after it', async () => {
    const app = await apps.start();
    const [running, goOn] = [deferred<void>(), deferred<void>()];
    const { workflowId } = await app.begin(async ({ flow }) => {
      await flow.step('zombie', async () => {
        running.resolve();
        await goOn.promise;
        await flow.writeStream('progress', 'too late');
      });
    });
    await running.promise;
    const other = new pg.Client({ connectionString: apps.url });
    await other.connect();
    await other.query('BEGIN');
    await other.query('UPDATE dbos.workflows SET epoch = epoch + 1 WHERE id = $1', [workflowId]);
    goOn.resolve();
    await eventually(async () => {
      const { rowCount } = await other.query(
        'SELECT FROM pg_locks WHERE NOT granted AND transactionid = pg_current_xact_id()::xid',
      );
      expect(rowCount).toBe(1);
    });
    await other.query('COMMIT');
    await app.close(); // by then it has been answered
    const { rows } = await other.query('SELECT FROM dbos.stream_entries WHERE workflow_id = $1', [
      workflowId,
    ]);
    await other.end();
    expect(rows).toEqual([]);
  });

  it('B58: twice at once, in statements of their own, gets distinct offsets without gaps', async () => {
    const app = await apps.start();
    const [running, goOn] = [deferred<void>(), deferred<void>()];
    const handle = await app.begin(async ({ flow }) => {
      await flow.step('wait', async () => {
        running.resolve();
        await goOn.promise;
      });
    });
    await running.promise;
    // As statements that were given up by their sender and may still be at work on the server.
    const append = (index: number): Promise<unknown> => app.prisma.$queryRaw`
      SELECT * FROM dbos.append_to_streams((
        SELECT json_agg(json_build_object(
                 'place', place, 'workflow_id', w.id, 'executor_id', w.executor_id, 'epoch', w.epoch,
                 'step_id', '0', 'key', 'progress', 'serialization', 'json', 'value', (${index}::int * 5 + place)::text))
          FROM dbos.workflows w, generate_series(0, 4) AS place
         WHERE w.id = ${handle.workflowId}))`;
    await Promise.all(Array.from({ length: 20 }, (_, index) => append(index)));
    goOn.resolve();
    const values = await valuesOf<number>(handle);
    expect(values.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect((await entries(app, handle.workflowId)).at(-1)).toMatch(/^progress 99 /);
  });

  it('goes on where it was when the workflow is taken over', async () => {
    const { app, handle } = await apps.relive(async ({ flow, die }) => {
      for (const value of [0, 1, 2]) await flow.writeStream('progress', value);
      await flow.step('note', () => flow.writeStream('progress', 3));
      await die();
      return flow.writeStream('progress', 4);
    });
    expect(await handle.result()).toBe(4);
    expect(await entries(app, handle.workflowId)).toHaveLength(5);
  });
});

describe('A stream of a workflow that its queue runs again', () => {
  let nestApps: NestApps;
  beforeAll(async () => {
    nestApps = await NestApps.open();
  });
  afterEach(() => nestApps.endAll());
  afterAll(() => nestApps.close());

  it('is written again from the step that failed, and open again if it was closed after that', async () => {
    const retry = { maxRetries: 1, baseIntervalMs: 1 };
    const queue = DbosModule.registerQueue({ name: 'retried', retry });
    const { app, workflows } = await nestApps.start([Scripted], { after: [queue] });
    let runs = 0;
    app.get(Scripted).scripts.set('again', async ({ flow }) => {
      await flow.writeStream('progress', 'before');
      const work = flow.step('work', () => {
        runs += 1;
        if (runs === 1) throw new Error('again');
      });
      const failure = await work.catch((error: Error) => error);
      await flow.writeStream('progress', failure ? 'failed' : 'done');
      await flow.closeStream('progress');
      if (failure) throw failure;
    });
    const handle = await workflows
      .enqueue(Scripted, { queue: 'retried', workflowId: 'again' })
      .run();
    await handle.result();
    expect(await valuesOf(handle)).toEqual(['before', 'failed', 'done']);
  });
});
