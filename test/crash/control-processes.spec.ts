// Deadlines, cancellation, resumption and forks over real processes: killed ones, frozen ones, and those that wake up.
import { useChildApps } from '../support/child-apps.js';
import { eventually } from '../support/eventually.js';
import { randomFrom } from '../support/random.js';

const SEED = Number(process.env['TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const FIVE = ['step 0', 'step 1', 'step 2', 'step 3', 'step 4'];
const RESULT = 'result 0, result 1, result 2, result 3, result 4';
/** From a deadline to the outcome that others see, on a slow machine. */
const NOTICED_MS = 5_000;
/** Cancellations at random moments; half-way a process is killed. */
const ROUNDS = 12;
/** Processes take seconds to come up on a busy machine. */
const CHAOS_MS = 90_000;

const apps = useChildApps({ session: true });

interface Row {
  status: string;
  cancel_reason: string | null;
  deadline: Date | null;
  completed_at: Date | null;
  epoch: number;
}

async function rowOf(id: string): Promise<Row> {
  const [row] = await apps.ledger.query<Row & Record<string, unknown>>(
    'SELECT status, cancel_reason, deadline, completed_at, epoch FROM dbos.workflows WHERE id = $1',
    [id],
  );
  return row!;
}

/** The recorded steps of a workflow, with the epochs of the runs that recorded them. */
async function stepsOf(id: string): Promise<Array<{ step_id: string; epoch: number }>> {
  return apps.ledger.query(
    'SELECT step_id, epoch FROM dbos.steps WHERE workflow_id = $1 ORDER BY step_id',
    [id],
  );
}

describe('A deadline', () => {
  it('B33: passes on time although the owner was killed', async () => {
    const [owner] = [await apps.start()];
    const other = await apps.start({ options: { runWorkflows: false } });
    await owner.stopAt('step 1 begun');
    await owner.startWithin(2_500, 'FiveSteps', 'orphan');
    await owner.reached('step 1 begun');

    await owner.kill();

    await expect(other.result('orphan')).rejects.toMatchObject({ code: 'DBOS_WORKFLOW_CANCELLED' });
    const row = await rowOf('orphan');
    expect(row).toMatchObject({ status: 'CANCELLED', cancel_reason: 'deadline' });
    const lateMs = row.completed_at!.getTime() - row.deadline!.getTime();
    expect(lateMs).toBeGreaterThanOrEqual(0);
    expect(lateMs).toBeLessThan(NOTICED_MS);
    expect((await stepsOf('orphan')).map(({ step_id }) => step_id)).toEqual(['0']);
  });

  it('B33: passes for a frozen owner, which can write nothing when it wakes', async () => {
    const owner = await apps.start();
    const other = await apps.start({ options: { runWorkflows: false } });
    await owner.stopAt('step 1 done');
    await owner.startWithin(2_500, 'FiveSteps', 'frozen');
    await owner.reached('step 1 done');
    owner.freeze();
    await expect(other.result('frozen')).rejects.toMatchObject({ code: 'DBOS_WORKFLOW_CANCELLED' });
    const { completed_at } = await rowOf('frozen');

    owner.wake();
    await owner.goOnFrom('step 1 done');

    await expect(owner.result('frozen')).rejects.toMatchObject({ code: 'DBOS_WORKFLOW_CANCELLED' });
    expect(await rowOf('frozen')).toMatchObject({ status: 'CANCELLED', completed_at });
    expect(await stepsOf('frozen')).toHaveLength(1);
    expect(await apps.ledger.counts('frozen')).toEqual({ 'step 0': 1, 'step 1': 1 });
  });
});

describe('A cancellation', () => {
  it('B28: takes the workflow from a frozen owner; resumed it goes on elsewhere, and the owner is too late', async () => {
    const owner = await apps.start({ options: { listen: [] } });
    await owner.stopAt('step 1 done');
    await owner.startWorkflow('FiveSteps', 'moved');
    await owner.reached('step 1 done');
    owner.freeze();
    const other = await apps.start();
    await other.cancel('moved');
    await other.resume('moved');
    expect(await other.result('moved')).toBe(RESULT);
    const steps = await stepsOf('moved');

    owner.wake();
    await owner.goOnFrom('step 1 done');

    expect(await owner.result('moved')).toBe(RESULT);
    expect(await stepsOf('moved')).toEqual(steps);
    expect(steps.map(({ epoch }) => epoch)).toEqual([1, 2, 2, 2, 2]);
    expect(await apps.ledger.counts('moved')).toMatchObject({ 'step 0': 1, 'step 2': 1 });
  });

  it(
    `B15: at random moments, with kills in between, keeps a prefix and repeats nothing recorded (TEST_SEED=${SEED})`,
    async () => {
      const random = randomFrom(SEED);
      const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
      const ids = Array.from({ length: 6 }, (_, index) => `life ${index}`);
      await Promise.all([apps.start(), apps.start()]);
      await Promise.all(ids.map((id) => pick(apps.children).startWorkflow('Ticking', id, 12, 25)));

      const settled: Array<{ id: string; tick: string; bodies: number }> = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        const id = pick(ids);
        await pick(apps.children).cancel(id);
        const recorded = (await stepsOf(id)).map(({ step_id }) => Number(step_id));
        expect(recorded.toSorted((one, other) => one - other)).toEqual(recorded.map((_, n) => n));
        const bodies = await apps.ledger.counts(id);
        for (const step of recorded)
          settled.push({ id, tick: `tick ${step}`, bodies: bodies[`tick ${step}`]! });
        if (round === ROUNDS / 2) {
          await apps.children.shift()!.kill();
          await apps.start();
        }
        await pick(apps.children).resume(id);
      }

      const results = await Promise.all(ids.map((id) => apps.children[0]!.result(id)));
      expect(results).toEqual(ids.map(() => 66));
      for (const id of ids) expect(await stepsOf(id)).toHaveLength(12);
      for (const { id, tick, bodies } of settled)
        expect([id, tick, (await apps.ledger.counts(id))[tick]]).toEqual([id, tick, bodies]);
    },
    CHAOS_MS,
  );
});

describe('A fork', () => {
  it.each(['unsent', 'committed'])(
    'B59: whose caller is killed when it is %s is made once by asking again',
    async (moment) => {
      const origin = `origin ${moment}`;
      const options = { from: 3, workflowId: `fork ${moment}` };
      const caller = await apps.start({ options: { runWorkflows: false } });
      const runner = await apps.start();
      await runner.startWorkflow('FiveSteps', origin);
      await runner.result(origin);
      await caller.stopAt(`fork ${moment}`);
      const forking = caller.fork(origin, options).catch(() => undefined);
      await caller.reached(`fork ${moment}`);
      await caller.kill();
      await forking;

      expect(await runner.fork(origin, options)).toBe(options.workflowId);

      expect(await runner.result(options.workflowId)).toBe(RESULT);
      expect(await apps.ledger.counts(options.workflowId)).toEqual({ 'step 3': 1, 'step 4': 1 });
      expect(Object.keys(await apps.ledger.counts(origin))).toEqual(FIVE);
      const actions = await apps.ledger.query(
        'SELECT action FROM dbos.workflow_actions WHERE workflow_id = $1',
        [origin],
      );
      expect(actions).toEqual([{ action: 'forked' }]);
    },
  );

  it('B59: that is killed while it runs goes on from what it had recorded itself', async () => {
    const runner = await apps.start();
    await runner.startWorkflow('FiveSteps', 'origin');
    await runner.result('origin');
    await runner.stopAt('step 4 begun');
    await runner.fork('origin', { from: 2, workflowId: 'fork' });
    await runner.reached('step 4 begun');

    await runner.kill();
    const heir = await apps.start();

    expect(await heir.result('fork')).toBe(RESULT);
    expect(await apps.ledger.counts('fork')).toEqual({ 'step 2': 1, 'step 3': 1, 'step 4': 1 });
    await eventually(async () => expect((await rowOf('fork')).epoch).toBe(3));
  });
});
