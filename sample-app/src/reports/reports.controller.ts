/** What was sold, day by day. */
import { Controller, Get, HttpCode, HttpStatus, Post, UseGuards } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { ScheduleService } from 'nestjs-dbos';
import { FOR_OPERATORS } from '../config/open-api.js';
import { OperatorGuard } from '../config/operator.guard.js';
import { DailyReports, type DayReport } from './daily-reports.service.js';
import { NIGHTLY_REPORT } from './nightly-report.workflow.js';

@ApiTags('reports')
@Controller('reports')
export class ReportsController {
  constructor(
    private readonly reports: DailyReports,
    private readonly schedules: ScheduleService,
  ) {}

  @Get()
  @ApiOperation({ summary: 'The newest daily reports' })
  list(): Promise<DayReport[]> {
    return this.reports.newest();
  }

  @Post('nightly')
  @UseGuards(OperatorGuard)
  @HttpCode(HttpStatus.OK)
  @ApiOperation({
    summary: 'Write the report of yesterday now, as it is written every night',
    description: FOR_OPERATORS,
  })
  async report(): Promise<DayReport> {
    const handle = await this.schedules.trigger<DayReport>(NIGHTLY_REPORT);
    return handle.result({ timeout: '10s' });
  }
}
