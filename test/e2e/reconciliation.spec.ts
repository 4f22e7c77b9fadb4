// What has been lost in a way that nobody noticed is found again within a lease.
import { Injectable } from '@nestjs/common';
import { Workflow } from 'nestjs-dbos';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

@Injectable()
class Errand {
  @Workflow()
  async run(): Promise<string> {
    return 'done';
  }
}

describe('A row that says it is ours although nobody here knows of it', () => {
  let database: TestDatabase;
  let app: TestApp;

  beforeAll(async () => {
    database = await createTestDatabase();
    app = await startTestApp({
      url: database.url,
      providers: [Errand],
      options: { leaseMs: 500 },
    });
  });

  afterAll(async () => {
    await app.close();
    await database.drop();
  });

  it('is run within a lease, without counting as a recovery', async () => {
    const { executorId } = app.get(Engine);
    await app.prisma.$executeRaw`
      INSERT INTO dbos.workflows (id, name, status, executor_id, epoch, serialization, input, updated_at)
      VALUES ('lost', 'Errand.run', 'PENDING', ${executorId}, 1, 'json', '[]', now() - interval '1 minute')`;

    expect(await app.workflows.handle('lost').result()).toBe('done');
    expect(await app.workflows.handle('lost').status()).toMatchObject({ recoveryAttempts: 0 });
  });
});
