/** Writes the report of each day in the night after it. */
import { Injectable } from '@nestjs/common';
import { Scheduled, Workflow } from 'nestjs-dbos';
import { DailyReports, TIME_ZONE, type DayReport } from './daily-reports.service.js';

export const NIGHTLY_REPORT = 'nightly-report';

@Injectable()
export class NightlyReportWorkflow {
  constructor(private readonly reports: DailyReports) {}

  /**
   * A shop that was down in the night reports when it is up again; of several nights the last is made up for, since
   * nothing was sold in between.
   * @param tick when the report was due: the same after every crash, whatever the time is then
   */
  @Workflow()
  @Scheduled('0 2 * * *', { name: NIGHTLY_REPORT, timeZone: TIME_ZONE, backfill: 'latest' })
  async run(tick: Date): Promise<DayReport> {
    return this.reports.write(tick);
  }
}
