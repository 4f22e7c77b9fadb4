/**
 * Endpoints for whoever holds a token, for applications that mount them: `controllers: [DbosTokensController]`. The token
 * is all they ask for; put a guard of your own before them where it should not be enough.
 */
import {
  BadRequestException,
  Body,
  Controller,
  GoneException,
  Header,
  HttpCode,
  HttpStatus,
  NotFoundException,
  Param,
  Post,
} from '@nestjs/common';
import { TokenExpiredError, TokenNotFoundError } from '../core/message-errors.js';
import {
  UnserializableValueError,
  ValueTooLargeError,
} from '../core/serialization/serialization-error.js';
import { WorkflowService } from './workflow.service.js';

/** Whether this request decided; false when another did before. */
export interface TokenDecision {
  readonly decided: boolean;
}

@Controller('dbos/tokens')
export class DbosTokensController {
  constructor(private readonly workflows: WorkflowService) {}

  /** 404 for a token that nobody was given, 410 for one that has expired, 400 for a value that cannot be kept. */
  @Post(':token/resolve')
  @HttpCode(HttpStatus.OK)
  @Header('Cache-Control', 'no-store')
  resolve(@Param('token') token: string, @Body('value') value?: unknown): Promise<TokenDecision> {
    return answered(this.workflows.resolveToken(token, value));
  }

  @Post(':token/reject')
  @HttpCode(HttpStatus.OK)
  @Header('Cache-Control', 'no-store')
  reject(@Param('token') token: string, @Body('reason') reason?: unknown): Promise<TokenDecision> {
    return answered(
      this.workflows.rejectToken(token, typeof reason === 'string' ? reason : undefined),
    );
  }
}

async function answered(decision: Promise<boolean>): Promise<TokenDecision> {
  try {
    return { decided: await decision };
  } catch (error) {
    if (error instanceof TokenNotFoundError) throw new NotFoundException(error.message);
    if (error instanceof TokenExpiredError) throw new GoneException(error.message);
    if (error instanceof UnserializableValueError || error instanceof ValueTooLargeError)
      throw new BadRequestException(error.message);
    throw error;
  }
}
