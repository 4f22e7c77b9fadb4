// What is told of the steps of a workflow.
import { Injectable } from '@nestjs/common';
import { Step, Workflow, WorkflowContext, WorkflowService, type StepQuery } from 'nestjs-dbos';
import { NestApps, type NestApp } from '../support/nest-app.js';

@Injectable()
class Work {
  private failures = 2;

  constructor(
    private readonly flow: WorkflowContext,
    private readonly workflows: WorkflowService,
  ) {}

  @Workflow()
  async run(): Promise<void> {
    await this.flow.step('first', () => 1);
    await this.unsteady();
    await this.flow.map([0, 1], (branch) => this.flow.step(`branch ${branch}`, () => branch));
    await this.workflows.execute(Work, { workflowId: 'child' }).child();
    await this.flow
      .step('failing', () => {
        throw new RangeError('too far');
      })
      .catch(() => {});
  }

  @Workflow()
  async child(): Promise<string> {
    return 'done';
  }

  @Step({ maxRetries: 3, baseIntervalMs: 1 })
  async unsteady(): Promise<string> {
    if ((this.failures -= 1) >= 0) throw new Error('not yet');
    return 'at last';
  }
}

describe('The steps of a workflow', () => {
  let apps: NestApps;
  let app: NestApp;

  beforeAll(async () => {
    apps = await NestApps.open();
    app = await apps.start([Work]);
    await app.workflows.execute(Work, { workflowId: 'parent' }).run();
  });
  afterAll(async () => {
    await apps.endAll();
    await apps.close();
  });

  const names = async (query?: StepQuery): Promise<string[]> =>
    (await app.workflows.steps('parent', query)).map(({ stepId, name }) => `${stepId} ${name}`);

  const ALL = [
    '0 first',
    '1 Work.unsteady',
    '2.0.0 branch 0',
    '2.1.0 branch 1',
    '3 Work.child',
    '4 handle.result',
    '5 failing',
  ];

  it('B64: are listed in order, with ids and names', async () => {
    expect(await names()).toEqual(ALL);
  });

  it('B64: come in pages', async () => {
    expect(await names({ limit: 3 })).toEqual(ALL.slice(0, 3));
    expect(await names({ limit: 3, after: '2.0.0' })).toEqual(ALL.slice(3, 6));
    expect(await names({ after: '4' })).toEqual(ALL.slice(6));
  });

  it('B64: tell their outcomes, attempts, children and times', async () => {
    const steps = await app.workflows.steps('parent');
    const [first, unsteady, , , child, , failing] = steps;
    expect(first).toMatchObject({ output: 1, attempts: 1, childWorkflowId: null });
    expect(unsteady).toMatchObject({ output: 'at last', attempts: 3 });
    expect(child).toMatchObject({ childWorkflowId: 'child' });
    expect(failing?.error).toMatchObject({ name: 'RangeError', message: 'too far' });
    for (const { startedAt, completedAt, durationMs } of steps) {
      expect(completedAt.getTime() - startedAt.getTime()).toBe(durationMs);
      expect(durationMs).toBeGreaterThanOrEqual(0);
    }
  });

  it('B64: are none where there is no workflow', async () => {
    expect(await app.workflows.steps('nobody')).toEqual([]);
  });

  it.each([{ limit: 0 }, { limit: 1.5 }, { after: 'x' }, { after: "1'; DROP" }])(
    'are not given for an unusable %j',
    async (query) => {
      const asked = app.workflows.steps('parent', query);
      await expect(asked).rejects.toMatchObject({ code: 'DBOS_INVALID_ARGUMENT' });
    },
  );
});
