// Readers of streams: they wait for nothing that is there, hold no more than a page, and leave nothing behind.
import { getEventListeners } from 'node:events';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { CheckpointRepository, type WorkflowService } from 'nestjs-dbos';
import { firstValueFrom, from, lastValueFrom, map, take, toArray } from 'rxjs';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { eventually } from '../support/eventually.js';
import {
  recorded,
  Scripted,
  useScriptedApps,
  type Script,
  type ScriptedApp,
  type Stage,
} from '../support/scripted-app.js';

/** So rarely that no test would see the end of it: what comes has been told of. */
const NEVER_POLLS = { options: { pollIntervalMs: 600_000 } };
const apps = useScriptedApps(NEVER_POLLS);

function waiting(app: ScriptedApp): number {
  return app.get(Engine).streams.watch.size;
}

async function drained<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const value of values) all.push(value);
  return all;
}

function range(length: number): number[] {
  return Array.from({ length }, (_, index) => index);
}

/** Writes numbers, then waits until it is let go. */
function writing(count: number): { script: Script; written: Promise<void>; end: () => void } {
  const [written, goOn] = [deferred<void>(), deferred<void>()];
  const script = async ({ flow }: Stage): Promise<void> => {
    for (const index of range(count)) await flow.writeStream('numbers', index);
    written.resolve();
    await flow.step('wait', () => goOn.promise);
  };
  return { script, written: written.promise, end: () => goOn.resolve() };
}

describe('A reader', () => {
  it('takes a page at a time, and asks for no other while it holds one', async () => {
    const app = await apps.start();
    const { script, written, end } = writing(250);
    const handle = await app.begin(script);
    await written;
    const reader = handle.stream<number>('numbers')[Symbol.asyncIterator]();
    await reader.next();
    expect(app.faults.matching('dbos.read_streams')).toHaveLength(1);
    expect(waiting(app)).toBe(0);
    for (const index of range(99)) expect((await reader.next()).value).toBe(index + 1);
    expect(app.faults.matching('dbos.read_streams')).toHaveLength(1);
    expect((await reader.next()).value).toBe(100);
    expect(app.faults.matching('dbos.read_streams')).toHaveLength(2);
    end();
  });

  it('is given pages that hold little more than 64 kB, and at least one value', async () => {
    const app = await apps.start();
    const sizes = [40_000, 40_000, 10, 300_000, 10];
    const handle = await app.begin(async ({ flow }) => {
      for (const size of sizes) await flow.writeStream('texts', 'x'.repeat(size));
    });
    await handle.result();
    const { streams } = app.get(CheckpointRepository as never) as CheckpointRepository;
    const pageFrom = async (fromOffset: number): Promise<number> => {
      const position = { workflowId: handle.workflowId, key: 'texts', fromOffset };
      return (await streams.read([position]))[0]!.entries.length;
    };
    expect(await Promise.all([0, 1, 2, 3, 4, 5].map(pageFrom))).toEqual([2, 3, 2, 1, 1, 0]);
    expect((await drained(handle.stream<string>('texts'))).map(({ length }) => length)).toEqual(
      sizes,
    );
  });

  it('answers calls that do not wait for each other in order', async () => {
    const app = await apps.start();
    const { script, end } = writing(5);
    const handle = await app.begin(script);
    const reader = handle.stream<number>('numbers')[Symbol.asyncIterator]();
    const results = await Promise.all(range(5).map(() => reader.next()));
    expect(results.map(({ value }) => value)).toEqual(range(5));
    end();
  });

  it('that is left while it waits is told so at once, and waits no more', async () => {
    const app = await apps.start();
    const { script, end } = writing(0);
    const handle = await app.begin(script);
    const readers = range(100).map(() => handle.stream('numbers')[Symbol.asyncIterator]());
    const next = readers.map((reader) => reader.next());
    await eventually(() => expect(waiting(app)).toBe(100));
    await Promise.all(readers.map((reader) => reader.return()));
    expect(waiting(app)).toBe(0);
    expect(await Promise.all(next)).toEqual(range(100).map(() => ({ done: true })));
    end();
  });

  it('leaves nothing in memory', async () => {
    const app = await apps.start();
    const { script, end } = writing(1);
    const handle = await app.begin(script);
    const cargo: Array<WeakRef<object>> = [];
    for (const round of range(50)) {
      const hold = { round };
      cargo.push(new WeakRef(hold));
      const subscription = handle.stream('numbers').subscribe(() => void hold.round);
      await eventually(() => expect(waiting(app)).toBe(1));
      subscription.unsubscribe();
      expect(waiting(app)).toBe(0);
    }
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    await eventually(() => {
      collectGarbage();
      expect(cargo.filter((ref) => ref.deref()).length).toBeLessThanOrEqual(1);
    });
    end();
  });

  it('is told of a shutdown', async () => {
    const app = await apps.start();
    const { script, end } = writing(1);
    const handle = await app.begin(script);
    const told = drained(handle.stream('numbers')).catch((error) => error.code as string);
    await eventually(() => expect(waiting(app)).toBe(1));
    await app.close();
    expect(await told).toBe('DBOS_NOT_RUNNING');
    end();
  });
});

describe('Many readers', () => {
  const small = useScriptedApps({ ...NEVER_POLLS, poolSize: 2 });

  it('200 of them on a pool of two share one statement, and hold up no workflow', async () => {
    const app = await small.start();
    const go = deferred<void>();
    const handles = await Promise.all(
      range(20).map(() =>
        app.begin(async ({ flow }) => {
          await flow.step('begin', () => go.promise);
          for (const index of range(10)) await flow.writeStream('numbers', index);
        }),
      ),
    );
    const readings = handles.flatMap((handle) =>
      range(10).map(() => drained(handle.stream<number>('numbers'))),
    );
    await eventually(() => expect(waiting(app)).toBe(200));
    await eventually(() => expect(app.faults.matching('dbos.read_streams')).toHaveLength(1));
    go.resolve();
    await Promise.all(handles.map((handle) => handle.result()));
    for (const values of await Promise.all(readings)) expect(values).toEqual(range(10));
    expect(waiting(app)).toBe(0);
    expect(app.faults.matching('dbos.read_streams').length).toBeLessThan(200);
  });
});

describe('A stream as an Observable', () => {
  it('gives all values, then completes', async () => {
    const app = await apps.start();
    const handle = await app.begin(async ({ flow }) => {
      for (const index of range(150)) await flow.writeStream('numbers', index);
    });
    const values = handle.stream<number>('numbers');
    expect(await lastValueFrom(values.pipe(toArray()))).toEqual(range(150));
    expect(await lastValueFrom(from(values).pipe(toArray()))).toEqual(range(150)); // anew
  });

  it('stops reading when it is unsubscribed, by an operator too', async () => {
    const app = await apps.start();
    const { script, written, end } = writing(3);
    const handle = await app.begin(script);
    await written;
    const two = handle.stream<number>('numbers').pipe(
      map((value) => value * 10),
      take(2),
      toArray(),
    );
    expect(await lastValueFrom(two)).toEqual([0, 10]);
    expect(waiting(app)).toBe(0);
    end();
  });

  it('passes errors on', async () => {
    const app = await apps.start();
    const values = app.workflows.readStream('no such workflow', 'numbers');
    await expect(lastValueFrom(values)).rejects.toMatchObject({ code: 'DBOS_WORKFLOW_NOT_FOUND' });
  });
});

describe('Reading in a workflow', () => {
  const follow = async (workflows: WorkflowService, id: string, count: number) => {
    const values = [];
    for await (const value of workflows.readStream<number>(id, 'numbers')) {
      values.push(value);
      if (values.length === count) break;
    }
    return values;
  };

  it('is recorded value by value, and a replay goes on after them', async () => {
    const bodies: string[] = [];
    const { app, handle } = await apps.relive(async ({ flow, workflows, die }) => {
      for (const index of range(5)) await flow.writeStream('numbers', index);
      await flow.closeStream('numbers');
      const values = workflows.readStream<number>(flow.workflowId, 'numbers');
      const reader = values[Symbol.asyncIterator]();
      const first = [(await reader.next()).value, (await reader.next()).value];
      bodies.push(`read ${first.join(' ')}`);
      await die();
      const rest = [];
      for (let next = await reader.next(); !next.done; next = await reader.next())
        rest.push(next.value);
      return [first, rest];
    });
    expect(await handle.result()).toEqual([
      [0, 1],
      [2, 3, 4],
    ]);
    expect(bodies).toEqual(['read 0 1', 'read 0 1']);
    expect((await recorded(app, handle.workflowId)).slice(6)).toEqual([
      '6 readStream numbers',
      '7 readStream numbers',
      '8 die',
      ...range(4).map((index) => `${index + 9} readStream numbers`),
    ]);
  });

  it('leaves no listener behind on the signal of the run', async () => {
    const app = await apps.start();
    const { scopes } = app.get(Engine);
    const handle = await app.begin(async ({ flow, workflows }) => {
      const values = workflows.readStream<number>(flow.workflowId, 'numbers');
      const reader = values[Symbol.asyncIterator]();
      for (const index of range(20)) {
        await flow.writeStream('numbers', index);
        await reader.next();
      }
      return getEventListeners(scopes.current!.sequence.signal, 'abort').length;
    });
    expect(await handle.result()).toBe(0);
  });

  it('ends when the reading workflow is cancelled, and leaves no waiter', async () => {
    const app = await apps.start();
    const source = writing(1);
    const { workflowId } = await app.begin(source.script);
    const reader = await app.begin(({ workflows }) => follow(workflows, workflowId, 2));
    await eventually(() => expect(waiting(app)).toBe(1));
    await app.workflows.cancel(reader.workflowId);
    await expect(reader.result()).rejects.toMatchObject({ code: 'DBOS_WORKFLOW_CANCELLED' });
    await eventually(() => expect(waiting(app)).toBe(0));
    source.end();
  });

  it('in a step records nothing, and ends with the attempt', async () => {
    const app = await apps.start();
    const source = writing(1);
    const { workflowId } = await app.begin(source.script);
    const reader = await app.begin(({ flow, workflows }) =>
      flow.step('read', () => follow(workflows, workflowId, 2), { timeoutMs: 50 }),
    );
    await expect(reader.result()).rejects.toMatchObject({ code: 'DBOS_STEP_TIMEOUT' });
    await eventually(() => expect(waiting(app)).toBe(0));
    expect(await recorded(app, reader.workflowId)).toEqual(['0 read']);
    source.end();
  });
});

describe('A process with one slot', () => {
  const single = useScriptedApps({ options: { pollIntervalMs: 20, maxConcurrentWorkflows: 1 } });

  it('lets a child write what its parent waits for', async () => {
    const app = await single.start();
    app.get(Scripted).scripts.set('child', ({ flow }) => flow.writeStream('numbers', 7));
    const parent = await app.begin(async ({ workflows, start }) => {
      await start('child');
      return firstValueFrom(workflows.readStream<number>('child', 'numbers'));
    });
    expect(await parent.result()).toBe(7);
  });
});
