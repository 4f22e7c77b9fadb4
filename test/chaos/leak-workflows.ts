// The traffic in which leaks are looked for: everything that a workflow can do, in small.
import { Injectable } from '@nestjs/common';
import {
  Scheduled,
  Step,
  Transaction,
  Workflow,
  WorkflowContext,
  WorkflowService,
} from 'nestjs-dbos';
import type { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';

/** The values are long enough to be missed when they are kept. */
const PAYLOAD = 'x'.repeat(200);

@Injectable()
export class Traffic {
  constructor(
    private readonly flow: WorkflowContext,
    private readonly workflows: WorkflowService,
  ) {}

  /** Steps, a transaction, a nap, an event, a stream and a child. */
  @Workflow({ name: 'Traffic.everything' })
  async everything(n: number): Promise<number> {
    await this.work(n);
    await this.flow.setEvent('progress', { n, PAYLOAD });
    await this.book(n);
    await this.flow.sleep(1);
    await this.flow.writeStream('log', PAYLOAD);
    await this.flow.writeStream('log', n);
    await this.flow.closeStream('log');
    return this.workflows.execute(Traffic).child(n);
  }

  @Workflow({ name: 'Traffic.child' })
  child(n: number): Promise<number> {
    return this.work(n);
  }

  @Workflow({ name: 'Traffic.branches' })
  async branches(n: number): Promise<number[]> {
    await this.flow.race([() => this.flow.sleep(20), () => this.flow.sleep(1)]);
    return this.flow.map([n, n + 1, n + 2], (one) => this.work(one));
  }

  @Workflow({ name: 'Traffic.failing' })
  async failing(n: number): Promise<never> {
    await this.work(n);
    throw new Error(`as told: ${PAYLOAD}`);
  }

  /** Leaves memory while it waits. */
  @Workflow({ name: 'Traffic.waiting' })
  async waiting(): Promise<string | undefined> {
    return this.flow.recv<string>('letter', { timeout: '10m' });
  }

  @Workflow({ name: 'Traffic.parked' })
  async parked(n: number): Promise<number> {
    await this.flow.sleep(300);
    return this.work(n);
  }

  @Step({ maxRetries: 1, baseIntervalMs: 1 })
  async work(n: number): Promise<number> {
    if (n % 10 === 3 && this.flow.stepContext.attempt === 1) throw new Error(PAYLOAD);
    await new Promise((resolve) => setImmediate(resolve));
    return n;
  }

  @Transaction()
  async book(n: number): Promise<void> {
    const client = this.flow.prisma<PrismaClient>();
    await client.$executeRaw`UPDATE public.leak_books SET sold = sold + ${n % 2}::integer WHERE id = ${n % 16}::integer`;
  }
}

@Injectable()
export class EverySecond {
  @Workflow({ name: 'EverySecond' })
  @Scheduled('* * * * * *', { name: 'second' })
  async run(tick: Date): Promise<string> {
    return tick.toISOString();
  }
}
