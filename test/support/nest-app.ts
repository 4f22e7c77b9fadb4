// A Nest application whose root module a test lays out itself: what is imported before and after DbosModule, and hooks.
import {
  Module,
  type DynamicModule,
  type INestApplication,
  type ModuleMetadata,
  type Provider,
  type Type,
} from '@nestjs/common';
import type { AbstractHttpAdapter } from '@nestjs/core';
import { Test, type TestingModuleBuilder } from '@nestjs/testing';
import { PrismaPg } from '@prisma/adapter-pg';
import {
  DbosModule,
  WorkflowService,
  type DbosModuleOptions,
  type WorkflowHandle,
} from 'nestjs-dbos';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { createTestDatabase, type TestDatabase } from './database.js';
import { SwitchableClient } from './switchable-client.js';
import { PRISMA } from './test-app.js';

export interface NestAppSettings {
  readonly url: string;
  readonly before?: ModuleMetadata['imports'];
  readonly after?: ModuleMetadata['imports'];
  readonly providers?: Provider[];
  readonly controllers?: Type[];
  readonly options?: Partial<DbosModuleOptions>;
  /** In place of `DbosModule.forRoot` with test settings. */
  readonly dbos?: DynamicModule[];
  readonly adapter?: AbstractHttpAdapter;
  readonly override?: (testing: TestingModuleBuilder) => TestingModuleBuilder;
}

export interface NestApp {
  readonly app: INestApplication;
  readonly workflows: WorkflowService;
  readonly prisma: PrismaClient;
  readonly database: SwitchableClient;
  /** Closes the application, then the client it was given. */
  close(): Promise<void>;
}

/** Short pauses, so that tests need not wait; a session of its own only where a test asks for one. */
export const QUICK = {
  sessionUrl: false,
  pollIntervalMs: 20,
  shutdown: { graceMs: 200 },
  applicationVersion: 'test', // of all deployments in a test, unless it is about versions
} as const;

export function openPrisma(url: string, max = 5): PrismaClient {
  return new PrismaClient({ adapter: new PrismaPg({ connectionString: url, max }) });
}

/** Not yet initialised: no hook has been called. */
export async function createNestApp({ override, adapter, ...settings }: NestAppSettings) {
  const { url, before = [], after = [], providers = [], controllers = [], options } = settings;
  const prisma = openPrisma(url);
  const database = new SwitchableClient(prisma);
  const dbos = settings.dbos ?? [DbosModule.forRoot({ prisma: PRISMA, ...QUICK, ...options })];
  @Module({
    imports: [...before, ...dbos, ...after],
    providers: [{ provide: PRISMA, useValue: database.client }, ...providers],
    controllers,
  })
  class RootModule {}
  try {
    const builder = Test.createTestingModule({ imports: [RootModule] });
    const testing = await (override?.(builder) ?? builder).compile();
    const logger: false | ['log', 'warn', 'error'] = process.env['TEST_LOG']
      ? ['log', 'warn', 'error']
      : false;
    const app = adapter
      ? testing.createNestApplication(adapter, { logger })
      : testing.createNestApplication({ logger });
    const close = async (): Promise<void> => {
      await app.close();
      await prisma.$disconnect();
    };
    const workflows = app.get(WorkflowService, { strict: false });
    return { app, workflows, prisma, database, close } satisfies NestApp;
  } catch (error) {
    await prisma.$disconnect();
    throw error;
  }
}

export async function startNestApp(settings: NestAppSettings): Promise<NestApp> {
  const nestApp = await createNestApp(settings);
  try {
    await nestApp.app.init();
  } catch (error) {
    await nestApp.close();
    throw error;
  }
  return nestApp;
}

/** The applications of one spec file, on a database of its own. */
export class NestApps {
  private readonly opened: NestApp[] = [];

  private constructor(private readonly database: TestDatabase) {}

  static async open(): Promise<NestApps> {
    return new NestApps(await createTestDatabase());
  }

  get url(): string {
    return this.database.url;
  }

  /** Not yet initialised. */
  async create(settings: Partial<NestAppSettings>): Promise<NestApp> {
    const nestApp = await createNestApp({ url: this.url, ...settings });
    this.opened.push(nestApp);
    return nestApp;
  }

  async start(providers: Provider[], settings: Partial<NestAppSettings> = {}): Promise<NestApp> {
    const nestApp = await this.create({ ...settings, providers });
    await nestApp.app.init();
    return nestApp;
  }

  /** After each test. */
  async endAll(): Promise<void> {
    for (const nestApp of this.opened.splice(0)) await nestApp.close();
  }

  async close(): Promise<void> {
    await this.database.drop();
  }
}

/** Names of the steps that a workflow has recorded. */
export async function stepNames({ workflows }: NestApp, workflowId: string): Promise<string[]> {
  return (await workflows.steps(workflowId)).map(({ name }) => name);
}

/** Runs the workflow `run` of a class to its end and returns the names of its steps. */
export async function recordedBy<T extends { run(): Promise<unknown> }>(
  nestApp: NestApp,
  type: Type<T>,
): Promise<string[]> {
  const starting = nestApp.workflows.start(type) as unknown as {
    run(): Promise<WorkflowHandle>;
  };
  const handle = await starting.run();
  await handle.result();
  return stepNames(nestApp, handle.workflowId);
}
