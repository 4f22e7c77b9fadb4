// kill -9 around appends to a stream: what a workflow writes stands there once, wherever its process dies.
import { ChildApp } from '../support/child-app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { Ledger } from '../support/ledger.js';

const COUNT = 3;
const VALUES = ['value 0', 'value 1', 'value 2'];

/** Where the process is killed, and what stands in the stream by then. */
const BOUNDARIES: Array<{ point: string; standing: string[]; noted?: number }> = [
  { point: 'write 0', standing: [] },
  { point: 'append 0 unsent', standing: [] },
  { point: 'append 0 committed', standing: ['value 0'] },
  { point: 'append 2 unsent', standing: ['value 0', 'value 1'] },
  { point: 'append 2 committed', standing: VALUES },
  // A step is repeated when its checkpoint is missing, and with it what it writes.
  { point: 'append 3 unsent', standing: VALUES, noted: 1 },
  { point: 'append 3 committed', standing: [...VALUES, 'noted'], noted: 2 },
  { point: 'checkpoint 3 committed', standing: [...VALUES, 'noted'], noted: 1 },
  { point: 'append 4 unsent', standing: [...VALUES, 'noted'], noted: 1 },
  { point: 'append 4 committed', standing: [...VALUES, 'noted', 'closed'], noted: 1 },
];

describe('B58: A process killed with SIGKILL', () => {
  let database: TestDatabase;
  let ledger: Ledger;
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

  async function stream(workflowId: string): Promise<Array<{ offset: number; value: string }>> {
    return ledger.query(
      `SELECT "offset", coalesce(value::json #>> '{}', 'closed') AS value
         FROM dbos.stream_entries WHERE workflow_id = $1 AND key = 'progress' ORDER BY "offset"`,
      [workflowId],
    );
  }

  it.each(BOUNDARIES)(
    'at "$point" leaves a stream that holds every value of the workflow once',
    async ({ point, standing, noted = 1 }) => {
      const workflowId = point;
      await child.stopAt(point);
      await child.startWorkflow('Streaming', workflowId, COUNT);
      await child.reached(point);

      await child.kill();
      const stood = await stream(workflowId);
      child = await startChild();

      expect(stood.map(({ value }) => value)).toEqual(standing);
      expect(await child.result(workflowId)).toBe(COUNT);
      const all = [...VALUES, ...Array.from({ length: noted }, () => 'noted'), 'closed'];
      expect(await stream(workflowId)).toEqual(all.map((value, offset) => ({ offset, value })));
    },
  );
});
