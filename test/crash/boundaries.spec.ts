// kill -9 at every boundary of a workflow of five steps: what was checkpointed never runs again, the rest goes on.
import { ChildApp } from '../support/child-app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { Ledger } from '../support/ledger.js';

const STEPS = [0, 1, 2, 3, 4];
const RESULT = STEPS.map((index) => `result ${index}`).join(', ');

interface Boundary {
  /** Where the process is killed. */
  readonly point: string;
  /** How many checkpoints have been committed by then. */
  readonly checkpoints: number;
  /** The step whose body the outside world saw although its checkpoint is missing. */
  readonly repeated?: number;
}

const BOUNDARIES: Boundary[] = [
  { point: 'start committed', checkpoints: 0 },
  ...STEPS.flatMap((index) => [
    { point: `step ${index} begun`, checkpoints: index },
    { point: `checkpoint ${index} unsent`, checkpoints: index, repeated: index },
    { point: `checkpoint ${index} committed`, checkpoints: index + 1 },
  ]),
];

describe('B1: A process killed with SIGKILL', () => {
  let database: TestDatabase;
  let ledger: Ledger;
  /** What a test starts to finish the work of a killed process is what the next test kills. */
  let child: ChildApp;

  const startChild = (): Promise<ChildApp> =>
    ChildApp.start({ url: database.url, executorId: 'shop-0', session: true });

  beforeAll(async () => {
    database = await createTestDatabase();
    ledger = await Ledger.open(database.url);
    await ledger.create();
    child = await startChild();
  });

  afterAll(async () => {
    await child.close();
    await ledger.close();
    await database.drop();
  });

  async function checkpoints(workflowId: string): Promise<number> {
    const [row] = await ledger.query<{ count: number }>(
      'SELECT count(*)::int AS count FROM dbos.steps WHERE workflow_id = $1',
      [workflowId],
    );
    return row?.count ?? 0;
  }

  it.each(BOUNDARIES)(
    'at "$point" ends with the same result after a restart, every checkpointed body run once',
    async ({ point, checkpoints: committed, repeated }) => {
      const workflowId = point;
      await child.stopAt(point);
      const start = child.startWorkflow('FiveSteps', workflowId);
      start.catch(() => undefined); // at "start committed" nobody answers any more
      await child.reached(point);

      await child.kill();
      const standing = await checkpoints(workflowId);
      child = await startChild();

      expect(standing).toBe(committed);
      expect(await child.result(workflowId)).toBe(RESULT);
      expect(await ledger.counts(workflowId)).toEqual(
        Object.fromEntries(STEPS.map((index) => [`step ${index}`, index === repeated ? 2 : 1])),
      );
    },
  );
});
