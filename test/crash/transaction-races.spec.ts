// B20 with real processes: two of them are in the transaction of one step at the same time, and neither knows of the other.
import { ChildApp } from '../support/child-app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { createEmptyDatabase } from '../support/empty-database.js';
import { eventually } from '../support/eventually.js';
import { Ledger } from '../support/ledger.js';

/** As many as a process of tests has transactions open at once. */
const WORKFLOWS = 4;

interface Deal {
  readonly id: string;
  readonly pid: number;
}

let database: TestDatabase;
let elsewhere: TestDatabase;
let ledger: Ledger;
let children: ChildApp[] = [];

beforeAll(async () => {
  [database, elsewhere] = await Promise.all([createTestDatabase(), createEmptyDatabase()]);
  ledger = await Ledger.open(database.url);
  await ledger.create();
});
afterEach(async () => {
  await Promise.all(children.map((child) => child.kill()));
  children = [];
});
afterAll(async () => {
  await ledger.close();
  await Promise.all([database.drop(), elsewhere.drop()]);
});

/** No more at once than it is given: it takes back nothing that it still runs. */
async function begin(applicationUrl: string | undefined): Promise<ChildApp> {
  const child = await ChildApp.start({
    url: database.url,
    maxConcurrentWorkflows: WORKFLOWS,
    ...(applicationUrl !== undefined && { applicationUrl }),
  });
  children.push(child);
  await child.stopAt('deal made');
  return child;
}

/** All transactions of the process stand before their commits. */
async function allStand({ pid }: ChildApp): Promise<void> {
  await eventually(async () => {
    const entries = await ledger.entries();
    expect(entries.filter((entry) => entry.pid === pid)).toHaveLength(WORKFLOWS);
  });
}

describe.each([
  ['the workflow tables', false],
  ['the application, apart from the workflow tables', true],
])('Two processes in one transaction step, in the database of %s', (_, isSeparate) => {
  it('commit it once, and both get what the winner returned', async () => {
    const applicationUrl = isSeparate ? elsewhere.url : undefined;
    const application = await Ledger.open(applicationUrl ?? database.url);
    await application.query('CREATE TABLE public.deals (workflow_id text, pid integer)');
    const ids = Array.from({ length: WORKFLOWS }, (__, n) => `deal ${n} of ${isSeparate}`);
    const one = await begin(applicationUrl);
    for (const id of ids) await one.startWorkflow('Dealing', id);
    await allStand(one);
    // As if it had been taken for dead, which it is not.
    await ledger.query(
      `UPDATE dbos.workflows SET status = 'ENQUEUED', executor_id = NULL WHERE id = ANY ($1)`,
      [ids],
    );
    const other = await begin(applicationUrl);
    await allStand(other);
    await Promise.all([one.goOnFrom('deal made'), other.goOnFrom('deal made')]);

    const resultsOf = (child: ChildApp): Promise<number[]> =>
      Promise.all(ids.map((id) => child.result<number>(id)));
    const winners = await resultsOf(one);
    expect(await resultsOf(other)).toEqual(winners);
    const deals = await application.query<Deal>(
      'SELECT workflow_id AS id, pid FROM public.deals ORDER BY 1',
    );
    await application.close();
    expect(deals).toEqual(ids.map((id, n) => ({ id, pid: winners[n] })));
  });
});
