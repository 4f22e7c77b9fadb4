// Export and import of workflows with their history: from one database into another, once, or not at all.
import { Injectable } from '@nestjs/common';
import {
  DbosModule,
  Step,
  Workflow,
  WorkflowContext,
  WorkflowService,
  type WorkflowArchive,
} from 'nestjs-dbos';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { startNestApp, type NestApp } from '../support/nest-app.js';

@Injectable()
class Life {
  readonly bodies: string[] = [];
  token = '';

  constructor(
    private readonly flow: WorkflowContext,
    private readonly workflows: WorkflowService,
  ) {}

  @Workflow()
  async run(value: unknown): Promise<unknown> {
    await this.step('a');
    await this.flow.setEvent('ready', value);
    await this.flow.setEvent('ready', 'twice');
    await this.flow.writeStream('progress', 1);
    await this.flow.writeStream('progress', 2);
    const message = await this.flow.recv('go');
    await this.step('b');
    return { value, message };
  }

  @Workflow()
  async deciding(): Promise<unknown> {
    const { token, wait } = await this.flow.createToken();
    this.token = token;
    return wait();
  }

  @Workflow()
  async failing(): Promise<void> {
    throw new RangeError('too far');
  }

  @Workflow()
  async family(depth: number): Promise<void> {
    if (depth > 0) await this.workflows.execute(Life).family(depth - 1);
  }

  @Step()
  async step(name: string): Promise<string> {
    this.bodies.push(`${this.flow.workflowId} ${name}`);
    return name;
  }
}

describe('An archive of workflows', () => {
  let databases: TestDatabase[];
  let here: NestApp;
  let there: NestApp;
  let count = 0;
  let id = '';

  beforeAll(async () => {
    databases = [await createTestDatabase(), await createTestDatabase()];
    [here, there] = (await Promise.all(
      databases.map(({ url }) =>
        startNestApp({
          url,
          before: [DbosModule.registerQueue({ name: 'orders' })],
          providers: [Life],
          options: { parkAfterMs: 100 },
        }),
      ),
    )) as [NestApp, NestApp];
  });
  beforeEach(() => {
    id = `life ${(count += 1)}`;
  });
  afterAll(async () => {
    for (const app of [here, there]) await app.close();
    for (const database of databases) await database.drop();
  });

  /** As text, as it is when it is kept. */
  async function exported(options = {}): Promise<WorkflowArchive> {
    return JSON.parse(JSON.stringify(await here.workflows.export(id, options))) as WorkflowArchive;
  }

  async function runToTheEnd(value: unknown = 'x'): Promise<unknown> {
    const attributes = { customer: 7 };
    const handle = await here.workflows.start(Life, { workflowId: id, attributes }).run(value);
    await here.workflows.send(id, 'now', { topic: 'go', idempotencyKey: 'once' });
    return handle.result();
  }

  async function told({ workflows }: NestApp): Promise<unknown> {
    const [report] = (await workflows.list({ ids: [id], loadInput: true, loadOutput: true }))
      .workflows;
    return {
      report,
      steps: await workflows.steps(id),
      ready: await workflows.getEvent(id, 'ready'),
    };
  }

  it('takes a workflow into another database, with all that it has done', async () => {
    const value = { at: new Date(5), big: 10n, text: 'ünïcödé "\\ \n' };
    const result = await runToTheEnd(value);
    expect(await there.workflows.import(await exported())).toEqual({
      imported: [id],
      present: [],
      enqueued: [],
    });
    expect(await told(there)).toEqual(await told(here));
    expect(await there.workflows.handle(id).result()).toEqual(result);
    const stream: unknown[] = [];
    for await (const one of there.workflows.readStream(id, 'progress')) stream.push(one);
    expect(stream).toEqual([1, 2]);
    expect(
      (await there.workflows.list({ attributes: { customer: 7 }, ids: [id] })).workflows,
    ).toHaveLength(1);
    expect(there.app.get(Life).bodies).not.toContain(`${id} a`);
  });

  it('is what it was when it was exported again', async () => {
    await runToTheEnd();
    const archive = await exported();
    await there.workflows.import(archive);
    const [again] = (await there.workflows.export(id)).workflows;
    const bare = (row: Record<string, unknown>): Record<string, unknown> => ({
      ...row,
      seq: 0,
      imported_at: 0,
      updated_at: 0,
    });
    const [entry] = archive.workflows;
    expect(bare(again!.workflow)).toEqual(bare(entry!.workflow));
    for (const part of ['steps', 'messages', 'events', 'streams', 'tokens'] as const)
      expect(again![part].map(bare)).toEqual(entry![part].map(bare));
  });

  it('F73: has what was done to the workflow, which is on record once, wherever it is imported', async () => {
    await runToTheEnd();
    await here.workflows.restart(id, { workflowId: `${id} again`, by: 'ada' });
    const archive = await exported();
    await here.workflows.delete(id, { by: 'grace' });
    await Promise.all([here, there].map(({ workflows }) => workflows.import(archive)));
    const restarted = { action: 'restarted', by: 'ada', detail: { into: `${id} again` } };
    expect(await there.workflows.actions(id)).toMatchObject([restarted]);
    expect(await here.workflows.actions(id)).toMatchObject([
      restarted,
      { action: 'deleted', by: 'grace' },
    ]);
  });

  it('F73: of an earlier version, which does not say what was done, is imported', async () => {
    await runToTheEnd();
    const archive = await exported();
    const workflows = archive.workflows.map((entry) => ({ ...entry, actions: undefined }));
    expect(await there.workflows.import({ ...archive, workflows })).toMatchObject({
      imported: [id],
    });
  });

  it('keeps how a workflow failed', async () => {
    await (await here.workflows.start(Life, { workflowId: id }).failing()).result().catch(() => {});
    await there.workflows.import(await exported());
    await expect(there.workflows.handle(id).result()).rejects.toMatchObject({
      name: 'RangeError',
      message: 'too far',
    });
  });

  it('changes nothing when it is imported again, or where it was exported', async () => {
    await runToTheEnd();
    const archive = await exported();
    await there.workflows.import(archive);
    const before = await there.workflows.export(id);
    const present = { imported: [], present: [id], enqueued: [] };
    expect(await there.workflows.import(archive)).toEqual(present);
    expect(await here.workflows.import(archive)).toEqual(present);
    expect((await there.workflows.export(id)).workflows).toEqual(before.workflows);
  });

  it('is imported once by several at the same time', async () => {
    await runToTheEnd();
    const archive = await exported();
    const reports = await Promise.all([1, 2, 3].map(() => there.workflows.import(archive)));
    expect(reports.filter(({ imported }) => imported.length > 0)).toHaveLength(1);
    expect((await there.workflows.export(id)).workflows[0]!.messages).toHaveLength(1);
  });

  it('sees what was started under its id while it was imported', async () => {
    await runToTheEnd();
    const archive = await exported();
    let imported: Promise<unknown> | undefined;
    await there.prisma.$transaction(async (transaction) => {
      await transaction.$executeRaw`
        INSERT INTO dbos.workflows (id, name, status, serialization, input)
        VALUES (${id}, 'Another.run', 'CANCELLED', 'json', '[]')`;
      imported = there.workflows.import(archive).catch((error: unknown) => error);
      await eventually(async () => {
        const waiting = await there.prisma.$queryRaw`
          SELECT FROM pg_stat_activity
           WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%import_workflows%'`;
        expect(waiting).toHaveLength(1);
      });
    });
    expect(await imported).toMatchObject({ code: 'DBOS_ARCHIVE_CONFLICT', workflowIds: [id] });
  });

  it('has the descendants where they are wanted', async () => {
    await here.workflows.execute(Life, { workflowId: id }).family(3);
    expect((await exported()).workflows).toHaveLength(1);
    const archive = await exported({ children: true });
    expect(archive.workflows).toHaveLength(4);
    expect((await there.workflows.import(archive)).imported).toHaveLength(4);
    expect((await there.workflows.list({ parentId: id })).workflows).toHaveLength(1);
  });

  it('refuses what has not ended', async () => {
    await here.workflows.start(Life, { workflowId: id }).run('x');
    await expect(there.workflows.import(await exported())).rejects.toMatchObject({
      code: 'DBOS_ARCHIVE_UNFINISHED',
      workflowIds: [id],
    });
    expect((await there.workflows.list({ ids: [id] })).workflows).toEqual([]);
  });

  it('lets what has not ended go on where it is said to, from its last checkpoint', async () => {
    await here.workflows.start(Life, { workflowId: id }).run('x');
    await eventually(async () =>
      expect((await here.workflows.handle(id).status()).status).toBe('DELAYED'),
    );
    const report = await there.workflows.import(await exported(), { unfinished: 'enqueue' });
    expect(report).toMatchObject({ imported: [id], enqueued: [id] });
    await there.workflows.send(id, 'on', { topic: 'go' });
    expect(await there.workflows.handle(id).result()).toEqual({ value: 'x', message: 'on' });
    expect(there.app.get(Life).bodies.filter((body) => body.startsWith(`${id} `))).toEqual([
      `${id} b`,
    ]);
  });

  it('brings along the tokens that a workflow waits for', async () => {
    await here.workflows.start(Life, { workflowId: id }).deciding();
    await eventually(async () =>
      expect((await here.workflows.handle(id).status()).status).toBe('DELAYED'),
    );
    await there.workflows.import(await exported(), { unfinished: 'enqueue' });
    expect(await there.workflows.resolveToken(here.app.get(Life).token, 'yes')).toBe(true);
    expect(await there.workflows.handle(id).result()).toBe('yes');
  });

  it('takes up here what ran where it was exported', async () => {
    await runToTheEnd();
    const archive = await exported();
    const [entry] = archive.workflows;
    const unfinished = {
      status: 'PENDING',
      completed_at: null,
      output: null,
      outcome_serialization: null,
    };
    const running = { ...entry!, workflow: { ...entry!.workflow, ...unfinished } };
    await there.workflows.import({ ...archive, workflows: [running] }, { unfinished: 'enqueue' });
    expect(await there.workflows.handle(id).result()).toEqual({ value: 'x', message: 'now' });
  });

  it('refuses an id that belongs to another workflow here, and then writes nothing', async () => {
    await here.workflows.execute(Life, { workflowId: id }).family(1);
    const archive = await exported({ children: true });
    await there.workflows.execute(Life, { workflowId: id }).family(0);
    await expect(there.workflows.import(archive)).rejects.toMatchObject({
      code: 'DBOS_ARCHIVE_CONFLICT',
      workflowIds: [id],
    });
    expect((await there.workflows.list({ parentId: id })).workflows).toEqual([]);
  });

  it('refuses a deduplication id that an active workflow has here', async () => {
    const options = { queue: 'orders', deduplicationId: id, delay: '1h' } as const;
    await here.workflows.enqueue(Life, { ...options, workflowId: id }).family(0);
    await there.workflows.enqueue(Life, options).family(0);
    const imported = there.workflows.import(await exported(), { unfinished: 'enqueue' });
    await expect(imported).rejects.toMatchObject({
      code: 'DBOS_ARCHIVE_CONFLICT',
      workflowIds: [id],
    });
  });

  it('is not exported of a workflow that does not exist', async () => {
    await expect(here.workflows.export('nobody')).rejects.toMatchObject({
      code: 'DBOS_WORKFLOW_NOT_FOUND',
    });
  });

  type Entry = WorkflowArchive['workflows'][number];
  const damaged = (change: (entry: Entry) => object) => (archive: WorkflowArchive) => ({
    ...archive,
    workflows: archive.workflows.map((entry) => ({ ...entry, ...change(entry) })),
  });

  it.each<[string, string, (archive: WorkflowArchive) => unknown]>([
    ['nothing', 'FORMAT', () => null],
    ['something else', 'FORMAT', () => ({ format: 'zip', version: 1, workflows: [] })],
    ['no version', 'FORMAT', (archive) => ({ ...archive, version: undefined })],
    ['a later version', 'VERSION', (archive) => ({ ...archive, version: 2 })],
    ['no list', 'FORMAT', (archive) => ({ ...archive, workflows: {} })],
    [
      'one workflow twice',
      'FORMAT',
      (archive) => ({ ...archive, workflows: [...archive.workflows, ...archive.workflows] }),
    ],
    ['no name', 'FORMAT', damaged(({ workflow }) => ({ workflow: { ...workflow, name: 5 } }))],
    [
      'an unknown status',
      'FORMAT',
      damaged(({ workflow }) => ({ workflow: { ...workflow, status: 'DONE' } })),
    ],
    [
      'an end without a time',
      'FORMAT',
      damaged(({ workflow }) => ({ workflow: { ...workflow, completed_at: null } })),
    ],
    ['no steps', 'FORMAT', damaged(() => ({ steps: undefined }))],
    [
      'steps of another',
      'FORMAT',
      damaged(({ steps }) => ({ steps: steps.map((step) => ({ ...step, workflow_id: 'x' })) })),
    ],
    ['actions that are no list', 'FORMAT', damaged(() => ({ actions: {} }))],
    [
      'steps without a name',
      'FORMAT',
      damaged(({ steps }) => ({ steps: steps.map((step) => ({ ...step, name: null })) })),
    ],
    [
      'a time that is none',
      'FORMAT',
      damaged(({ workflow }) => ({ workflow: { ...workflow, created_at: 'soon' } })),
    ],
  ])('is refused with %s', async (_what, code, damage) => {
    await runToTheEnd();
    const archive = damage(await exported()) as WorkflowArchive;
    await expect(there.workflows.import(archive)).rejects.toMatchObject({
      code: `DBOS_ARCHIVE_${code}`,
    });
    expect((await there.workflows.list({ ids: [id] })).workflows).toEqual([]);
  });
});
