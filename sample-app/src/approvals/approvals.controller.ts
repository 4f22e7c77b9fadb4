/** Where the link in the mail leads. Looking decides nothing, for mail programs open links as well: a button does. */
import {
  Body,
  Controller,
  Get,
  GoneException,
  Header,
  HttpCode,
  HttpStatus,
  NotFoundException,
  Param,
  Post,
  StandardSchemaValidationPipe,
  UsePipes,
} from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { TokenExpiredError, TokenNotFoundError, WorkflowService } from 'nestjs-dbos';
import { z } from 'zod';
import { OrderIdSchema } from '../orders/order.js';

const DecisionSchema = z.object({ decision: z.enum(['approve', 'reject']) });

type Decision = z.infer<typeof DecisionSchema>['decision'];

@ApiTags('approvals')
@Controller('approvals/:orderId/:token')
@UsePipes(StandardSchemaValidationPipe)
export class ApprovalsController {
  constructor(private readonly workflows: WorkflowService) {}

  @Get()
  @Header('Content-Type', 'text/html; charset=utf-8')
  @Header('Referrer-Policy', 'no-referrer')
  @ApiOperation({ summary: 'The page behind the link that the manager gets for a large order' })
  page(@Param('orderId', { schema: OrderIdSchema }) orderId: string): string {
    return (
      `<!doctype html><title>Order ${orderId}</title><h1>Order ${orderId}</h1><form method="post">` +
      '<button name="decision" value="approve">Approve</button> ' +
      '<button name="decision" value="reject">Reject</button></form>'
    );
  }

  @Post()
  @HttpCode(HttpStatus.OK)
  @ApiOperation({ summary: 'Decide. The first decision counts; others are told so' })
  async decide(
    @Param('token') token: string,
    @Body({ schema: DecisionSchema }) { decision }: { decision: Decision },
  ): Promise<{ readonly decision: Decision; readonly counts: boolean }> {
    try {
      const deciding =
        decision === 'approve'
          ? this.workflows.resolveToken(token)
          : this.workflows.rejectToken(token, 'the manager said no');
      return { decision, counts: await deciding };
    } catch (error) {
      if (error instanceof TokenNotFoundError) throw new NotFoundException(error.message);
      if (error instanceof TokenExpiredError) throw new GoneException(error.message);
      throw error;
    }
  }
}
