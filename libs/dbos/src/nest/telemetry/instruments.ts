/** The same metrics as instruments of OpenTelemetry. */
import type { Attributes, BatchObservableCallback, Meter } from '@opentelemetry/api';
import {
  ATTRIBUTES,
  BUCKETS,
  COUNTERS,
  GAUGES,
  HISTOGRAMS,
  type CounterName,
  type HistogramName,
  type Label,
  type Labels,
  type MetricDefinition,
  type MetricSink,
  type Reading,
} from './metric-definitions.js';
import { SCOPE, type OpenTelemetry } from './open-telemetry.js';

export class Instruments implements MetricSink {
  private readonly meter: Meter;
  private readonly counters;
  private readonly histograms;
  private readonly gauges;
  private readonly observe: BatchObservableCallback;

  constructor(api: OpenTelemetry, readings: () => Promise<readonly Reading[]>) {
    const meter = api.metrics.getMeter(SCOPE);
    this.meter = meter;
    this.counters = made(COUNTERS, ({ name, ...rest }) => meter.createCounter(name, rest));
    this.histograms = made(HISTOGRAMS, ({ name, ...rest }) =>
      meter.createHistogram(name, {
        ...rest,
        advice: { explicitBucketBoundaries: [...BUCKETS] },
      }),
    );
    this.gauges = made(GAUGES, ({ name, ...rest }) => meter.createObservableGauge(name, rest));
    this.observe = async (result) => {
      for (const { gauge, value, labels } of await readings())
        result.observe(this.gauges[gauge], value, attributesOf(labels));
    };
    meter.addBatchObservableCallback(this.observe, Object.values(this.gauges));
  }

  add(counter: CounterName, count: number, labels: Labels): void {
    this.counters[counter].add(count, attributesOf(labels));
  }

  record(histogram: HistogramName, seconds: number, labels: Labels): void {
    this.histograms[histogram].record(seconds, attributesOf(labels));
  }

  /** The gauges of an application that was closed tell nothing any more. */
  close(): void {
    this.meter.removeBatchObservableCallback(this.observe, Object.values(this.gauges));
  }
}

function made<Name extends string, Instrument>(
  definitions: Readonly<Record<Name, MetricDefinition>>,
  make: (definition: { name: string; description: string; unit: string }) => Instrument,
): Record<Name, Instrument> {
  const entries = Object.entries<MetricDefinition>(definitions);
  return Object.fromEntries(
    entries.map(([key, { name, unit, help }]) => [key, make({ name, unit, description: help })]),
  ) as Record<Name, Instrument>;
}

function attributesOf(labels: Labels): Attributes {
  return Object.fromEntries(
    Object.entries(labels).map(([label, value]) => [ATTRIBUTES[label as Label], value]),
  );
}
