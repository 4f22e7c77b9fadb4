// Code that no longer fits its history: the workflow is suspended with a readable difference, and nothing is run.
import { Injectable } from '@nestjs/common';
import { Workflow } from 'nestjs-dbos';
import { openPrisma } from '../support/nest-app.js';
import {
  recorded,
  suspension,
  thrownBy,
  useScriptedApps,
  type Relived,
  type Script,
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

/** What the application that died had recorded: `0 reserve`, `1 charge`, and the step it died in is not among them. */
const RESERVE_AND_CHARGE: Script = async ({ flow, die }) => {
  await flow.step('reserve', () => 'reserved');
  await flow.step('charge', () => 'charged');
  await die();
};

/** As if its step 1 had been recorded with a serializer that the application no longer has. */
async function loseSerializer(workflowId: string): Promise<void> {
  const prisma = openPrisma(apps.url);
  await prisma.$executeRaw`UPDATE dbos.steps SET serialization = 'lost' WHERE workflow_id = ${workflowId} AND step_id = '1'`;
  await prisma.$disconnect();
}

/** Lets a workflow die, and be taken up again by code that does not fit. */
function reliveChanged(
  changed: Script,
  first: Script = RESERVE_AND_CHARGE,
): Promise<Relived<unknown>> {
  return apps.relive<unknown>(first, changed);
}

describe('A workflow whose code no longer fits its history', () => {
  it('B9: is suspended where another step is asked for, whose body is never called', async () => {
    let refunds = 0;
    const { app, handle } = await reliveChanged(async ({ flow, die }) => {
      await flow.step('reserve', () => 'reserved');
      await flow.step('refund', () => (refunds += 1));
      await die();
    });

    expect(await suspension(handle)).toContain(
      'expected step 1 "charge", the code asked for "refund"',
    );
    expect(refunds).toBe(0);
    expect(await recorded(app, handle.workflowId)).toEqual(['0 reserve', '1 charge']);
  });

  it('B9: is suspended by a step that was put in before, although its body has the same shape', async () => {
    let calls = 0;
    const { handle } = await reliveChanged(async ({ flow }) => {
      await flow.step('audit', () => (calls += 1));
      await flow.step('reserve', () => (calls += 1));
      await flow.step('charge', () => (calls += 1));
    });

    expect(await suspension(handle)).toContain(
      'expected step 0 "reserve", the code asked for "audit"',
    );
    expect(calls).toBe(0);
  });

  it.each<[string, (stage: Stage) => unknown]>([
    ['flow.sleep', ({ flow }) => flow.sleep(0)],
    ['flow.now', ({ flow }) => flow.now()],
    ['flow.uuid', ({ flow }) => flow.uuid()],
    ['flow.all', ({ flow }) => flow.all([() => flow.step('inside', () => 'never')])],
    ['flow.map', ({ flow }) => flow.map([1], () => flow.step('inside', () => 'never'))],
    ['flow.race', ({ flow }) => flow.race([() => flow.step('inside', () => 'never')])],
    ['Child.run', ({ workflows }) => workflows.start(Child).run('never')],
    ['Child.run', ({ workflows }) => workflows.execute(Child).run('never')],
    ['handle.result', ({ workflows, flow }) => workflows.handle(flow.workflowId).result()],
    ['handle.status', ({ workflows, flow }) => workflows.handle(flow.workflowId).status()],
  ])('B9, B42: is suspended where %s is asked for in place of a step', async (name, operation) => {
    const { app, handle } = await reliveChanged(async (stage) => {
      await stage.flow.step('reserve', () => 'reserved');
      await operation(stage);
    });

    expect(await suspension(handle)).toContain(
      `expected step 1 "charge", the code asked for "${name}"`,
    );
    expect(await recorded(app, handle.workflowId)).toEqual(['0 reserve', '1 charge']);
    await expect(app.workflows.handle(`${handle.workflowId}-1`).status()).rejects.toMatchObject({
      code: 'DBOS_WORKFLOW_NOT_FOUND',
    });
  });

  it('B42: is suspended where a child of another name was started, and starts none', async () => {
    const { handle } = await reliveChanged(
      async ({ flow }) => flow.step('reserve', () => 'never'),
      async ({ workflows, die }) => {
        await workflows.start(Child).run('recorded');
        await die();
      },
    );
    expect(await suspension(handle)).toContain(
      'expected step 0 "Child.run", the code asked for "reserve"',
    );
  });

  it.each<[string, (stage: Stage) => unknown]>([
    ['a step', ({ flow }) => flow.step('charge', () => 'never')],
    ['a sleep', ({ flow }) => flow.sleep(0)],
    ['a child', ({ workflows }) => workflows.execute(Child).run('never')],
  ])('is suspended where %s stands in place of branches', async (_, operation) => {
    const { app, handle } = await reliveChanged(
      async (stage) => {
        await operation(stage);
      },
      async ({ flow, die }) => {
        await flow.all([() => flow.step('left', () => 1), () => flow.step('right', () => 2)]);
        await die();
      },
    );

    expect(await suspension(handle)).toMatch(
      /expected step 0 "branches with (left|right)", the code asked for "/,
    );
    expect(await recorded(app, handle.workflowId)).toEqual(['0.0.0 left', '0.1.0 right']);
  });

  it('is suspended by a difference inside of a branch, whose place it names', async () => {
    const inBranch =
      (name: string): Script =>
      async ({ flow, die }) => {
        await flow.map(['a', 'b'], async (item) => {
          await flow.step(`first ${item}`, () => undefined);
          await flow.step(`${name} ${item}`, () => undefined);
        });
        await die();
      };
    const { handle } = await reliveChanged(inBranch('refund'), inBranch('charge'));

    expect(await suspension(handle)).toMatch(
      /expected step 0\.(0|1)\.1 "charge (a|b)", the code asked for "refund \2"/,
    );
  });

  it('is suspended when it returns although its history goes on', async () => {
    const { handle } = await reliveChanged(({ flow }) => flow.step('reserve', () => 'never'));
    expect(await suspension(handle)).toContain(
      'expected step 1 "charge", the code ended without it',
    );
  });

  it('is suspended when it returns although its history goes on with branches', async () => {
    const { handle } = await reliveChanged(
      ({ flow }) => flow.step('reserve', () => 'never'),
      async ({ flow, die }) => {
        await flow.step('reserve', () => 'reserved');
        await flow.all([() => flow.step('left', () => 1)]);
        await die();
      },
    );
    expect(await suspension(handle)).toContain('expected step 1 "branches with left"');
  });

  it('is suspended, not failed, when it throws although its history goes on', async () => {
    const { handle } = await reliveChanged(async ({ flow }) => {
      await flow.step('reserve', () => 'never');
      throw new TypeError('undefined is not a function');
    });
    expect(await suspension(handle)).toContain('expected step 1 "charge"');
  });

  it('is suspended when a branch returns although the history of that branch goes on', async () => {
    const { handle } = await reliveChanged(
      ({ flow }) => flow.all([() => flow.step('first', () => 'never')]),
      async ({ flow, die }) => {
        await flow.all([
          async () => {
            await flow.step('first', () => 1);
            await flow.step('second', () => 2);
          },
        ]);
        await die();
      },
    );
    expect(await suspension(handle)).toContain('expected step 0.0.1 "second"');
  });

  it('is suspended although it catches every error, and nothing more is done for it', async () => {
    let calls = 0;
    const codes: unknown[] = [];
    const { app, handle } = await reliveChanged(async ({ flow }) => {
      for (const name of ['refund', 'charge', 'new']) {
        const error = await thrownBy(() => flow.step(name, () => (calls += 1)));
        codes.push((error as { code?: string }).code);
      }
      return 'done';
    });

    await suspension(handle);
    expect(codes).toEqual(Array(3).fill('DBOS_NON_DETERMINISM'));
    expect(calls).toBe(0);
    expect(await recorded(app, handle.workflowId)).toEqual(['0 reserve', '1 charge']);
  });

  it('is suspended by an outcome that cannot be read, without running the step again', async () => {
    let charges = 0;
    const script: Script = async ({ flow, die }) => {
      await flow.step('reserve', () => 'reserved');
      const charged = await flow.step('charge', () => ({ charge: (charges += 1) }));
      await die();
      return charged;
    };
    const id = await apps.runUntilDeath(script);
    await loseSerializer(id);
    const app = await apps.start({ [id]: script });

    expect(await suspension(app.workflows.handle(id))).toContain(
      'The recorded outcome of step 1 "charge"',
    );
    expect(charges).toBe(1);
  });

  it('is not failed: it has no outcome, is counted, and whoever waits goes on waiting', async () => {
    const { app, handle } = await reliveChanged(({ flow }) => flow.step('refund', () => 'never'));
    await suspension(handle);

    expect(await handle.status()).toMatchObject({ status: 'SUSPENDED', completedAt: null });
    await expect(handle.result({ timeout: 50 })).rejects.toMatchObject({
      code: 'DBOS_RESULT_TIMEOUT',
    });
    expect((await app.workflows.recovery()).suspended).toBeGreaterThanOrEqual(1);
  });
});

describe('Code that fits its history', () => {
  it('may go on beyond it with steps that are new', async () => {
    const { handle } = await apps.relive<string>(
      async ({ flow, die }) => {
        await flow.step('reserve', () => 'reserved');
        await die();
        return 'old';
      },
      async ({ flow, die }) => {
        const first = await flow.step('reserve', () => 'again');
        await die();
        return `${first}, ${await flow.step('notify', () => 'notified')}`;
      },
    );
    expect(await handle.result()).toBe('reserved, notified');
  });

  it('may change what a recorded step does, which no longer matters', async () => {
    const { handle } = await apps.relive<string>(
      async ({ flow, die }) => {
        const rate = await flow.step('rate', () => 1);
        await die();
        return `${rate}`;
      },
      async ({ flow, die }) => {
        const rate = await flow.step('rate', () => 2, { maxRetries: 9 });
        await die();
        return `rate ${rate}`;
      },
    );
    expect(await handle.result()).toBe('rate 1');
  });
});
