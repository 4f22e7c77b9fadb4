/** Metrics for Prometheus, for applications that mount them: `controllers: [DbosMetricsController]`. */
import { Controller, Get, Header } from '@nestjs/common';
import { DbosMetrics } from './dbos-metrics.js';
import { PROMETHEUS_CONTENT_TYPE } from './prometheus.js';

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
