// Patches (B44): what unfinished runs do with changed code.
import { suspension, useScriptedApps, type Script } from '../support/scripted-app.js';

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
});
