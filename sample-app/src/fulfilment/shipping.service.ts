/** Hands parcels to the carrier. */
import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Step, WorkflowContext } from 'nestjs-dbos';
import { DATABASE_STEP } from '../prisma/database-step.js';
import { PrismaService } from '../prisma/prisma.service.js';

@Injectable()
export class ShippingService {
  constructor(
    private readonly prisma: PrismaService,
    private readonly flow: WorkflowContext,
  ) {}

  /** The code is derived from the step's key instead of drawn: a second run writes the same one. */
  @Step(DATABASE_STEP)
  async ship(orderId: string): Promise<string> {
    const digest = createHash('sha256').update(this.flow.stepContext.idempotencyKey).digest('hex');
    const trackingCode = `TEA-${digest.slice(0, 10).toUpperCase()}`;
    await this.prisma.order.update({
      where: { id: orderId },
      data: { status: 'SHIPPED', trackingCode },
    });
    return trackingCode;
  }
}
