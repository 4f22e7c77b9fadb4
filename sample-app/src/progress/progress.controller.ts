/** How far an order is, live: for programs as server-sent events, for people as a page that shows them. */
import {
  Controller,
  Get,
  Header,
  NotFoundException,
  Param,
  Sse,
  StandardSchemaValidationPipe,
  UsePipes,
  type MessageEvent,
} from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { EngineNotRunningError, WorkflowNotFoundError, WorkflowService } from 'nestjs-dbos';
import { catchError, EMPTY, endWith, map, type Observable } from 'rxjs';
import { OrderIdSchema } from '../orders/order.js';
import { CONTENT_SECURITY_POLICY, orderPage } from './order-page.js';
import { ProgressService } from './progress.service.js';

@ApiTags('orders')
@Controller('orders')
@UsePipes(StandardSchemaValidationPipe)
export class ProgressController {
  constructor(
    private readonly progress: ProgressService,
    private readonly workflows: WorkflowService,
  ) {}

  /** A browser would connect again after the end of a stream: so it is told of it. */
  @Sse(':id/progress')
  @ApiOperation({ summary: 'How far an order is, live, from the beginning: server-sent events' })
  async follow(
    @Param('id', { schema: OrderIdSchema }) id: string,
  ): Promise<Observable<MessageEvent>> {
    await this.assertPlaced(id);
    return this.progress.of(id).pipe(
      map((data): MessageEvent => ({ data })),
      endWith({ type: 'end', data: 'The order has ended.' }),
      catchError(hangUp),
    );
  }

  @Get(':id/page')
  @Header('Content-Type', 'text/html; charset=utf-8')
  @Header('Content-Security-Policy', CONTENT_SECURITY_POLICY)
  @ApiOperation({ summary: 'A page that shows an order live' })
  async show(@Param('id', { schema: OrderIdSchema }) id: string): Promise<string> {
    await this.assertPlaced(id);
    return orderPage(id);
  }

  private async assertPlaced(id: string): Promise<void> {
    try {
      await this.workflows.handle(id).status();
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
      throw new NotFoundException(`There is no order "${id}".`);
    }
  }
}

/** When the shop closes: a browser that was told of no end asks again, and goes on where another process answers. */
function hangUp(error: unknown): Observable<never> {
  if (error instanceof EngineNotRunningError) return EMPTY;
  throw error;
}
