// The workflows that child processes run. Each body enters itself in the ledger, outside of everything the library
// knows; each place of interest is a stopping point.
import { Inject, Injectable } from '@nestjs/common';
import { Step, Transaction, Workflow, WorkflowContext, WorkflowService } from 'nestjs-dbos';
import type { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { Ledger } from './ledger.js';
import { Traces } from './random-program.js';
import { StoppingPoints } from './stopping-points.js';

@Injectable()
export class Bodies {
  constructor(
    @Inject(Ledger) private readonly ledger: Ledger,
    private readonly points: StoppingPoints,
    private readonly flow: WorkflowContext,
  ) {}

  /** A body that stops at `step <n> begun`, before the outside world knows of it, and at `step <n> done`, after. */
  @Step()
  async numbered(index: number): Promise<string> {
    await this.points.pass(`step ${index} begun`);
    await this.ledger.enter(this.flow.workflowId, `step ${index}`);
    await this.points.pass(`step ${index} done`);
    return `result ${index}`;
  }

  /** Takes a while, and stops at `tick <n> begun`, once the outside world knows of it. */
  @Step()
  async timed(index: number, ms: number): Promise<number> {
    await this.ledger.enter(this.flow.workflowId, `tick ${index}`);
    await this.points.pass(`tick ${index} begun`);
    await new Promise((resolve) => setTimeout(resolve, ms));
    return index;
  }
}

@Injectable()
export class FiveSteps {
  constructor(private readonly bodies: Bodies) {}

  @Workflow({ name: 'FiveSteps' })
  async run(): Promise<string> {
    const results: string[] = [];
    for (let index = 0; index < 5; index += 1) results.push(await this.bodies.numbered(index));
    return results.join(', ');
  }
}

/** Many steps in a row, each of them taking a while. */
@Injectable()
export class Ticking {
  constructor(private readonly bodies: Bodies) {}

  @Workflow({ name: 'Ticking' })
  async run(count: number, ms: number): Promise<number> {
    let sum = 0;
    for (let index = 0; index < count; index += 1) sum += await this.bodies.timed(index, ms);
    return sum;
  }
}

/** Writes to a stream, from the workflow and from steps; stops at `write <n>` before each value. */
@Injectable()
export class Streaming {
  constructor(
    private readonly flow: WorkflowContext,
    private readonly points: StoppingPoints,
    @Inject(Ledger) private readonly ledger: Ledger,
  ) {}

  @Workflow({ name: 'Streaming' })
  async run(count: number, { closes } = { closes: true }): Promise<number> {
    for (let index = 0; index < count; index += 1) {
      await this.points.pass(`write ${index}`);
      await this.flow.writeStream('progress', `value ${index}`);
    }
    await this.noted();
    if (closes) await this.flow.closeStream('progress');
    return count;
  }

  @Step()
  async noted(): Promise<void> {
    await this.ledger.enter(this.flow.workflowId, 'noted');
    await this.flow.writeStream('progress', 'noted');
    await this.points.pass('noted');
  }
}

/** Sleeps, and does something then that the outside world sees. */
@Injectable()
export class Sleeping {
  constructor(
    private readonly bodies: Bodies,
    private readonly flow: WorkflowContext,
  ) {}

  @Workflow({ name: 'Sleeping' })
  async run(ms: number): Promise<string> {
    await this.flow.sleep(ms);
    return this.bodies.numbered(0);
  }
}

/** Sends numbers, one after the other. */
@Injectable()
export class Sending {
  constructor(private readonly workflows: WorkflowService) {}

  @Workflow({ name: 'Sending' })
  async run(to: string, count: number): Promise<void> {
    for (let number = 0; number < count; number += 1)
      await this.workflows.send(to, number, { topic: 'numbers' });
  }
}

/** Receives numbers, and does something with each that the outside world sees. */
@Injectable()
export class Receiving {
  constructor(
    @Inject(Ledger) private readonly ledger: Ledger,
    private readonly flow: WorkflowContext,
  ) {}

  @Workflow({ name: 'Receiving' })
  async run(count: number): Promise<number[]> {
    const numbers: number[] = [];
    for (let index = 0; index < count; index += 1) {
      const number = await this.flow.recv<number>('numbers');
      await this.flow.step('use', () =>
        this.ledger.enter(this.flow.workflowId, `number ${number}`),
      );
      numbers.push(number);
    }
    return numbers;
  }
}

/** Sells one after the other, each sale a row of its own, between steps. */
@Injectable()
export class Selling {
  constructor(
    @Inject(Ledger) private readonly ledger: Ledger,
    private readonly flow: WorkflowContext,
  ) {}

  @Workflow({ name: 'Selling' })
  async run(count: number): Promise<number> {
    let sold = 0;
    for (let position = 0; position < count; position += 1) {
      await this.flow.step('before', () => position);
      sold += await this.sell(position);
    }
    return sold;
  }

  /** The row has no key that would keep a second one out. */
  @Transaction()
  async sell(position: number): Promise<number> {
    await this.ledger.enter(this.flow.workflowId, `sale ${position}`);
    return this.flow.prisma<PrismaClient>().$executeRaw`
      INSERT INTO public.sales (workflow_id, position) VALUES (${this.flow.workflowId}, ${position}::integer)`;
  }
}

/** Makes one deal, and tells which process has made it. */
@Injectable()
export class Dealing {
  constructor(
    @Inject(Ledger) private readonly ledger: Ledger,
    private readonly points: StoppingPoints,
    private readonly flow: WorkflowContext,
  ) {}

  @Workflow({ name: 'Dealing' })
  async run(): Promise<number> {
    return this.deal();
  }

  /** Stops at `deal made` before its commit, once the outside world knows of it. Nothing keeps a second row out. */
  @Transaction({ timeoutMs: 60_000 })
  async deal(): Promise<number> {
    const { flow, ledger, points } = this;
    await flow.prisma<PrismaClient>().$executeRaw`
      INSERT INTO public.deals (workflow_id, pid) VALUES (${flow.workflowId}, ${process.pid}::integer)`;
    await ledger.enter(flow.workflowId, 'deal');
    await points.pass('deal made');
    return process.pid;
  }
}

/** Random programs of child processes leave word where their death does not reach. */
@Injectable()
export class LedgerTraces extends Traces {
  constructor(@Inject(Ledger) private readonly ledger: Ledger) {
    super();
  }

  async leave(workflowId: string, place: string): Promise<void> {
    await this.ledger.enter(workflowId, place);
  }
}
