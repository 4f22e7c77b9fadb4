// Schemas: what is sent, set, asked or started is checked where that is done; what a schema refuses is not written.
import { Injectable } from '@nestjs/common';
import {
  defineEvent,
  defineTopic,
  defineUpdate,
  getQueueToken,
  DbosModule,
  Workflow,
  WorkflowContext,
  WorkflowService,
  type Queue,
} from 'nestjs-dbos';
import { z } from 'zod';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import { NestApps, type NestApp } from '../support/nest-app.js';

/** The text of a date, which the schema makes one. */
const Day = z.iso.date().transform((text) => new Date(text));
const Approval = defineTopic('approval', z.object({ by: z.string().min(1), on: Day }));
const Progress = defineEvent('progress', z.object({ percent: z.number().max(100) }));
const Discount = defineUpdate('discount', {
  payload: z.object({ percent: z.number().int().max(50) }),
  reply: z.object({ total: z.number() }),
});

const AsyncSchema = z.object({ id: z.string() }).refine(async ({ id }) => id !== 'taken', {
  error: 'is taken',
  path: ['id'],
});

@Injectable()
class Checked {
  runs = 0;
  readonly held = deferred<void>();

  constructor(
    private readonly flow: WorkflowContext,
    private readonly workflows: WorkflowService,
  ) {}

  @Workflow({ input: AsyncSchema, output: z.object({ total: z.number().default(7) }) })
  async order(order: { id: string }): Promise<{ total: unknown }> {
    this.runs += 1;
    return { total: order.id === 'wrong' ? 'a lot' : undefined };
  }

  @Workflow({ input: [z.string(), Day] })
  async both(name: string, day?: unknown, more?: unknown): Promise<unknown[]> {
    return [name, day, more];
  }

  @Workflow()
  async receive(): Promise<unknown> {
    return this.flow.recv(Approval);
  }

  @Workflow()
  async report(percent: number): Promise<string> {
    const setting = this.flow.setEvent(Progress, { percent });
    return setting.then(
      () => 'set',
      ({ code, issues }) => `${code} ${issues[0].path.join('.')}`,
    );
  }

  @Workflow()
  async discount(): Promise<void> {
    for await (const update of this.flow.updates(Discount)) {
      await update.answer(({ percent }) => ({
        total: percent === 13 ? Number.NaN : 100 - percent,
      }));
      if (update.payload.percent === 0) return;
    }
  }

  @Workflow()
  async parent(): Promise<string[]> {
    const attempts = [
      () => this.workflows.start(Checked).order({ id: 'taken' }),
      () => this.workflows.send(this.flow.workflowId, { by: '' } as never, { topic: Approval }),
      () => this.workflows.debounce(Checked, { key: 'k', periodMs: 1 }).order({ id: 'taken' }),
    ];
    const codes: string[] = [];
    for (const attempt of attempts)
      codes.push(
        await attempt().then(
          () => 'started',
          ({ code }) => code as string,
        ),
      );
    await this.flow.step('held', () => this.held.promise);
    return codes;
  }
}

let apps: NestApps;
let nestApp: NestApp;
let checked: Checked;
let queue: Queue;

beforeAll(async () => {
  apps = await NestApps.open();
  nestApp = await apps.create({
    after: [DbosModule.registerQueue({ name: 'orders' })],
    providers: [Checked],
  });
  await nestApp.app.init();
  checked = nestApp.app.get(Checked);
  queue = nestApp.app.get(getQueueToken('orders'), { strict: false });
});

afterAll(async () => {
  await apps.endAll();
  await apps.close();
});

async function written(): Promise<unknown> {
  return nestApp.prisma.$queryRaw`
    SELECT (SELECT count(*) FROM dbos.workflows) + (SELECT count(*) FROM dbos.messages) AS rows`;
}

const REFUSED = { code: 'DBOS_VALIDATION', name: 'ValidationError' };

describe('The input of a workflow', () => {
  it.each<[string, () => Promise<unknown>]>([
    ['started', () => nestApp.workflows.start(Checked).order({ id: 'taken' })],
    ['executed', () => nestApp.workflows.execute(Checked).order({ id: 'taken' })],
    ['enqueued', () => queue.enqueue(Checked).order({ id: 'taken' })],
    [
      'enqueued with others',
      () =>
        queue.enqueueMany(Checked).order([{ args: [{ id: 'a' }] }, { args: [{ id: 'taken' }] }]),
    ],
    [
      'debounced',
      () => nestApp.workflows.debounce(Checked, { key: 'k', periodMs: 1 }).order({ id: 'taken' }),
    ],
  ])('is checked where it is %s, and nothing is written', async (_how, start) => {
    const before = await written();
    await expect(start()).rejects.toMatchObject({
      ...REFUSED,
      subject: 'input of Checked.order',
      issues: [{ message: 'is taken', path: ['id'] }],
      message: 'The input of Checked.order is not valid: id: is taken',
    });
    expect(await written()).toEqual(before);
    expect(checked.runs).toBe(0);
  });

  it('is what the schemas make of it, argument by argument', async () => {
    const result = await nestApp.workflows.execute(Checked).both('a', '2026-11-26', 'as it is');
    expect(result).toEqual(['a', new Date('2026-11-26'), 'as it is']);
  });

  it('names the argument that is refused', async () => {
    await expect(nestApp.workflows.start(Checked).both('a', 'tomorrow')).rejects.toMatchObject({
      ...REFUSED,
      subject: 'argument 2 of Checked.both',
    });
  });

  it('that a workflow gives to another is refused there, the same on every run', async () => {
    const handle = await nestApp.workflows.start(Checked, { workflowId: 'parent' }).parent();
    checked.held.resolve();
    expect(await handle.result()).toEqual([
      'DBOS_VALIDATION',
      'DBOS_VALIDATION',
      'DBOS_VALIDATION',
    ]);
    const steps = await nestApp.workflows.steps('parent');
    expect(steps.map(({ name }) => name)).toEqual([
      'Checked.order',
      'workflows.send approval',
      'debounce Checked.order',
      'held',
    ]);
  });

  it('must have a schema where one is given', () => {
    const decorate = (): unknown => Workflow({ input: { type: 'object' } as never });
    class Wrong {
      async run(): Promise<void> {}
    }
    const mark = decorate() as MethodDecorator;
    const descriptor = Object.getOwnPropertyDescriptor(Wrong.prototype, 'run') ?? {};
    expect(() => mark(Wrong.prototype, 'run', descriptor)).toThrow('Standard Schema');
  });
});

describe('The output of a workflow', () => {
  it('is what the schema makes of it', async () => {
    expect(await nestApp.workflows.execute(Checked).order({ id: 'right' })).toEqual({ total: 7 });
  });

  it('that the schema refuses is a failure', async () => {
    const handle = await nestApp.workflows.start(Checked).order({ id: 'wrong' });
    await expect(handle.result()).rejects.toMatchObject({
      ...REFUSED,
      subject: 'result of Checked.order',
    });
    expect(await handle.status()).toMatchObject({ status: 'ERROR' });
  });
});

describe('A message with a schema', () => {
  it('is checked at the sender, and received as the schema makes it', async () => {
    const handle = await nestApp.workflows.start(Checked).receive();
    const before = await written();
    const wrong = { by: '', on: '2026-11-26' };
    await expect(
      nestApp.workflows.send(handle.workflowId, wrong, { topic: Approval }),
    ).rejects.toMatchObject({ ...REFUSED, subject: 'message on topic "approval"' });
    expect(await written()).toEqual(before);
    await nestApp.workflows.send(
      handle.workflowId,
      { by: 'Ada', on: '2026-11-26' },
      { topic: Approval },
    );
    expect(await handle.result()).toEqual({ by: 'Ada', on: new Date('2026-11-26') });
  });
});

describe('An event with a schema', () => {
  it('is checked where it is set', async () => {
    const refused = await nestApp.workflows.start(Checked).report(101);
    expect(await refused.result()).toBe('DBOS_VALIDATION percent');
    expect(await refused.getEvent(Progress)).toBeUndefined();
    const set = await nestApp.workflows.start(Checked).report(99);
    expect(await set.result()).toBe('set');
    expect(await set.getEvent(Progress)).toEqual({ percent: 99 });
  });
});

describe('An update with schemas', () => {
  it('is checked at the sender before anything is written, and its reply by the workflow', async () => {
    const handle = await nestApp.workflows.start(Checked).discount();
    const before = await written();
    await expect(handle.update(Discount, { percent: 51 })).rejects.toMatchObject(REFUSED);
    expect(await written()).toEqual(before);
    expect(await handle.update(Discount, { percent: 20 })).toEqual({ total: 80 });
    await expect(handle.update(Discount, { percent: 13 })).rejects.toMatchObject({
      ...REFUSED,
      subject: 'reply to update "discount"',
    });
    await handle.update(Discount, { percent: 0 });
    await handle.result();
  });
});

describe('What is no schema', () => {
  it.each([null, {}, { '~standard': {} }, 'string'])('like %j is refused', (schema) => {
    const reply = schema as never;
    expect(() => defineTopic('topic', reply)).toThrow('Standard Schema');
    expect(() => defineEvent('event', reply)).toThrow('Standard Schema');
    expect(() => defineUpdate('update', { payload: z.string(), reply })).toThrow('Standard Schema');
  });
});
