// What child processes do with queues, and the workflow they put on them: its bodies enter the ledger when they begin
// and when they end, each by the database's clock.
import { setTimeout as delay } from 'node:timers/promises';
import { Inject, Injectable } from '@nestjs/common';
import { Step, Workflow, WorkflowContext } from 'nestjs-dbos';
import type { Engine } from '../../libs/dbos/src/engine/engine.js';
import type { QueueCall } from './child-protocol.js';
import { Ledger } from './ledger.js';
import { StoppingPoints } from './stopping-points.js';

/** What there is to do with a parcel. */
export interface Parcel {
  readonly label: string;
  /** How long each of its bodies takes. */
  readonly ms: number;
  /** Between two bodies the workflow sleeps this long. Default: there is one body. */
  readonly sleepMs?: number;
  /** Whatever makes it large. */
  readonly text?: string;
}

@Injectable()
export class Parcels {
  constructor(
    @Inject(Ledger) private readonly ledger: Ledger,
    private readonly points: StoppingPoints,
    private readonly flow: WorkflowContext,
  ) {}

  @Workflow({ name: 'Parcels' })
  async pack(parcel: Parcel): Promise<string> {
    await this.wrap(parcel);
    if (parcel.sleepMs !== undefined) {
      await this.flow.sleep(parcel.sleepMs);
      await this.wrap(parcel);
    }
    return `packed ${parcel.label}`;
  }

  /** Stops at `packing <label>` if it is told to. */
  @Step()
  async wrap({ label, ms }: Parcel): Promise<void> {
    const { workflowId } = this.flow;
    const { signal } = this.flow.stepContext;
    await this.ledger.enter(workflowId, 'begins');
    try {
      await this.points.pass(`packing ${label}`);
      await delay(ms, undefined, { signal });
    } finally {
      await this.ledger.enter(workflowId, 'ends');
    }
  }
}

export async function carryOutOnQueue({ queues }: Engine, call: QueueCall): Promise<unknown> {
  switch (call.what) {
    case 'enqueue': {
      const { args, ...options } = call.item;
      return queues.enqueue(call.queue, call.name, args, options);
    }
    case 'enqueueMany':
      return queues.enqueueMany(call.queue, call.name, call.items);
    case 'configure':
      return queues.configure(call.queue, call.limits);
    case 'pause':
      return queues.pause(call.queue);
    case 'resume':
      return queues.resume(call.queue);
    case 'setPriority':
      return queues.setPriority(call.workflowIds, call.priority);
    default:
      return call satisfies never;
  }
}
