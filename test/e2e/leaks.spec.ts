// What applications leave behind in the process, and on the server, when they are closed: nothing.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Injectable } from '@nestjs/common';
import pg from 'pg';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { Campaign, Mailer } from '../support/campaign.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { createNestApp, openPrisma, startNestApp } from '../support/nest-app.js';

describe('Closed applications', () => {
  let database: TestDatabase;

  beforeAll(async () => {
    database = await createTestDatabase();
  });

  afterAll(async () => {
    await database.drop();
  });

  const ROUNDS = 100;

  interface Footprint {
    readonly resources: Record<string, number>;
    readonly listeners: number;
    readonly connections: number;
  }

  beforeEach(async () => {
    // What an earlier test has left is not counted.
    const prisma = openPrisma(database.url);
    await prisma.$executeRaw`TRUNCATE dbos.executors`;
    await prisma.$disconnect();
  });

  /** What this process holds open, by kind, and what the server has for it. */
  async function footprint(): Promise<Footprint> {
    const resources: Record<string, number> = {};
    for (const kind of process.getActiveResourcesInfo())
      resources[kind] = (resources[kind] ?? 0) + 1;
    const listeners = process
      .eventNames()
      .reduce((sum, event) => sum + process.listenerCount(event), 0);
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    const { rows } = await client.query<{ count: number }>(
      `SELECT count(*)::int AS count FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'`,
    );
    await client.end();
    return { resources, listeners, connections: rows[0]!.count };
  }

  /** What there is more of than before; connections and the like need a moment to be gone. */
  async function leftSince(before: Footprint): Promise<Record<string, number>> {
    const after = await footprint();
    const more = (kind: string, now: number, then = 0): Array<[string, number]> =>
      now > then ? [[kind, now - then]] : [];
    return Object.fromEntries([
      ...more('connections', after.connections, before.connections),
      ...more('listeners', after.listeners, before.listeners),
      ...Object.entries(after.resources).flatMap(([kind, now]) =>
        more(kind, now, before.resources[kind]),
      ),
    ]);
  }

  it('B69: a hundred TestingModules in a row leave no timer, socket, listener, connection or row', async () => {
    const before = await footprint();
    const warnings: string[] = [];
    const onWarning = ({ name }: Error): void => void warnings.push(name);
    process.on('warning', onWarning);
    const engines: Array<WeakRef<Engine>> = [];

    const client = openPrisma(database.url);
    for (let round = 0; round < ROUNDS; round += 1) {
      const nestApp = await startNestApp({
        url: database.url,
        providers: [{ provide: 'Client', useValue: client }, Mailer, Campaign],
        options: { prisma: 'Client', sessionUrl: database.url },
      });
      await nestApp.workflows.execute(Campaign).run(String(round));
      engines.push(new WeakRef(nestApp.app.get(Engine)));
      await nestApp.close();
    }
    await client.$disconnect();

    process.off('warning', onWarning);
    await eventually(async () => expect(await leftSince(before)).toEqual({}));
    expect(warnings.filter((name) => name === 'MaxListenersExceededWarning')).toEqual([]);
    expect(await executorsIn(database)).toEqual([]);
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    await eventually(() => {
      collectGarbage();
      const alive = engines.filter((engine) => engine.deref() !== undefined).length;
      expect(alive).toBeLessThan(ROUNDS / 10);
    });
  }, 300_000);

  it('leaves nothing behind of modules that were compiled and never initialised', async () => {
    const before = await footprint();
    for (let round = 0; round < 20; round += 1) {
      const nestApp = await createNestApp({
        url: database.url,
        providers: [Mailer, Campaign],
        options: { sessionUrl: database.url },
      });
      await nestApp.close();
    }
    await eventually(async () => expect(await leftSince(before)).toEqual({}));
  });

  it('leaves nothing behind of applications whose bootstrap failed', async () => {
    const before = await footprint();
    @Injectable()
    class Failing {
      onApplicationBootstrap(): void {
        throw new Error('no licence');
      }
    }
    for (let round = 0; round < 10; round += 1) {
      const nestApp = await createNestApp({
        url: database.url,
        providers: [Mailer, Campaign, Failing],
        options: { sessionUrl: database.url },
      });
      await expect(nestApp.app.init()).rejects.toThrow('no licence');
      await nestApp.close();
    }
    await eventually(async () => expect(await leftSince(before)).toEqual({}));
    expect(await executorsIn(database)).toEqual([]);
  });

  it('leaves nothing behind of applications whose launch failed', async () => {
    const before = await footprint();
    const options = { executorId: 'taken', sessionUrl: database.url };
    const holder = await startNestApp({ url: database.url, options });
    for (let round = 0; round < 3; round += 1) {
      const nestApp = await createNestApp({ url: database.url, options });
      await expect(nestApp.app.init()).rejects.toMatchObject({ code: 'DBOS_EXECUTOR_ID_TAKEN' });
      await nestApp.close();
    }
    await holder.close();
    await eventually(async () => expect(await leftSince(before)).toEqual({}));
    expect(await executorsIn(database)).toEqual([]);
  });

  async function executorsIn({ url }: TestDatabase): Promise<unknown> {
    const prisma = openPrisma(url);
    const executors = await prisma.$queryRaw`SELECT id FROM dbos.executors`;
    await prisma.$disconnect();
    return executors;
  }
});
