// Applications on one database whose workflows a test writes in place, and that can die in the middle of them.
import { randomUUID } from 'node:crypto';
import { Injectable, type Provider } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import {
  Workflow,
  WorkflowContext,
  WorkflowService,
  type QueueOptions,
  type WorkflowHandle,
} from 'nestjs-dbos';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import { defineQueue } from '../../libs/dbos/src/core/queue.js';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { createTestDatabase, type TestDatabase } from './database.js';
import { eventually } from './eventually.js';
import { startTestApp, type TestApp, type TestAppSettings } from './test-app.js';

/** What a script is given. */
export interface Stage {
  readonly flow: WorkflowContext;
  readonly workflows: WorkflowService;
  /** A step named `die`, in which the process of the first life ends; in later lives it does nothing. */
  readonly die: () => Promise<void>;
  /** The workflow's own method, as another provider would call it. */
  readonly run: () => Promise<unknown>;
  /** Starts a workflow of the same class: inside of a workflow, a child. */
  readonly start: (workflowId?: string) => Promise<WorkflowHandle>;
  /** A provider of the application it runs in. */
  readonly get: TestApp['get'];
}

/** The body of a workflow. */
export type Script<T = unknown> = (stage: Stage) => T | Promise<T>;

@Injectable()
export class Scripted {
  readonly scripts = new Map<string, Script>();
  readonly dying = deferred<void>();
  isFirstLife = false;

  constructor(
    private readonly flow: WorkflowContext,
    private readonly workflows: WorkflowService,
    private readonly container: ModuleRef,
  ) {}

  @Workflow({ name: 'Scripted' })
  async run(): Promise<unknown> {
    const { flow, workflows } = this;
    const script = this.scripts.get(flow.workflowId);
    if (!script) throw new Error(`There is no script for ${flow.workflowId}.`);
    const die = (): Promise<void> =>
      flow.step('die', ({ signal }) => (this.isFirstLife ? this.until(signal) : undefined));
    const start = (workflowId?: string): Promise<WorkflowHandle> =>
      workflows.start(Scripted, workflowId === undefined ? {} : { workflowId }).run();
    const get: TestApp['get'] = (type) => this.container.get(type, { strict: false });
    return script({ flow, workflows, die, run: () => this.run(), start, get });
  }

  /** The step's body has begun, so everything recorded before it is durable. */
  private until(signal: AbortSignal): Promise<void> {
    this.dying.resolve();
    return new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error));
    });
  }
}

export interface ScriptedApp extends TestApp {
  /** Starts a workflow with this body. */
  begin<T>(script: Script<T>, workflowId?: string): Promise<WorkflowHandle<T>>;
}

/** The second life of a workflow. */
export interface Relived<T> {
  readonly app: ScriptedApp;
  readonly handle: WorkflowHandle<T>;
}

export class ScriptedApps {
  private apps: ScriptedApp[] = [];

  constructor(private readonly settings: () => TestAppSettings) {}

  get url(): string {
    return this.settings().url;
  }

  /**
   * @param scripts bodies of workflows that are unfinished in the database, by their ids
   * @param options of this one, besides those of all
   */
  async start(
    scripts: Readonly<Record<string, Script>> = {},
    options: TestAppSettings['options'] = {},
  ): Promise<ScriptedApp> {
    const { providers = [], ...settings } = this.settings();
    const app = await startTestApp({
      ...settings,
      options: { ...settings.options, ...options },
      providers: [
        {
          provide: Scripted,
          inject: [WorkflowContext, WorkflowService, ModuleRef],
          useFactory: (...parts: ConstructorParameters<typeof Scripted>) => {
            const scripted = new Scripted(...parts);
            for (const [id, script] of Object.entries(scripts)) scripted.scripts.set(id, script);
            return scripted;
          },
        },
        ...providers,
      ],
    });
    const begin = async <T>(script: Script<T>, workflowId: string = randomUUID()) => {
      app.get(Scripted).scripts.set(workflowId, script);
      const handle = await app.workflows.start(Scripted, { workflowId }).run();
      return handle as WorkflowHandle<T>;
    };
    const scriptedApp = { ...app, begin };
    this.apps.push(scriptedApp);
    return scriptedApp;
  }

  /** Runs a script until it dies; returns the id of its unfinished workflow. */
  async runUntilDeath(script: Script, workflowId?: string): Promise<string> {
    const app = await this.start();
    const scripted = app.get(Scripted);
    scripted.isFirstLife = true;
    const handle = await app.begin(script, workflowId);
    await scripted.dying.promise;
    await app.kill();
    return handle.workflowId;
  }

  /** Runs a script until it dies, then again (or what its code has become) in a second application. */
  async relive<T>(first: Script<T>, second: Script<T> = first): Promise<Relived<T>> {
    const workflowId = await this.runUntilDeath(first);
    const app = await this.start({ [workflowId]: second });
    return { app, handle: app.workflows.handle<T>(workflowId) };
  }

  /** Closes what a test has started. */
  async close(): Promise<void> {
    await Promise.all(this.apps.splice(0).map((app) => app.close()));
  }
}

/** A provider that registers a queue, for applications without a module of their own. */
export function queueOf(options: QueueOptions): Provider {
  const register = (engine: Engine): void => engine.queueRegistry.register(defineQueue(options));
  return { provide: `queue ${options.name}`, inject: [Engine], useFactory: register };
}

/** Gives the tests of a file a database of their own, and closes what each of them has started. */
export function useScriptedApps(settings: Omit<TestAppSettings, 'url'> = {}): ScriptedApps {
  let database: TestDatabase;
  const apps = new ScriptedApps(() => ({ ...settings, url: database.url }));
  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterEach(() => apps.close());
  afterAll(() => database.drop());
  return apps;
}

/** The ids and names of the recorded steps, in order: `['0 charge', '1 ship']`. */
export async function recorded({ workflows }: TestApp, workflowId: string): Promise<string[]> {
  const steps = await workflows.steps(workflowId);
  return steps.map(({ stepId, name }) => `${stepId} ${name}`);
}

/** What `work` throws; fails when it throws nothing. */
export async function thrownBy(work: () => unknown): Promise<Error> {
  try {
    await work();
  } catch (error) {
    return error as Error;
  }
  throw new Error('An error was expected, and none was thrown.');
}

/** Waits until the workflow is suspended; returns why. */
export async function suspension(handle: WorkflowHandle): Promise<string> {
  const { error } = await eventually(async () => {
    const status = await handle.status();
    expect(status.status).toBe('SUSPENDED');
    return status;
  });
  return error ?? '';
}
