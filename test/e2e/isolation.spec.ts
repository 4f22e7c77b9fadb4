// Several applications in one process share nothing, not even what they share an instance of.
import { Injectable, type OnModuleDestroy, type Provider } from '@nestjs/common';
import { Step, Workflow } from 'nestjs-dbos';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import { Campaign, Mailer } from '../support/campaign.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { startNestApp, stepNames, type NestApp } from '../support/nest-app.js';

describe('Isolation', () => {
  let red: TestDatabase;
  let blue: TestDatabase;
  const opened: NestApp[] = [];

  beforeAll(async () => {
    red = await createTestDatabase();
    blue = await createTestDatabase();
  });

  afterEach(async () => {
    for (const nestApp of opened.splice(0)) await nestApp.close();
  });

  afterAll(async () => {
    await red.drop();
    await blue.drop();
  });

  async function start(
    { url }: TestDatabase,
    providers: Provider[] = [Mailer, Campaign],
  ): Promise<NestApp> {
    const nestApp = await startNestApp({ url, providers });
    opened.push(nestApp);
    return nestApp;
  }

  describe('of two applications in one process', () => {
    it('B69: runs one id once in each, on its own providers and in its own database', async () => {
      const first = await start(red);
      const second = await start(blue);

      const results = await Promise.all([
        first.workflows.execute(Campaign, { workflowId: 'B69' }).run('Ada'),
        second.workflows.execute(Campaign, { workflowId: 'B69' }).run('Bob'),
      ]);

      expect(results).toEqual(['sent to Ada', 'sent to Bob']);
      expect(first.app.get(Mailer).sent).toEqual(['Ada']);
      expect(second.app.get(Mailer).sent).toEqual(['Bob']);
    });

    it('B69: lets the other go on when one is closed', async () => {
      const first = await start(red);
      const second = await start(blue);
      const hold = deferred<void>();
      second.app.get(Mailer).held = hold.promise;
      const running = await second.workflows.start(Campaign).run('Bob');
      await eventually(() => expect(second.app.get(Mailer).sent).toEqual(['Bob']));

      await first.app.close();
      hold.resolve();

      expect(await running.result()).toBe('sent to Bob');
      expect(await second.workflows.execute(Campaign).run('Eve')).toBe('sent to Eve');
    });

    it('B69: lets a step of one start a workflow of the other, which is nobody’s child', async () => {
      const other = await start(blue);
      @Injectable()
      class Bridge {
        @Workflow()
        async run(): Promise<string> {
          return this.cross();
        }

        @Step()
        async cross(): Promise<string> {
          return other.workflows.execute(Campaign, { workflowId: 'bridged' }).run('Bob');
        }
      }
      const first = await start(red, [Bridge]);

      expect(await first.workflows.execute(Bridge).run()).toBe('sent to Bob');

      expect(await other.workflows.handle('bridged').status()).toMatchObject({ parentId: null });
      expect(await stepNames(other, 'bridged')).toEqual(['Mailer.send']);
    });

    it('B69: knows its own workflows only', async () => {
      const first = await start(red, [Mailer]);
      await start(blue);
      const starting = async (): Promise<unknown> => first.workflows.start(Campaign).run('Ada');
      await expect(starting()).rejects.toMatchObject({ code: 'DBOS_WORKFLOW_NOT_REGISTERED' });
    });
  });

  describe('of an instance that two applications share', () => {
    it('B69: records its steps where the workflow runs', async () => {
      const shared: Provider = { provide: Mailer, useValue: new Mailer() };
      const first = await start(red, [shared, Campaign]);
      const second = await start(blue, [shared, Campaign]);

      await first.workflows.execute(Campaign, { workflowId: 'shared 1' }).run('Ada');
      await second.workflows.execute(Campaign, { workflowId: 'shared 2' }).run('Bob');

      expect(await stepNames(first, 'shared 1')).toEqual(['Mailer.send']);
      expect(await stepNames(second, 'shared 2')).toEqual(['Mailer.send']);
      expect(await stepNames(first, 'shared 2')).toEqual([]);
    });

    it.each([
      ['first', 0],
      ['second', 1],
    ])('B69: records its steps still when the %s one is closed', async (which, closed) => {
      const shared: Provider = { provide: Mailer, useValue: new Mailer() };
      const nestApps = [
        await start(red, [shared, Campaign]),
        await start(blue, [shared, Campaign]),
      ];

      await nestApps[closed]!.app.close();

      const left = nestApps[1 - closed]!;
      const workflowId = `closed ${which}`;
      await left.workflows.execute(Campaign, { workflowId }).run('Eve');
      expect(await stepNames(left, workflowId)).toEqual(['Mailer.send']);
    });

    it('B69: gives it its own methods back when both are closed, whatever the order', async () => {
      const mailer = new Mailer();
      const shared: Provider = { provide: Mailer, useValue: mailer };
      const first = await start(red, [shared, Campaign]);
      const second = await start(blue, [shared, Campaign]);
      await first.app.close();
      await second.app.close();
      expect(Object.hasOwn(mailer, 'send')).toBe(false);
    });

    it('B69: runs its workflows in the application that was asked', async () => {
      const campaign = new Campaign(new Mailer());
      const shared: Provider = { provide: Campaign, useValue: campaign };
      const first = await start(red, [shared]);
      const second = await start(blue, [shared]);

      await first.workflows.execute(Campaign, { workflowId: 'workflow 1' }).run('only red');
      await second.workflows.execute(Campaign, { workflowId: 'workflow 2' }).run('only blue');

      const begun = ({ prisma }: NestApp): Promise<unknown> => prisma.$queryRaw`
        SELECT id FROM dbos.workflows WHERE input LIKE '%only%'`;
      expect(await begun(first)).toEqual([{ id: 'workflow 1' }]);
      expect(await begun(second)).toEqual([{ id: 'workflow 2' }]);
    });

    it.each([
      ['first', 0],
      ['second', 1],
    ])('B69: destroys it with the %s without stopping the other', async (_which, closed) => {
      class Pool implements OnModuleDestroy {
        onModuleDestroy(): void {}
      }
      const shared: Provider = { provide: Pool, useValue: new Pool() };
      const nestApps = [
        await start(red, [shared, Mailer, Campaign]),
        await start(blue, [shared, Mailer, Campaign]),
      ];

      await nestApps[closed]!.app.close();

      const left = nestApps[1 - closed]!;
      expect(await left.workflows.execute(Campaign).run('Bob')).toBe('sent to Bob');
    });
  });
});
