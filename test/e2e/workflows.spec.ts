// Starting, attaching and awaiting: one id is one execution.
import { Injectable } from '@nestjs/common';
import { Step, Workflow, WorkflowContext } from 'nestjs-dbos';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

@Injectable()
class Ledger {
  readonly calls: string[] = [];
  running = 0;
  mostRunning = 0;

  @Step()
  async post(entry: string): Promise<string> {
    this.running += 1;
    this.mostRunning = Math.max(this.mostRunning, this.running);
    await new Promise((resolve) => setImmediate(resolve));
    this.calls.push(entry);
    this.running -= 1;
    return `posted ${entry}`;
  }
}

@Injectable()
class Booking {
  bodies = 0;

  constructor(
    private readonly ledger: Ledger,
    private readonly flow: WorkflowContext,
  ) {}

  @Workflow()
  async run(entry: string): Promise<string> {
    this.bodies += 1;
    return this.ledger.post(entry);
  }

  @Workflow()
  async many(count: number): Promise<string[]> {
    return Promise.all(
      Array.from({ length: count }, (_, index) => this.ledger.post(String(index))),
    );
  }

  @Workflow()
  async own(): Promise<string> {
    return this.private('inside');
  }

  @Step()
  async private(where: string): Promise<string> {
    return `${where} ${this.flow.workflowId}`;
  }
}

@Injectable()
class Refund {
  @Workflow()
  async run(): Promise<string> {
    return 'refunded';
  }
}

describe('Workflows', () => {
  let database: TestDatabase;
  let app: TestApp;

  beforeAll(async () => {
    database = await createTestDatabase();
    app = await startTestApp({ url: database.url, providers: [Ledger, Booking, Refund] });
  });

  afterAll(async () => {
    await app.close();
    await database.drop();
  });

  it('resolves the result of a workflow', async () => {
    const handle = await app.workflows.start(Booking).run('rent');
    expect(await handle.result()).toBe('posted rent');
  });

  it('B2: attaches to a finished workflow, ignores the second input and runs nothing', async () => {
    const first = await app.workflows.start(Booking, { workflowId: 'B2' }).run('one');
    await first.result();
    const bodies = app.get(Booking).bodies;

    const second = await app.workflows.start(Booking, { workflowId: 'B2' }).run('two');

    expect(await second.result()).toBe('posted one');
    expect(app.get(Booking).bodies).toBe(bodies);
  });

  it('B3: runs one body for many starts of one id at the same time', async () => {
    const bodies = app.get(Booking).bodies;
    const handles = await Promise.all(
      Array.from({ length: 10 }, () =>
        app.workflows.start(Booking, { workflowId: 'B3' }).run('once'),
      ),
    );
    expect(new Set(await Promise.all(handles.map((handle) => handle.result())))).toEqual(
      new Set(['posted once']),
    );
    expect(app.get(Booking).bodies).toBe(bodies + 1);
  });

  it('B10: refuses an id that belongs to a workflow of another name, and leaves that one alone', async () => {
    const first = await app.workflows.start(Booking, { workflowId: 'B10' }).run('kept');
    await first.result();

    await expect(app.workflows.start(Refund, { workflowId: 'B10' }).run()).rejects.toMatchObject({
      code: 'DBOS_WORKFLOW_ID_CONFLICT',
    });
    expect(await first.status()).toMatchObject({ name: 'Booking.run', status: 'SUCCESS' });
  });

  it('B11: gives steps that start together the ids of the order in which they were called', async () => {
    const handle = await app.workflows.start(Booking).many(100);
    const results = await handle.result();

    const steps = await app.workflows.steps(handle.workflowId);
    expect(steps.map(({ stepId }) => stepId)).toEqual(
      Array.from({ length: 100 }, (_, index) => String(index)),
    );
    expect(steps.map(({ output }) => output)).toEqual(results);
  });

  it('B23: checkpoints a step that the workflow class calls on itself', async () => {
    const handle = await app.workflows.start(Booking).own();
    expect(await handle.result()).toBe(`inside ${handle.workflowId}`);
    expect(await app.workflows.steps(handle.workflowId)).toMatchObject([
      { name: 'Booking.private' },
    ]);
  });

  it('says that an id is unknown when its result is awaited', async () => {
    await expect(app.workflows.handle('nobody').result()).rejects.toMatchObject({
      code: 'DBOS_WORKFLOW_NOT_FOUND',
    });
  });
});
