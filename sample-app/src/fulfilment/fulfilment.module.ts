import { Module } from '@nestjs/common';
import { ProgressModule } from '../progress/progress.module.js';
import { FulfilmentController } from './fulfilment.controller.js';
import { FulfilmentQueue } from './fulfilment.queue.js';
import { FulfilmentWorkflow } from './fulfilment.workflow.js';
import { ShippingService } from './shipping.service.js';

@Module({
  imports: [FulfilmentQueue, ProgressModule],
  controllers: [FulfilmentController],
  providers: [FulfilmentWorkflow, ShippingService],
  exports: [FulfilmentQueue],
})
export class FulfilmentModule {}
