// Applications with queues on one database that hear of each other and poll too rarely for it to help them: what does
// not come by being told does not come at all.
import { Injectable, type Provider } from '@nestjs/common';
import {
  CheckpointRepository,
  DbosModule,
  Queue,
  Workflow,
  getQueueToken,
  type DbosModuleOptions,
  type QueueOptions,
} from 'nestjs-dbos';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { deferred, type Deferred } from '../../libs/dbos/src/core/deferred.js';
import type { PrismaClientLike } from '../../libs/dbos/src/prisma/prisma-client.js';
import { eventually } from './eventually.js';
import type { NestApp, NestApps } from './nest-app.js';
import { StatementGates } from './statement-gates.js';
import { PRISMA } from './test-app.js';

const GATED = 'GatedPrisma';

/** Parcels that are being packed, each until the test lets it go. */
@Injectable()
export class Bench {
  readonly open = new Map<string, Deferred<void>>();
  readonly packed: string[] = [];
  /** Whether parcels wait for the test. */
  holds = true;

  async pack(parcel: string): Promise<void> {
    this.packed.push(parcel);
    if (!this.holds) return;
    const release = deferred<void>();
    this.open.set(parcel, release);
    await release.promise;
    this.open.delete(parcel);
  }

  finish(parcel: string): void {
    this.open.get(parcel)?.resolve();
  }

  /** From now on and for all that are open. */
  letGo(): void {
    this.holds = false;
    for (const release of this.open.values()) release.resolve();
  }
}

@Injectable()
export class Packing {
  constructor(private readonly bench: Bench) {}

  @Workflow({ name: 'Packing' })
  async run(parcel: string): Promise<string> {
    await this.bench.pack(parcel);
    return `packed ${parcel}`;
  }
}

export interface QueueApp extends NestApp {
  readonly gates: StatementGates;
  readonly bench: Bench;
  queue(name: string): Queue;
}

export interface QueueAppSettings {
  readonly queues: readonly QueueOptions[];
  readonly options?: Partial<DbosModuleOptions>;
  readonly providers?: Provider[];
}

export async function startQueueApp(
  apps: NestApps,
  { queues, options, providers = [] }: QueueAppSettings,
): Promise<QueueApp> {
  const gates = new StatementGates();
  const gated: Provider = {
    provide: GATED,
    inject: [PRISMA],
    useFactory: (client: PrismaClientLike) => gates.wrap(client),
  };
  const nestApp = await apps.start([Bench, Packing, gated, ...providers], {
    after: queues.map((queue) => DbosModule.registerQueue(queue)),
    options: { prisma: GATED, sessionUrl: apps.url, pollIntervalMs: 60_000, ...options },
  });
  const queueApp = {
    ...nestApp,
    gates,
    bench: nestApp.app.get(Bench),
    queue: (name: string) => nestApp.app.get<Queue>(getQueueToken(name), { strict: false }),
  };
  await hasNothingToDo(queueApp);
  return queueApp;
}

/** Resolves once no claim is under way, the first one of the process included. */
export async function hasNothingToDo({ app }: QueueApp): Promise<void> {
  const { dispatcher } = app.get(Engine)['parts'];
  if (!app.get(Engine)['options'].runWorkflows) return;
  await eventually(() => {
    expect(dispatcher.lastTickAt).toBeDefined();
    expect(dispatcher['ticking']).toBeUndefined();
    expect(dispatcher['immediate']).toBeUndefined();
  });
}

/** Resolves once each of them knows that others listen. */
export async function knowEachOther(...queueApps: readonly QueueApp[]): Promise<void> {
  await eventually(() => {
    for (const { app } of queueApps) {
      expect(app.get(CheckpointRepository).notifier).toMatchObject({
        isListening: true,
        hasAudience: true,
      });
    }
  });
}
