/** The engine's log lines through Nest's `Logger`, with their fields as structured parameters. */
import { Logger as NestLogger } from '@nestjs/common';
import type { LogFields, Logger } from '../core/logger.js';

export class NestEngineLogger implements Logger {
  private readonly logger = new NestLogger('Dbos');

  debug(message: string, fields?: LogFields): void {
    this.logger.debug(message, ...params(fields));
  }

  log(message: string, fields?: LogFields): void {
    this.logger.log(message, ...params(fields));
  }

  warn(message: string, fields?: LogFields): void {
    this.logger.warn(message, ...params(fields));
  }

  error(message: string, fields?: LogFields): void {
    this.logger.error(message, ...params(fields));
  }
}

function params(fields: LogFields | undefined): LogFields[] {
  return fields ? [fields] : [];
}
