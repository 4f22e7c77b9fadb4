/** From an order that is paid to a parcel on its way. It is enqueued, and begins when its warehouse has a table free. */
import { Injectable } from '@nestjs/common';
import { Workflow, WorkflowContext } from 'nestjs-dbos';
import { ProgressService } from '../progress/progress.service.js';
import { ShippingService } from './shipping.service.js';

@Injectable()
export class FulfilmentWorkflow {
  constructor(
    private readonly shipping: ShippingService,
    private readonly flow: WorkflowContext,
    private readonly progress: ProgressService,
  ) {}

  /** @returns the tracking code */
  @Workflow()
  async run(orderId: string): Promise<string> {
    await this.progress.tell({ stage: 'packing' });
    // Chance belongs in a step: a replay after a crash then packs for as long as the first run has drawn.
    const packingMs = await this.flow.step('drawPackingTime', () => 500 + Math.random() * 1_000);
    await this.flow.sleep(packingMs);
    const trackingCode = await this.shipping.ship(orderId);
    await this.progress.tell({ stage: 'shipped', trackingCode });
    return trackingCode;
  }
}
