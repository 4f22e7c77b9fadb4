/** Where the link in the mail leads. Looking decides nothing, for mail programs open links as well: a button does. */
import {
  Body,
  Controller,
  Get,
  GoneException,
  Header,
  Headers,
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
import {
  DECISIONS,
  answerPage,
  questionPage,
  type Answer,
  type Decision,
} from './approval-pages.js';
import { OrderIdSchema } from '../orders/order.js';

const DecisionSchema = z.object({ decision: z.enum(DECISIONS) });

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
    return questionPage(orderId);
  }

  @Post()
  @HttpCode(HttpStatus.OK)
  @ApiOperation({ summary: 'Decide. The first decision counts; others are told so' })
  async decide(
    @Param('orderId', { schema: OrderIdSchema }) orderId: string,
    @Param('token') token: string,
    @Body({ schema: DecisionSchema }) { decision }: { decision: Decision },
    @Headers('accept') accepted = '',
  ): Promise<Answer | string> {
    const answer = { decision, counts: await this.counts(decision, token) };
    return accepted.includes('text/html') ? answerPage(orderId, answer) : answer;
  }

  private async counts(decision: Decision, token: string): Promise<boolean> {
    try {
      return await (decision === 'approve'
        ? this.workflows.resolveToken(token)
        : this.workflows.rejectToken(token, 'the manager said no'));
    } catch (error) {
      if (error instanceof TokenNotFoundError) throw new NotFoundException(error.message);
      if (error instanceof TokenExpiredError) throw new GoneException(error.message);
      throw error;
    }
  }
}
