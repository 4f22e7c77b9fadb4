// A deployment over real processes: two versions side by side, and the older one is killed in the middle of its work.
import { useChildApps } from '../support/child-apps.js';
import { eventually } from '../support/eventually.js';

const apps = useChildApps({ session: true });
const RESULT = 'result 0, result 1, result 2, result 3, result 4';

const startAs = (applicationVersion: string) => apps.start({ options: { applicationVersion } });

async function rowOf(id: string): Promise<unknown> {
  const [row] = await apps.ledger.query(
    'SELECT status, executor_id, application_version, epoch FROM dbos.workflows WHERE id = $1',
    [id],
  );
  return row;
}

describe('B43: work of a version whose only process is killed', () => {
  it('is left alone by another version, finished by its own when that comes back, or by the one it is moved to', async () => {
    const [old, next] = await Promise.all([startAs('v1'), startAs('v2')]);
    for (const id of ['kept', 'moved']) {
      await old.stopAt('step 1 begun');
      await old.startWorkflow('FiveSteps', id);
      await old.reached('step 1 begun');
    }

    await apps.kill(old);

    const left = { status: 'ENQUEUED', executor_id: null, application_version: 'v1', epoch: 1 };
    await eventually(async () => expect(await rowOf('moved')).toEqual(left));
    await eventually(() => expect(next.log).toContain('no live executor may run its version'));
    await next.startWorkflow('FiveSteps', 'its own');
    expect(await next.result('its own')).toBe(RESULT);
    expect(await rowOf('moved')).toEqual(left);
    expect(await apps.ledger.counts('moved')).toEqual({ 'step 0': 1 });

    expect(await next.setVersion(['moved'], 'v2')).toEqual(['moved']);
    expect(await next.result('moved')).toBe(RESULT);
    expect(await rowOf('moved')).toMatchObject({ application_version: 'v2', epoch: 2 });

    expect(await rowOf('kept')).toEqual(left);
    await startAs('v1');
    expect(await next.result('kept')).toBe(RESULT);
    expect(await rowOf('kept')).toMatchObject({ application_version: 'v1', epoch: 2 });
    expect(await apps.ledger.counts('kept')).toEqual(await apps.ledger.counts('moved'));
  });
});
