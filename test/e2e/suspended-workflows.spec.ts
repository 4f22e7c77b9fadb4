// How a suspended workflow goes on: when it is resumed, and at the launch of a process that has its code.
import type { WorkflowHandle } from 'nestjs-dbos';
import { eventually } from '../support/eventually.js';
import {
  Scripted,
  suspension,
  useScriptedApps,
  type Script,
  type ScriptedApp,
} from '../support/scripted-app.js';

const apps = useScriptedApps();

/** What the application that died had recorded: `0 reserve`, `1 charge`, and the step it died in is not among them. */
const RESERVE_AND_CHARGE: Script = async ({ flow, die }) => {
  await flow.step('reserve', () => 'reserved');
  await flow.step('charge', () => 'charged');
  await die();
};

describe('A suspended workflow', () => {
  const WRONG: Script = ({ flow }) => flow.step('refund', () => 'never');

  /** The code as it should be; counts the bodies it runs. */
  function corrected(calls: string[]): Script {
    return async ({ flow, die }) => {
      await flow.step('reserve', () => calls.push('reserve'));
      const charged = await flow.step('charge', () => calls.push('charge'));
      await die();
      return `${charged} and shipped ${await flow.step('ship', () => calls.push('ship'))}`;
    };
  }

  async function suspended(): Promise<{ app: ScriptedApp; handle: WorkflowHandle }> {
    const relived = await apps.relive<unknown>(RESERVE_AND_CHARGE, WRONG);
    await suspension(relived.handle);
    return relived;
  }

  it('goes on after resume() with corrected code, and repeats no recorded step', async () => {
    const { app, handle } = await suspended();
    const calls: string[] = [];
    app.get(Scripted).scripts.set(handle.workflowId, corrected(calls));

    expect(await app.workflows.resume(handle.workflowId)).toEqual([handle.workflowId]);

    expect(await handle.result()).toBe('charged and shipped 1');
    expect(calls).toEqual(['ship']);
    expect(await handle.status()).toMatchObject({ status: 'SUCCESS', error: null });
  });

  it('goes on at the launch of an application that has the corrected code', async () => {
    const { handle } = await suspended();
    await apps.close();
    const calls: string[] = [];
    const app = await apps.start({ [handle.workflowId]: corrected(calls) });

    expect(await app.workflows.handle(handle.workflowId).result()).toBe('charged and shipped 1');
    expect(calls).toEqual(['ship']);
  });

  it('goes on in another application after resume() in this one', async () => {
    const { app, handle } = await suspended();
    const calls: string[] = [];
    app.get(Scripted).scripts.set(handle.workflowId, corrected(calls));
    const other = await apps.start({ [handle.workflowId]: corrected(calls) });

    // The launch of the other has resumed it, or this does; one of the two runs it.
    await app.workflows.resume(handle.workflowId);

    expect(await other.workflows.handle(handle.workflowId).result()).toBe('charged and shipped 1');
    expect(calls).toEqual(['ship']);
  });

  it('gives its result to those who waited all the time', async () => {
    const { app, handle } = await suspended();
    const result = handle.result();
    app.get(Scripted).scripts.set(handle.workflowId, corrected([]));
    await app.workflows.resume(handle.workflowId);
    expect(await result).toBe('charged and shipped 1');
  });

  it('is suspended again at the launch of an application whose code does not fit either', async () => {
    const { handle } = await suspended();
    await apps.close();
    let calls = 0;
    const app = await apps.start({
      [handle.workflowId]: ({ flow }) => flow.step('cancel', () => (calls += 1)),
    });

    const error = await eventually(async () => {
      const { error: why } = await app.workflows.handle(handle.workflowId).status();
      expect(why).toContain('the code asked for "cancel"');
      return why;
    });
    expect(error).toContain('expected step 0 "reserve"');
    expect(calls).toBe(0);
  });

  it('is left alone at the launch of an application that does not register its name', async () => {
    const { app, handle } = await suspended();
    await app.prisma
      .$executeRaw`UPDATE dbos.workflows SET name = 'Elsewhere.run' WHERE id = ${handle.workflowId}`;
    const other = await apps.start();
    expect(await other.workflows.handle(handle.workflowId).status()).toMatchObject({
      status: 'SUSPENDED',
    });
  });

  it('was not used up by being recovered: resume() starts its count anew', async () => {
    const { app, handle } = await suspended();
    app.get(Scripted).scripts.set(handle.workflowId, corrected([]));
    await app.workflows.resume(handle.workflowId);
    await handle.result();
    expect(await handle.status()).toMatchObject({ recoveryAttempts: 0 });
  });
});
