import { Module } from '@nestjs/common';
import { FulfilmentController } from './fulfilment.controller.js';
import { FulfilmentQueue } from './fulfilment.queue.js';
import { FulfilmentWorkflow } from './fulfilment.workflow.js';
import { ShippingService } from './shipping.service.js';

@Module({
  imports: [FulfilmentQueue],
  controllers: [FulfilmentController],
  providers: [FulfilmentWorkflow, ShippingService],
  exports: [FulfilmentQueue],
})
export class FulfilmentModule {}
