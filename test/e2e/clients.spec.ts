// Which Prisma clients the engine runs on: any that has the shape, as test/types/public-api.ts says to the compiler.
import { Injectable, type Provider } from '@nestjs/common';
import { PrismaPg } from '@prisma/adapter-pg';
import { Step, Workflow } from 'nestjs-dbos';
import pg from 'pg';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { openPrisma, startNestApp } from '../support/nest-app.js';

@Injectable()
class Greeting {
  @Workflow()
  async run(name: string): Promise<string> {
    return this.greet(name);
  }

  @Step()
  async greet(name: string): Promise<string> {
    return `Hello, ${name}`;
  }
}

describe('The client', () => {
  let database: TestDatabase;

  beforeAll(async () => {
    database = await createTestDatabase();
  });

  afterAll(async () => {
    await database.drop();
  });

  /** Runs some workflows on what is provided as `Client`. */
  async function greetings(provider: Provider): Promise<string[]> {
    const nestApp = await startNestApp({
      url: database.url,
      providers: [provider, Greeting],
      options: { prisma: 'Client' },
    });
    try {
      return await Promise.all(
        ['Ada', 'Bob', 'Eve'].map((name) => nestApp.workflows.execute(Greeting).run(name)),
      );
    } finally {
      await nestApp.close();
    }
  }

  const GREETINGS = ['Hello, Ada', 'Hello, Bob', 'Hello, Eve'];

  it.each<[string, (client: PrismaClient) => object]>([
    ['generated', (client) => client],
    [
      'extended with a query hook',
      (client) => client.$extends({ query: { $allOperations: ({ args, query }) => query(args) } }),
    ],
    [
      'extended with model methods',
      (client) => client.$extends({ model: { $allModels: { exists: () => true } } }),
    ],
    [
      'extended twice',
      (client) =>
        client
          .$extends({ query: { $queryRaw: ({ args, query }) => query(args) } })
          .$extends({ client: { $greet: () => 'hello' } }),
    ],
  ])('may be %s', async (_kind, clientOf) => {
    const client = openPrisma(database.url);
    expect(await greetings({ provide: 'Client', useValue: clientOf(client) })).toEqual(GREETINGS);
    await client.$disconnect();
  });

  it('may have a pool of one connection', async () => {
    const client = openPrisma(database.url, 1);
    expect(await greetings({ provide: 'Client', useValue: client })).toEqual(GREETINGS);
    await client.$disconnect();
  });

  it('may share a pool of pg with others', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 2 });
    const client = new PrismaClient({ adapter: new PrismaPg(pool) });
    expect(await greetings({ provide: 'Client', useValue: client })).toEqual(GREETINGS);
    await client.$disconnect();
    expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    await pool.end();
  });

  it('may be made by an async factory', async () => {
    const client = openPrisma(database.url);
    const provider = { provide: 'Client', useFactory: () => Promise.resolve(client) };
    expect(await greetings(provider)).toEqual(GREETINGS);
    await client.$disconnect();
  });
});
