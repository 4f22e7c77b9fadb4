/** What was sold, day by day. */
import { Controller, Get, HttpCode, HttpStatus, Post } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { ScheduleService } from 'nestjs-dbos';
import { OPEN_TO_EVERYBODY } from '../config/open-api.js';
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
  @HttpCode(HttpStatus.OK)
  @ApiOperation({
    summary: 'Write the report of yesterday now, as it is written every night',
    description: OPEN_TO_EVERYBODY,
  })
  async report(): Promise<DayReport> {
    const handle = await this.schedules.trigger<DayReport>(NIGHTLY_REPORT);
    return handle.result({ timeout: '10s' });
  }
}
