/** All that health knows, for those whom `endpoints.guard` lets in: `controllers: [DbosHealthDetailsController]`. */
import { Controller, Get, Header } from '@nestjs/common';
import { DbosHealth, type DbosReadiness } from './dbos-health.js';
import { Management } from './management.js';

@Management()
@Controller('dbos/health/details')
export class DbosHealthDetailsController {
  constructor(private readonly health: DbosHealth) {}

  /** 200 whether ready or not: it is for people, and for programs that read it. */
  @Get()
  @Header('Cache-Control', 'no-store')
  details(): Promise<DbosReadiness> {
    return this.health.readiness();
  }
}
