// Tells what a test may expect of its own database.
import pg from 'pg';
import { createTestDatabase, type TestDatabase } from './database.js';

async function query(database: TestDatabase, sql: string): Promise<unknown[]> {
  const client = new pg.Client(database.url);
  await client.connect();
  try {
    return (await client.query({ text: sql, rowMode: 'array' })).rows.flat();
  } finally {
    await client.end();
  }
}

describe('A test database', () => {
  it('has the tables of the library and of the sample shop', async () => {
    const database = await createTestDatabase();
    expect(await query(database, `SELECT to_regclass('dbos.workflows')::text`)).toEqual([
      'dbos.workflows',
    ]);
    expect(await query(database, `SELECT to_regclass('public."Order"')::text`)).toEqual([
      '"Order"',
    ]);
    await database.drop();
  });

  it('shares nothing with another one', async () => {
    const [one, other] = await Promise.all([createTestDatabase(), createTestDatabase()]);
    await query(one, 'CREATE TABLE mine ()');
    expect(await query(other, `SELECT to_regclass('mine')`)).toEqual([null]);
    await Promise.all([one.drop(), other.drop()]);
  });

  it('is made as often as asked at the same moment', async () => {
    const databases = await Promise.all(Array.from({ length: 8 }, () => createTestDatabase()));
    expect(new Set(databases.map(({ name }) => name)).size).toBe(8);
    await Promise.all(databases.map((database) => database.drop()));
  });

  it('is dropped although somebody is still connected', async () => {
    const database = await createTestDatabase();
    const client = new pg.Client(database.url);
    client.on('error', () => undefined);
    await client.connect();
    await database.drop();
    await expect(query(database, 'SELECT 1')).rejects.toThrow(/does not exist/);
    await client.end();
  });
});
