// A secret goes through everything that is stored, and turns up in nothing that is told: logs, spans, metrics, health.
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { inspect } from 'node:util';
import { jest } from '@jest/globals';
import { Injectable, Logger } from '@nestjs/common';
import {
  DbosHealth,
  DbosMetrics,
  DbosModule,
  Transaction,
  Workflow,
  WorkflowContext,
} from 'nestjs-dbos';
import { eventually } from '../support/eventually.js';
import { NestApps, type NestApp } from '../support/nest-app.js';
import { TestTelemetry } from '../support/open-telemetry.js';

const SECRET = 'canary-4111111111111111';
/** A part of it as well, but none so short that a time or an id has it by chance. */
const TRACE_OF_IT = /canary|1{8}/;
const LEVELS = ['fatal', 'error', 'warn', 'log', 'debug', 'verbose'] as const;
const CHANNELS = ['call.start', 'call.end', 'workflow.start', 'workflow.end', 'step.start', 'step.end', 'step.retry', 'step.replay', 'workflow.recovery'].map((name) => `nestjs-dbos:${name}`); // prettier-ignore

class Declined extends Error {
  override readonly name = 'Declined';
  readonly card = SECRET;
}

const declined = (): Declined => new Declined(`card ${SECRET}`, { cause: { card: SECRET } });

@Injectable()
class Confidential {
  constructor(private readonly flow: WorkflowContext) {}

  @Workflow()
  async good(order: { readonly card: string }): Promise<unknown> {
    const { flow } = this;
    await flow.step('charge', () => order.card);
    await flow.step('retried', () => Promise.reject(declined()), { maxRetries: 1, baseIntervalMs: 1 }).catch(() => 0); // prettier-ignore
    await this.write().catch(() => 0);
    await flow.setEvent('event', order.card);
    await flow.writeStream('stream', order);
    const token = await flow.createToken<string>();
    await flow.setEvent('token', token.token);
    return [await flow.recv('topic'), await token.wait()];
  }

  @Transaction({ maxRetries: 1 })
  async write(): Promise<void> {
    await Promise.reject(declined());
  }

  @Workflow()
  async bad(_card: string): Promise<void> {
    await this.flow.step('charge', () => {
      // eslint-disable-next-line @typescript-eslint/only-throw-error
      throw SECRET;
    });
  }

  @Workflow()
  async failing(card: string): Promise<void> {
    await this.flow.step('charge', () => Promise.reject(new Declined(card)));
  }

  @Workflow()
  async unstorable(card: string): Promise<unknown> {
    await this.flow.sleep(0);
    return { card, call: () => card };
  }
}

let apps: NestApps;
let telemetry: TestTelemetry;
let app: NestApp;
/** All that was told, and by whom. */
const told: Array<readonly [where: string, what: string]> = [];

beforeAll(async () => {
  telemetry = new TestTelemetry();
  for (const level of LEVELS) {
    jest.spyOn(Logger.prototype, level).mockImplementation((...line: unknown[]) => {
      told.push(['log', inspect(line, { depth: Infinity })]);
    });
  }
  for (const channel of CHANNELS) subscribe(channel, listen);
  apps = await NestApps.open();
  app = await apps.start([Confidential], {
    after: [
      DbosModule.registerQueue({ name: 'retried', retry: { maxRetries: 1, baseIntervalMs: 1 } }),
    ],
  });
  app.app.get(DbosMetrics).collect();
});
afterAll(async () => {
  for (const channel of CHANNELS) unsubscribe(channel, listen);
  await apps.endAll();
  await apps.close();
  await telemetry.disable();
});

/** The error of an event is the very object that was thrown; everything else is for all to see. */
function listen(message: unknown, channel: string | symbol): void {
  const event = { ...(message as object), error: undefined, step: undefined };
  told.push([String(channel), inspect(event, { depth: Infinity })]);
}

async function runEverything(): Promise<void> {
  const { workflows } = app;
  const attributes = { customer: SECRET };
  const handle = await workflows
    .start(Confidential, { workflowId: 'good', attributes })
    .good({ card: SECRET });
  const token = await workflows.getEvent<string>('good', 'token');
  await eventually(async () => {
    const { reason, sentence } = await workflows.explain('good');
    expect(reason.kind).toBe('waiting-for-message');
    told.push(['explain', sentence]);
  });
  await workflows.send('good', SECRET, { topic: 'topic' });
  await workflows.resolveToken(String(token), SECRET);
  expect(await handle.result()).toEqual([SECRET, SECRET]);
  told.push(['explain', (await workflows.explain('good')).sentence]);
  for (const method of ['bad', 'failing', 'unstorable'] as const) {
    const failed = await workflows.enqueue(Confidential, { queue: 'retried' })[method](SECRET);
    await expect(failed.result()).rejects.toBeDefined();
  }
  const refused = workflows.start(Confidential).good({ card: SECRET, call: () => 1 } as never);
  await refused.catch((error: Error) => told.push(['refusal', error.message]));
  told.push(['health', inspect(await app.app.get(DbosHealth).readiness(), { depth: Infinity })]);
  told.push(['metrics', await app.app.get(DbosMetrics).prometheus()]);
}

it('Nothing tells a secret that is stored, but what is asked for it', async () => {
  await runEverything();
  await telemetry.ended('workflow Confidential.unstorable', 2);
  for (const { name, attributes, status, events } of telemetry.spans)
    told.push(['span', inspect({ name, attributes, status, events }, { depth: Infinity })]);

  expect(told.filter(([, what]) => TRACE_OF_IT.test(what))).toEqual([]);
  const places = new Set(told.map(([where]) => where));
  const all = [...CHANNELS.slice(0, 7), 'log', 'explain', 'refusal', 'health', 'metrics', 'span'];
  expect(all.filter((place) => !places.has(place))).toEqual([]);
});

it('What was recorded is complete', async () => {
  const failed = await app.workflows.enqueue(Confidential, { queue: 'retried' }).failing(SECRET);
  await expect(failed.result()).rejects.toMatchObject({ message: SECRET, card: SECRET });
  expect((await app.workflows.explain(failed.workflowId)).sentence).toContain(SECRET);
});
