// A workflow of two steps that a test can hold, and the applications that run it; for tests of when things happen.
import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, type Provider } from '@nestjs/common';
import { CheckpointRepository, Step, Workflow, WorkflowContext } from 'nestjs-dbos';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import type { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { createTestDatabase, type TestDatabase } from './database.js';
import { createNestApp, openPrisma, type NestApp, type NestAppSettings } from './nest-app.js';
import { startTestApp } from './test-app.js';

/** What a shutdown may take without a database: grace, unwinding, 5 s for the hand-over, and a slow machine. */
export const BOUND_MS = 20_000;

/** What happened, in order, and the gates at which step bodies wait for the test. */
export class Journal {
  readonly entries: string[] = [];
  private readonly gates = new Map<string, ReturnType<typeof deferred<void>>>();

  private readonly awaited = new Map<string, ReturnType<typeof deferred<void>>>();

  note(entry: string): void {
    this.entries.push(entry);
    this.awaited.get(entry)?.resolve();
  }

  /** Resolves when the entry is there. */
  async until(entry: string): Promise<void> {
    if (this.entries.includes(entry)) return;
    const awaited = this.awaited.get(entry) ?? deferred<void>();
    this.awaited.set(entry, awaited);
    await awaited.promise;
  }

  /** Passes at once unless the test has shut the gate. */
  async pass(gate: string, signal?: AbortSignal): Promise<void> {
    const shut = this.gates.get(gate);
    if (!shut) return;
    const aborted = new Promise<never>((_resolve, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    });
    await (signal ? Promise.race([shut.promise, aborted]) : shut.promise);
  }

  shut(gate: string): void {
    this.gates.set(gate, deferred<void>());
  }

  open(gate: string): void {
    this.gates.get(gate)?.resolve();
    this.gates.delete(gate);
  }
}

@Injectable()
export class Errand {
  constructor(
    private readonly journal: Journal,
    private readonly flow: WorkflowContext,
  ) {}

  @Workflow()
  async run(): Promise<string> {
    await this.first();
    return this.second();
  }

  @Step()
  async first(): Promise<string> {
    this.journal.note('first begins');
    await this.journal.pass('first', this.flow.stepContext.signal);
    this.journal.note('first ends');
    return 'first';
  }

  @Step()
  async second(): Promise<string> {
    this.journal.note('second begins');
    await this.journal.pass('second', this.flow.stepContext.signal);
    return 'second';
  }

  /** Ends when it likes, whatever its signal says. */
  @Workflow()
  async stubborn(): Promise<string> {
    await this.deaf();
    return this.second();
  }

  @Step()
  async deaf(): Promise<void> {
    this.journal.note('deaf begins');
    await this.journal.pass('deaf');
    this.journal.note('deaf ends');
  }

  /** Begins a child only after its first step. */
  @Workflow()
  async parent(): Promise<string> {
    await this.first();
    return this.run();
  }
}

export interface ErrandApp extends NestApp {
  readonly journal: Journal;
}

/** Bodies of the steps above that have begun. */
export function begun({ entries }: Journal): string[] {
  return entries.filter((entry) => entry.endsWith('begins'));
}

/** Starts a workflow of `first` and `second`; it is in its first step now. */
export async function inFirstStep(
  { workflows, journal }: ErrandApp,
  workflowId: string,
): Promise<void> {
  journal.shut('first');
  await workflows.start(Errand, { workflowId }).run();
  await journal.until('first begins');
}

/** The applications of one spec file, on a database of its own. */
export class ErrandApps {
  private readonly opened: NestApp[] = [];

  private constructor(
    private readonly database: TestDatabase,
    /** Looks at the database from outside of every application. */
    readonly observer: PrismaClient,
  ) {}

  static async open(): Promise<ErrandApps> {
    const database = await createTestDatabase();
    return new ErrandApps(database, openPrisma(database.url));
  }

  get url(): string {
    return this.database.url;
  }

  /** Not yet initialised. */
  async create(
    settings: Partial<NestAppSettings> = {},
    journal = new Journal(),
  ): Promise<ErrandApp> {
    const nestApp = await createNestApp({
      url: this.url,
      ...settings,
      providers: [journalProvider(journal), Errand, ...(settings.providers ?? [])],
    });
    this.opened.push(nestApp);
    return { ...nestApp, journal };
  }

  async start(
    settings: Partial<NestAppSettings> = {},
    journal = new Journal(),
  ): Promise<ErrandApp> {
    const created = await this.create(settings, journal);
    await created.app.init();
    return created;
  }

  /** Leaves a workflow whose process died in the middle of its first step. */
  async abandon(workflowId: string): Promise<void> {
    const journal = new Journal();
    journal.shut('first');
    const dying = await startTestApp({
      url: this.url,
      providers: [journalProvider(journal), Errand],
    });
    await dying.workflows.start(Errand, { workflowId }).run();
    await journal.until('first begins');
    await dying.kill();
  }

  /**
   * Time enough for what must not happen to have happened: many times the round trips to the database that the engine needs
   * from its launch to the first step body, on this machine as it is just now.
   */
  async timeForMuch(): Promise<void> {
    for (let trips = 0; trips < 100; trips += 1) await this.observer.$queryRaw`SELECT 1 AS one`;
  }

  /** After each test, whatever state it has left them in: what is unfinished must not be taken up by the next. */
  async endAll(): Promise<void> {
    await Promise.all(this.opened.splice(0).map(end));
    await this.observer.$executeRaw`TRUNCATE dbos.workflows, dbos.steps, dbos.executors`;
  }

  async close(): Promise<void> {
    await this.observer.$disconnect();
    await this.database.drop();
  }
}

function journalProvider(journal: Journal): Provider {
  return { provide: Journal, useValue: journal };
}

async function end({ app, prisma }: NestApp): Promise<void> {
  const closing = app.close().catch(() => undefined);
  await Promise.race([closing, delay(BOUND_MS, undefined, { ref: false })]);
  await app.get(CheckpointRepository).close();
  await closing;
  await prisma.$disconnect();
}
