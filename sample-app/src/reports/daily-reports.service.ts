/** One row for each day that has ended: how many orders, and what they come to. */
import { Injectable } from '@nestjs/common';
import { Step } from 'nestjs-dbos';
import type { DailyReport } from '../generated/prisma/client.js';
import { DATABASE_STEP } from '../prisma/database-step.js';
import { PrismaService } from '../prisma/prisma.service.js';

/** Where the shop's days begin and end. */
export const TIME_ZONE = 'Europe/Berlin';

export interface DayReport {
  /** `2026-11-25`. */
  readonly day: string;
  /** Placed on that day and not refused. */
  readonly orders: number;
  readonly revenueCents: number;
}

const NEWEST = 50;

@Injectable()
export class DailyReports {
  constructor(private readonly prisma: PrismaService) {}

  /**
   * Of the last day that had ended at this moment. The count and its row are one statement, and a day has one row: a step
   * that runs again, because the process died before its checkpoint, writes the same one.
   */
  @Step(DATABASE_STEP)
  async write(moment: Date): Promise<DayReport> {
    const [row] = await this.prisma.$queryRaw<[DailyReport]>`
      INSERT INTO "DailyReport" ("day", "orders", "revenueCents")
      SELECT ended."day", count("Order"."id")::integer, coalesce(sum("Order"."totalCents"), 0)::integer
        FROM (SELECT (${moment.toISOString()}::timestamptz AT TIME ZONE ${TIME_ZONE}::text)::date - 1 AS "day") AS ended
        LEFT JOIN "Order"
          ON "Order"."createdAt" >= ended."day"::timestamp AT TIME ZONE ${TIME_ZONE}::text
         AND "Order"."createdAt" < (ended."day" + 1)::timestamp AT TIME ZONE ${TIME_ZONE}::text
         AND "Order"."status" <> 'REFUSED'
       GROUP BY ended."day"
          ON CONFLICT ("day")
          DO UPDATE SET "orders" = EXCLUDED."orders", "revenueCents" = EXCLUDED."revenueCents"
      RETURNING "day", "orders", "revenueCents"`;
    return dayReport(row);
  }

  async newest(): Promise<DayReport[]> {
    const reports = await this.prisma.dailyReport.findMany({
      orderBy: { day: 'desc' },
      take: NEWEST,
    });
    return reports.map(dayReport);
  }
}

/** A date of the database comes as midnight of Greenwich. */
function dayReport({ day, orders, revenueCents }: DailyReport): DayReport {
  return { day: day.toISOString().slice(0, 10), orders, revenueCents };
}
