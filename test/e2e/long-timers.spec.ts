// Spans beyond 2^31-1 ms, which Node's timers do not know: nothing fires early.
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import { eventually } from '../support/eventually.js';
import { useScriptedApps, type ScriptedApp } from '../support/scripted-app.js';

const DAY_MS = 86_400_000;
const warnings: Error[] = [];
const noteWarning = (warning: Error): void => void warnings.push(warning);
const apps = useScriptedApps({ options: { parkAfterMs: 90 * DAY_MS } });

beforeAll(() => process.on('warning', noteWarning));

afterAll(() => process.off('warning', noteWarning));

/** Long enough for a timer that has overflowed: Node fires it after a millisecond. */
async function overflowTime({ workflows }: ScriptedApp): Promise<void> {
  for (let round = 0; round < 5; round += 1) await workflows.recovery();
  await new Promise((resolve) => setTimeout(resolve, 5));
}

describe('B36: a span of 30 days', () => {
  it('as a sleep in memory does not end early', async () => {
    const app = await apps.start();
    const handle = await app.begin(({ flow }) => flow.sleep('30d'));
    await overflowTime(app);
    expect(await handle.status()).toMatchObject({ status: 'PENDING' });
  });

  it('as the timeout of a result does not end early', async () => {
    const app = await apps.start();
    const gate = deferred<string>();
    const handle = await app.begin(({ flow }) => flow.step('work', () => gate.promise));
    const result = handle.result({ timeout: '30d' });
    await overflowTime(app);
    gate.resolve('done');
    expect(await result).toBe('done');
  });

  it('as the timeout of a step does not end early', async () => {
    const app = await apps.start();
    const gate = deferred<string>();
    const handle = await app.begin(({ flow }) =>
      flow.step('work', () => gate.promise, { timeoutMs: 30 * DAY_MS }),
    );
    await overflowTime(app);
    gate.resolve('done');
    expect(await handle.result()).toBe('done');
  });

  it('as the wait between two attempts does not end early', async () => {
    const app = await apps.start();
    let attempts = 0;
    await app.begin(({ flow }) =>
      flow.step('work', () => Promise.reject(new Error(`refused ${(attempts += 1)}`)), {
        maxRetries: 3,
        baseIntervalMs: 30 * DAY_MS,
      }),
    );
    await eventually(() => expect(attempts).toBe(1));
    await overflowTime(app);
    expect(attempts).toBe(1);
  });

  it('was never too long for one of the timers that were set for it', () => {
    expect(warnings.filter(({ name }) => name === 'TimeoutOverflowWarning')).toEqual([]);
  });
});
