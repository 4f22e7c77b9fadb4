import { Module } from '@nestjs/common';
import { DailyReports } from './daily-reports.service.js';
import { NightlyReportWorkflow } from './nightly-report.workflow.js';
import { ReportsController } from './reports.controller.js';

@Module({
  controllers: [ReportsController],
  providers: [NightlyReportWorkflow, DailyReports],
})
export class ReportsModule {}
