// The work of the application under fire. Every body marks the ledger as the first and the last thing that it does.
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
import { MarkFile } from './marks.js';

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** How a body of a queue is told from others. */
export interface Place {
  readonly queue?: string;
  readonly partition?: string;
}

@Injectable()
export class Bodies {
  constructor(
    private readonly marks: MarkFile,
    private readonly flow: WorkflowContext,
  ) {}

  @Step()
  async work(step: number, ms: number, place: Place = {}): Promise<number> {
    const workflow = this.flow.workflowId;
    this.marks.add({ kind: 'begin', workflow, step, ...place });
    await pause(ms);
    this.marks.add({ kind: 'end', workflow, step, ...place });
    return step;
  }

  /** The table has no key that would keep a second row out. */
  @Transaction()
  async book(step: number): Promise<number> {
    const workflow = this.flow.workflowId;
    this.marks.add({ kind: 'begin', workflow, step });
    await this.flow.prisma<PrismaClient>().$executeRaw`
      INSERT INTO public.chaos_rows (workflow, step) VALUES (${workflow}, ${step}::integer)`;
    this.marks.add({ kind: 'end', workflow, step });
    return step;
  }
}

/** Steps, transactions and a durable sleep (none of 0 ms), one after the other. */
@Injectable()
export class Chain {
  constructor(
    private readonly bodies: Bodies,
    private readonly flow: WorkflowContext,
  ) {}

  @Workflow({ name: 'Chain' })
  async run(steps: number, ms: number, napMs = ms): Promise<number> {
    let sum = 0;
    for (let step = 0; step < steps; step += 1) {
      if (step === 1 && napMs > 0) await this.flow.sleep(napMs);
      sum += await (step % 3 === 2 ? this.bodies.book(step) : this.bodies.work(step, ms));
    }
    return sum;
  }
}

@Injectable()
export class Job {
  constructor(private readonly bodies: Bodies) {}

  @Workflow({ name: 'Job' })
  async run(ms: number, place: Place): Promise<string> {
    await this.bodies.work(0, ms, place);
    return `${place.queue} ${place.partition ?? ''}`;
  }
}

@Injectable()
export class Sender {
  constructor(private readonly workflows: WorkflowService) {}

  @Workflow({ name: 'Sender' })
  async run(to: string, count: number): Promise<number> {
    for (let value = 0; value < count; value += 1)
      await this.workflows.send(to, value, { topic: 'inside' });
    return count;
  }
}

/** What comes from a workflow, then what comes from outside. */
@Injectable()
export class Receiver {
  constructor(
    private readonly bodies: Bodies,
    private readonly flow: WorkflowContext,
  ) {}

  @Workflow({ name: 'Receiver' })
  async run(inside: number, outside: number): Promise<string> {
    const values: number[] = [];
    for (let index = 0; index < inside + outside; index += 1) {
      values.push(await this.flow.recv<number>(index < inside ? 'inside' : 'outside'));
      await this.bodies.work(index, 1);
    }
    return values.join(' ');
  }
}

/** Takes its process with it, each time. */
@Injectable()
export class Poison {
  constructor(private readonly bodies: Bodies) {}

  @Workflow({ name: 'Poison', maxRecoveryAttempts: 2 })
  async run(): Promise<void> {
    await this.bodies.work(0, 1);
    process.kill(process.pid, 'SIGKILL');
  }
}

/** Started under one id with many inputs: one of them counts. */
@Injectable()
export class Once {
  constructor(private readonly bodies: Bodies) {}

  @Workflow({ name: 'Once' })
  async run(input: number): Promise<number> {
    await this.bodies.work(input, 5);
    return input;
  }
}

export type ReleaseClass = new (
  bodies: Bodies,
  flow: WorkflowContext,
) => {
  run(ms: number): Promise<string>;
};

/** The code that came with a version: its workflow has a step more than that of the version before. */
export function releaseOf(version: number): ReleaseClass {
  @Injectable()
  class Release {
    constructor(
      private readonly bodies: Bodies,
      private readonly flow: WorkflowContext,
    ) {}

    @Workflow({ name: `Release${version}` })
    async run(ms: number): Promise<string> {
      await this.bodies.work(0, ms);
      await this.bodies.book(1);
      for (let step = 2; step < 2 + version; step += 1) {
        await this.flow.sleep(ms);
        await this.bodies.work(step, ms);
      }
      return `version ${version}`;
    }
  }
  return Release;
}

@Injectable()
export class Ticking {
  constructor(private readonly bodies: Bodies) {}

  @Workflow({ name: 'Ticking' })
  @Scheduled('* * * * * *', { name: 'tick', backfill: 'all' })
  async run(tick: Date): Promise<string> {
    await this.bodies.work(0, 1);
    return tick.toISOString();
  }
}
