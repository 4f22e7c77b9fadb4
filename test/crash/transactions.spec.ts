// kill -9 at random instants of workflows that sell in transactions: as many rows as sales, whatever died when.
//
// TRANSACTION_KILLS=200 for more of them; TEST_SEED repeats the instants (and is printed before the first).
import { ChildApp } from '../support/child-app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { createEmptyDatabase } from '../support/empty-database.js';
import { Ledger } from '../support/ledger.js';

const KILLS = process.env['TRANSACTION_KILLS'];
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
/** In flight at any time, each with so many sales that it outlives some kills. */
const WORKFLOWS = 4;
const SALES = 60;
/** A process lives at most so long after it is up. */
const LONGEST_LIFE_MS = 600;
const PER_KILL_MS = 20_000;

/** Numbers in [0, 1), the same for a seed (a linear congruential generator). */
function chanceOf(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 1_103_515_245 + 12_345) % 2_147_483_648) / 2_147_483_648;
}

describe.each([
  { where: 'the workflow tables', isSeparate: false, kills: Number(KILLS ?? 6) },
  { where: 'the application alone', isSeparate: true, kills: Number(KILLS ?? 10) },
])('Workflows that sell in the database of $where, killed again and again', (layout) => {
  const { isSeparate, kills } = layout;
  let database: TestDatabase;
  let application: TestDatabase;
  let ledger: Ledger;
  let shop: Ledger;

  beforeAll(async () => {
    database = await createTestDatabase();
    ledger = await Ledger.open(database.url);
    await ledger.create();
    application = isSeparate ? await createEmptyDatabase() : database;
    shop = await Ledger.open(application.url);
    await shop.query('CREATE TABLE public.sales (workflow_id text, position integer)');
  });

  afterAll(async () => {
    await Promise.all([ledger.close(), shop.close()]);
    await database.drop();
    if (isSeparate) await application.drop();
  });

  const start = (): Promise<ChildApp> =>
    ChildApp.start({
      url: database.url,
      executorId: 'shop-0',
      session: true,
      ...(isSeparate && { applicationUrl: application.url }),
    });

  /** Keeps as many workflows going as there should be. */
  async function replenish(child: ChildApp, ids: string[]): Promise<void> {
    const ended = await ledger.query<{ id: string }>(
      `SELECT id FROM dbos.workflows WHERE status = 'SUCCESS'`,
    );
    const missing = WORKFLOWS - (ids.length - ended.length);
    for (let index = 0; index < missing; index += 1) {
      const id = `workflow ${ids.push('') - 1}`;
      ids[ids.length - 1] = id;
      await child.startWorkflow('Selling', id, SALES);
    }
  }

  it(
    'have made each sale once',
    async () => {
      process.stdout.write(`TEST_SEED=${SEED} TRANSACTION_KILLS=${kills}\n`);
      const chance = chanceOf(SEED);
      const ids: string[] = [];
      for (let kill = 0; kill < kills; kill += 1) {
        const child = await start();
        await replenish(child, ids);
        await new Promise((resolve) => setTimeout(resolve, chance() * LONGEST_LIFE_MS));
        await child.kill();
      }
      const last = await start();
      const results = await Promise.all(ids.map((id) => last.result<number>(id)));
      await last.close();
      const sales = await shop.query<{ rows: number }>(
        'SELECT count(*)::int AS rows FROM public.sales GROUP BY workflow_id, position',
      );
      const bodies = (await ledger.entries()).length;
      const figures = {
        seed: SEED,
        isSeparate,
        kills,
        workflows: ids.length,
        bodies,
        sales: sales.length,
      };
      process.stdout.write(`${JSON.stringify(figures)}\n`);

      expect(results).toEqual(ids.map(() => SALES));
      expect(sales.filter(({ rows }) => rows !== 1)).toEqual([]);
      expect(sales).toHaveLength(ids.length * SALES);
      expect(bodies).toBeGreaterThanOrEqual(sales.length);
    },
    (kills + 3) * PER_KILL_MS,
  );
});
