/** The queue of the warehouses, to look at and to hold up. */
import { Controller, Get, HttpCode, HttpStatus, Post, UseGuards } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { InjectQueue, Queue, type QueueReport } from 'nestjs-dbos';
import { FOR_OPERATORS } from '../config/open-api.js';
import { OperatorGuard } from '../config/operator.guard.js';
import { FULFILMENT_QUEUE } from './fulfilment.queue.js';

@ApiTags('fulfilment')
@Controller('fulfilment')
export class FulfilmentController {
  constructor(@InjectQueue(FULFILMENT_QUEUE) private readonly queue: Queue) {}

  @Get()
  @ApiOperation({
    summary:
      'The limits, how many orders wait to be packed and since when, how many are packed now',
  })
  report(): Promise<QueueReport> {
    return this.queue.report();
  }

  @Post('pause')
  @UseGuards(OperatorGuard)
  @HttpCode(HttpStatus.OK)
  @ApiOperation({
    summary: 'Begin to pack no more orders; survives restarts',
    description: FOR_OPERATORS,
  })
  async pause(): Promise<QueueReport> {
    await this.queue.pause();
    return this.queue.report();
  }

  @Post('resume')
  @UseGuards(OperatorGuard)
  @HttpCode(HttpStatus.OK)
  @ApiOperation({ summary: 'Go on', description: FOR_OPERATORS })
  async resume(): Promise<QueueReport> {
    await this.queue.resume();
    return this.queue.report();
  }
}
