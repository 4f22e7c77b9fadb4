// Providers that are made for each request: workflows get them by flow.resolve(), one of each for a run.
import { Controller, Get, Inject, Injectable, Scope } from '@nestjs/common';
import { REQUEST } from '@nestjs/core';
import { Step, Workflow, WorkflowContext } from 'nestjs-dbos';
import supertest from 'supertest';
import { NestApps, recordedBy, stepNames } from '../support/nest-app.js';

describe('A request-scoped provider', () => {
  let apps: NestApps;

  beforeAll(async () => {
    apps = await NestApps.open();
  });

  afterEach(() => apps.endAll());

  afterAll(() => apps.close());

  @Injectable({ scope: Scope.REQUEST })
  class Nested {
    @Step()
    async deep(): Promise<string> {
      return 'deep';
    }
  }

  @Injectable({ scope: Scope.REQUEST })
  class PerRun {
    static made = 0;
    readonly number = (PerRun.made += 1);

    constructor(
      readonly nested: Nested,
      @Inject(REQUEST) readonly request: unknown,
    ) {}

    @Step()
    async mark(): Promise<number> {
      return this.number;
    }
  }

  @Injectable()
  class Scoped {
    constructor(private readonly flow: WorkflowContext) {}

    @Workflow()
    async run(): Promise<[number, number]> {
      const first = await this.flow.resolve(PerRun);
      const second = await this.flow.resolve(PerRun);
      return [await first.mark(), await second.mark()];
    }

    @Workflow()
    async deep(): Promise<string> {
      return (await this.flow.resolve(PerRun)).nested.deep();
    }
  }

  it('makes one instance for each run and checkpoints its steps', async () => {
    const nestApp = await apps.start([Nested, PerRun, Scoped]);
    const one = await nestApp.workflows.start(Scoped).run();
    const other = await nestApp.workflows.start(Scoped).run();

    const [first, second] = await one.result();
    const [third] = await other.result();

    expect(second).toBe(first);
    expect(third).not.toBe(first);
    expect(await stepNames(nestApp, one.workflowId)).toEqual(['PerRun.mark', 'PerRun.mark']);
  });

  it('checkpoints the steps of request-scoped providers that these inject', async () => {
    const nestApp = await apps.start([Nested, PerRun, Scoped]);
    const handle = await nestApp.workflows.start(Scoped).deep();
    expect(await handle.result()).toBe('deep');
    expect(await stepNames(nestApp, handle.workflowId)).toEqual(['Nested.deep']);
  });

  it('has its steps checkpointed as well when it is transient', async () => {
    @Injectable({ scope: Scope.TRANSIENT })
    class Meter {
      @Step()
      async read(): Promise<number> {
        return 1;
      }
    }
    @Injectable()
    class Reading {
      constructor(private readonly flow: WorkflowContext) {}

      @Workflow()
      async run(): Promise<number> {
        return (await this.flow.resolve(Meter)).read();
      }
    }
    const nestApp = await apps.start([Meter, Reading]);
    expect(await recordedBy(nestApp, Reading)).toEqual(['Meter.read']);
  });

  it('serves requests with request-scoped step providers as without the library', async () => {
    @Controller()
    class Marks {
      constructor(private readonly perRun: PerRun) {}

      @Get()
      async mark(): Promise<{ number: number }> {
        return { number: await this.perRun.mark() };
      }
    }
    const { app } = await apps.start([Nested, PerRun], { controllers: [Marks] });
    const { body } = await supertest(app.getHttpServer()).get('/').expect(200);
    expect(body).toEqual({ number: PerRun.made });
  });

  it('refuses to resolve outside of a workflow', async () => {
    const { app } = await apps.start([Nested, PerRun, Scoped]);
    await expect(app.get(WorkflowContext).resolve(PerRun)).rejects.toMatchObject({
      code: 'DBOS_NOT_IN_WORKFLOW',
    });
  });
});
