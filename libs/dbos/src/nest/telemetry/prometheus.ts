/**
 * Counters and histograms in memory, and their text for Prometheus
 * (https://prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4).
 */
import {
  BUCKETS,
  COUNTERS,
  GAUGES,
  HISTOGRAMS,
  type CounterName,
  type HistogramName,
  type Labels,
  type MetricDefinition,
  type MetricSink,
  type Reading,
} from './metric-definitions.js';

export const PROMETHEUS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** Of one metric; what comes with further labels is counted together, as `other`. */
const MOST_SERIES = 2_000;

interface Histogram {
  readonly buckets: number[];
  sum: number;
  count: number;
}

export class PrometheusMetrics implements MetricSink {
  private readonly counters = seriesOf<CounterName, { value: number }>(COUNTERS);
  private readonly histograms = seriesOf<HistogramName, Histogram>(HISTOGRAMS);

  add(counter: CounterName, count: number, labels: Labels): void {
    this.counters[counter].of(labels, () => ({ value: 0 })).value += count;
  }

  record(histogram: HistogramName, seconds: number, labels: Labels): void {
    const series = this.histograms[histogram].of(labels, () => ({
      buckets: BUCKETS.map(() => 0),
      sum: 0,
      count: 0,
    }));
    const bucket = BUCKETS.findIndex((bound) => seconds <= bound);
    if (bucket >= 0) series.buckets[bucket] = (series.buckets[bucket] ?? 0) + 1;
    series.sum += seconds;
    series.count += 1;
  }

  /** All that was counted, and these readings of the gauges. */
  text(readings: readonly Reading[]): string {
    const counters = entriesOf(COUNTERS).map(([name, definition]) => {
      const full = `${prometheusName(definition)}_total`;
      const lines = this.counters[name]
        .all()
        .map(([labels, { value }]) => sample(full, labels, value));
      return family(full, 'counter', definition, lines);
    });
    const histograms = entriesOf(HISTOGRAMS).map(([name, definition]) => {
      const full = prometheusName(definition);
      const lines = this.histograms[name]
        .all()
        .flatMap(([labels, series]) => histogramSamples(full, labels, series));
      return family(full, 'histogram', definition, lines);
    });
    const gauges = entriesOf(GAUGES).map(([name, definition]) => {
      const full = prometheusName(definition);
      const lines = readings
        .filter(({ gauge }) => gauge === name)
        .map(({ labels, value }) => sample(full, Object.entries(labels), value));
      return family(full, 'gauge', definition, lines);
    });
    return [...counters, ...histograms, ...gauges].join('');
  }
}

type LabelPairs = ReadonlyArray<readonly [string, string]>;

/** The series of one metric by their labels, in the order in which these came. */
class Series<T> {
  private readonly byKey = new Map<string, { readonly labels: LabelPairs; readonly value: T }>();

  of(labels: Labels, make: () => T): T {
    const key = Object.values(labels).join('\u0000');
    const found = this.byKey.get(key);
    if (found) return found.value;
    const pairs = Object.entries(labels);
    if (this.byKey.size >= MOST_SERIES && pairs.some(([, value]) => value !== OTHER))
      return this.of(Object.fromEntries(pairs.map(([label]) => [label, OTHER])), make);
    const value = make();
    this.byKey.set(key, { labels: pairs, value });
    return value;
  }

  all(): Array<readonly [LabelPairs, T]> {
    return [...this.byKey.values()].map(({ labels, value }) => [labels, value] as const);
  }
}

const OTHER = 'other';

function seriesOf<Name extends string, T>(
  definitions: Readonly<Record<Name, MetricDefinition>>,
): Record<Name, Series<T>> {
  return Object.fromEntries(
    entriesOf(definitions).map(([name]) => [name, new Series<T>()]),
  ) as Record<Name, Series<T>>;
}

function entriesOf<Name extends string>(
  definitions: Readonly<Record<Name, MetricDefinition>>,
): Array<[Name, MetricDefinition]> {
  return Object.entries(definitions) as Array<[Name, MetricDefinition]>;
}

/** As OpenTelemetry's own exporter makes it of the name and the unit. */
function prometheusName({ name, unit }: MetricDefinition): string {
  return `${name.replaceAll('.', '_')}${unit === 's' ? '_seconds' : ''}`;
}

/** A family without samples is left out. */
function family(
  name: string,
  type: 'counter' | 'gauge' | 'histogram',
  { help }: MetricDefinition,
  lines: readonly string[],
): string {
  if (lines.length === 0) return '';
  const escaped = help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
  return `# HELP ${name} ${escaped}\n# TYPE ${name} ${type}\n${lines.join('\n')}\n`;
}

function histogramSamples(name: string, labels: LabelPairs, series: Histogram): string[] {
  let cumulated = 0;
  const buckets = BUCKETS.map((bound, index) => {
    cumulated += series.buckets[index] ?? 0;
    return sample(`${name}_bucket`, [...labels, ['le', String(bound)]], cumulated);
  });
  return [
    ...buckets,
    sample(`${name}_bucket`, [...labels, ['le', '+Inf']], series.count),
    sample(`${name}_sum`, labels, series.sum),
    sample(`${name}_count`, labels, series.count),
  ];
}

function sample(name: string, labels: LabelPairs, value: number): string {
  if (labels.length === 0) return `${name} ${value}`;
  const written = labels.map(([label, text]) => `${label}="${escapedLabel(text)}"`);
  return `${name}{${written.join(',')}} ${value}`;
}

function escapedLabel(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
