// Patches (B44): what unfinished runs do with changed code.
import {
  Scripted,
  suspension,
  useScriptedApps,
  type Script,
  type ScriptedApp,
} from '../support/scripted-app.js';

const apps = useScriptedApps();

const OLD: Script = async ({ flow, die }) => {
  await flow.step('one', () => 1);
  await flow.step('two', () => 2);
  await die();
  return 3;
};

const NEW: Script = async ({ flow, die }) => {
  await flow.step('one', () => 1);
  if (await flow.patched('more')) await flow.step('three', () => 3);
  else await flow.step('two', () => 2);
  await die();
  return flow.step('last', () => 4);
};

const DEPRECATED: Script = async ({ flow }) => {
  await flow.step('one', () => 1);
  await flow.deprecatePatch('more');
  await flow.step('three', () => 3);
  return flow.step('last', () => 4);
};

/** The steps of a fork whose code is another by now. */
async function stepsOfFork(app: ScriptedApp, from: number, script: Script): Promise<string[]> {
  const workflowId = `from ${from} as ${script.name}`;
  app.get(Scripted).scripts.set(workflowId, script);
  const fork = await app.workflows.fork('origin', { from, workflowId });
  await fork.result();
  return (await app.workflows.steps(workflowId)).map(({ name }) => name);
}

describe('B44: a patch', () => {
  it('is not taken by a run that the old code brought past it, and uses no id there', async () => {
    const relived = await apps.relive<unknown>(OLD, NEW);
    expect(await relived.handle.result()).toBe(4);
    const steps = await relived.app.workflows.steps(relived.handle.workflowId);
    expect(steps.map(({ name }) => name)).toEqual(['one', 'two', 'die', 'last']);
  });

  it('is taken by a new run and by its replay, which finds the marker', async () => {
    const relived = await apps.relive<unknown>(NEW, NEW);
    expect(await relived.handle.result()).toBe(4);
    const steps = await relived.app.workflows.steps(relived.handle.workflowId);
    expect(steps.map(({ name }) => name)).toEqual([
      'one',
      'DBOS.patch-more',
      'three',
      'die',
      'last',
    ]);
  });

  it('that is deprecated passes over the marker', async () => {
    const relived = await apps.relive<unknown>(NEW, DEPRECATED);
    expect(await relived.handle.result()).toBe(4);
  });

  it('suspends a run whose marker the old code does not know', async () => {
    const { handle } = await apps.relive<unknown>(NEW, OLD);
    await suspension(handle);
    expect((await handle.status()).error).toContain('DBOS.patch-more');
  });

  it('is taken by a fork from before it, not by one from behind it, and left out once it is deprecated', async () => {
    const app = await apps.start();
    await (await app.begin(OLD, 'origin')).result();
    const patched = ['one', 'DBOS.patch-more', 'three', 'die', 'last'];
    expect(await stepsOfFork(app, 1, NEW)).toEqual(patched);
    expect(await stepsOfFork(app, 2, NEW)).toEqual(['one', 'two', 'die', 'last']);
    expect(await stepsOfFork(app, 1, DEPRECATED)).toEqual(['one', 'three', 'last']);
  });

  it('may follow another, each with its marker', async () => {
    const app = await apps.start();
    const TWO: Script = async ({ flow }) => [await flow.patched('a'), await flow.patched('b')];
    expect(await (await app.begin(TWO, 'two')).result()).toEqual([true, true]);
    const steps = await app.workflows.steps('two');
    expect(steps.map(({ name }) => name)).toEqual(['DBOS.patch-a', 'DBOS.patch-b']);
  });
});
