/**
 * Metrics for Prometheus, for applications that mount them: `controllers: [DbosMetricsController]`. Names of workflows and
 * queues are in them, so they are for those only whom `endpoints.guard` lets in.
 */
import { Controller, Get, Header } from '@nestjs/common';
import { Management } from '../management.js';
import { DbosMetrics } from './dbos-metrics.js';
import { PROMETHEUS_CONTENT_TYPE } from './prometheus.js';

@Management()
@Controller('dbos/metrics')
export class DbosMetricsController {
  constructor(private readonly metrics: DbosMetrics) {
    metrics.collect();
  }

  @Get()
  @Header('Cache-Control', 'no-store')
  @Header('Content-Type', PROMETHEUS_CONTENT_TYPE)
  prometheus(): Promise<string> {
    return this.metrics.prometheus();
  }
}
