// `@opentelemetry/api` is an optional peer: without it everything works.
import { ChildApp } from '../support/child-app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { Ledger } from '../support/ledger.js';

describe('Without @opentelemetry/api', () => {
  let database: TestDatabase;
  let ledger: Ledger;
  let child: ChildApp | undefined;

  beforeAll(async () => {
    database = await createTestDatabase();
    ledger = await Ledger.open(database.url);
    await ledger.create();
  });

  afterAll(async () => {
    await child?.kill();
    await ledger.close();
    await database.drop();
  });

  it('B67: an application starts and runs its workflows', async () => {
    child = await ChildApp.start({ url: database.url, withoutOpenTelemetry: true });

    await child.startWorkflow('FiveSteps', 'plain');

    expect(await child.result('plain')).toEqual(expect.anything());
    expect(child.log).toContain('There is no @opentelemetry/api.');
  });
});
