// Operations that start together have the ids of the order in which they were called.
import { Injectable } from '@nestjs/common';
import { Workflow } from 'nestjs-dbos';
import { openPrisma } from '../support/nest-app.js';
import {
  recorded,
  useScriptedApps,
  type Script,
  type ScriptedApp,
  type Stage,
} from '../support/scripted-app.js';

@Injectable()
class Child {
  @Workflow()
  async run(value: string): Promise<string> {
    return `child ${value}`;
  }
}

const apps = useScriptedApps({ providers: [Child] });

describe('Operations that start together', () => {
  /** One of each kind, in the order of their ids. */
  const KINDS: ReadonlyArray<(stage: Stage) => Promise<unknown>> = [
    ({ flow }) => flow.step('one', () => 1),
    ({ flow }) => flow.step('failing', () => Promise.reject(new Error('refused'))),
    ({ flow }) =>
      flow.step('retried', ({ attempt }) => failFirst(attempt), {
        maxRetries: 1,
        baseIntervalMs: 0,
      }),
    ({ flow }) => flow.sleep(1),
    ({ flow }) => flow.now(),
    ({ flow }) => flow.uuid(),
    ({ workflows }) =>
      workflows
        .start(Child)
        .run('started')
        .then(({ workflowId }) => workflowId),
    ({ workflows }) => workflows.execute(Child).run('executed'),
    ({ workflows }) => workflows.handle<string>(OTHER).result(),
    ({ workflows }) => workflows.handle(OTHER).status(),
    ({ workflows }) => workflows.handle('unknown').result(),
    ({ workflows }) => workflows.steps(OTHER),
    ({ workflows }) => workflows.cancel('unknown'),
    ({ workflows }) => workflows.resume('unknown'),
    ({ workflows }) => workflows.recovery(),
    ({ flow }) => flow.all([() => twoSteps(flow, 'a'), () => twoSteps(flow, 'b')]),
    ({ flow }) => flow.map(['x', 'y'], (item) => twoSteps(flow, item), { concurrency: 1 }),
    ({ flow }) => flow.race([() => flow.step('first', () => 'won')]),
    ({ flow }) => flow.step('last', () => 'last'),
  ];
  const OTHER = 'the-other-workflow';

  function failFirst(attempt: number): string {
    if (attempt === 1) throw new Error('refused');
    return `attempt ${attempt}`;
  }

  async function twoSteps(flow: Stage['flow'], name: string): Promise<string> {
    const first = await flow.step(`${name}1`, () => name);
    return first + (await flow.step(`${name}2`, () => name));
  }

  const together: Script = (stage) => Promise.allSettled(KINDS.map((kind) => kind(stage)));
  const serially: Script = async (stage) => {
    for (const kind of KINDS) await kind(stage).catch(() => undefined);
  };

  async function withOther(): Promise<ScriptedApp> {
    const app = await apps.start();
    await app.workflows.execute(Child, { workflowId: OTHER }).run('other');
    return app;
  }

  it('B12: record the same list of ids and names as when they run one after the other', async () => {
    const app = await withOther();
    const [first, second] = [await app.begin(together), await app.begin(serially)];
    await Promise.all([first.result(), second.result()]);

    const list = await recorded(app, first.workflowId);
    expect(list).toEqual(await recorded(app, second.workflowId));
    expect(list.length).toBeGreaterThanOrEqual(KINDS.length + 6);
  });

  it('B12: are replayed to the same results, without any of them being done again', async () => {
    await (await withOther()).close();
    const views: unknown[] = [];
    const { app, handle } = await apps.relive(async (stage) => {
      views.push(await together(stage));
      await stage.die();
    });
    await handle.result();

    expect(views).toHaveLength(2);
    expect(JSON.stringify(views[1])).toBe(JSON.stringify(views[0]));
    const steps = await app.workflows.steps(handle.workflowId);
    expect(new Set(steps.map(({ stepId }) => stepId)).size).toBe(steps.length);
  });

  it('B11: have the ids of their order, and a replay gives each caller its own result', async () => {
    let calls = 0;
    const order = Array.from({ length: 100 }, (_, index) => index);
    const { app, handle } = await apps.relive(async ({ flow, die }) => {
      const results = await Promise.all(
        order.map((index) =>
          flow.step('part', async () => {
            calls += 1;
            for (let turns = index % 7; turns > 0; turns -= 1) await Promise.resolve();
            return `result ${index}`;
          }),
        ),
      );
      await die();
      return results;
    });

    expect(await handle.result()).toEqual(order.map((index) => `result ${index}`));
    expect(calls).toBe(100);
    expect(await recorded(app, handle.workflowId)).toEqual([
      ...order.map((index) => `${index} part`),
      '100 die',
    ]);
  });

  it('B42: a child has the id of its parent and step, also when many start together', async () => {
    const app = await apps.start();
    const handle = await app.begin(async ({ workflows }) => {
      const children = await Promise.all(
        ['a', 'b', 'c'].map((value) => workflows.start(Child).run(value)),
      );
      return children.map(({ workflowId }) => workflowId);
    });
    expect(await handle.result()).toEqual([0, 1, 2].map((step) => `${handle.workflowId}-${step}`));
  });
});

describe('Managing other workflows', () => {
  it('is recorded: a replay does not cancel what somebody has resumed since', async () => {
    const prisma = openPrisma(apps.url);
    await prisma.$executeRaw`
      INSERT INTO dbos.workflows (id, name, status, serialization, input)
      VALUES ('stray', 'Nobody.run', 'ENQUEUED', 'json', '[]')`;
    const script: Script = async ({ workflows, die }) => {
      const cancelled = await workflows.cancel('stray');
      await die();
      return cancelled;
    };
    const id = await apps.runUntilDeath(script);
    await prisma.$executeRaw`UPDATE dbos.workflows SET status = 'ENQUEUED' WHERE id = 'stray'`;
    await prisma.$disconnect();
    const app = await apps.start({ [id]: script });

    expect(await app.workflows.handle(id).result()).toEqual(['stray']);
    expect(await app.workflows.handle('stray').status()).toMatchObject({ status: 'ENQUEUED' });
  });
});
