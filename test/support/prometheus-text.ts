// Reads the text format of Prometheus and refuses what a strict parser would refuse.

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const HELP = new RegExp(`^# HELP (${NAME}) \\S.*$`);
const TYPE = new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram)$`);
const SAMPLE = new RegExp(
  `^(${NAME})(?:\\{(.*)\\})? (-?\\d+(?:\\.\\d+)?(?:e[+-]?\\d+)?|\\+Inf|NaN)$`,
);
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/y;

/** @throws when a line is not of the format, a family comes twice, or a sample is of no family or comes twice */
export function parsePrometheus(text: string): Sample[] {
  if (!text.endsWith('\n')) throw new Error('The last line does not end.');
  const families = new Map<string, string>();
  const seen = new Set<string>();
  const samples: Sample[] = [];
  let helped: string | undefined;
  let family: string | undefined;
  for (const line of text.slice(0, -1).split('\n')) {
    const [, help] = HELP.exec(line) ?? [];
    const [, typed, type] = TYPE.exec(line) ?? [];
    if (help !== undefined) {
      if (families.has(help)) throw new Error(`The family ${help} comes twice.`);
      helped = help;
    } else if (typed !== undefined && type !== undefined) {
      if (typed !== helped) throw new Error(`${typed} has a type and no help.`);
      families.set(typed, type);
      family = typed;
    } else {
      const sample = parseSample(line);
      assertOfFamily(sample, family, families.get(family ?? ''));
      const pairs = Object.entries(sample.labels).map((pair) => pair.join('='));
      const key = `${sample.name} ${pairs.toSorted().join()}`;
      if (seen.has(key)) throw new Error(`The sample ${key} comes twice.`);
      seen.add(key);
      samples.push(sample);
    }
  }
  assertHistograms(families, samples);
  return samples;
}

function parseSample(line: string): Sample {
  const [, name, labels = '', value] = SAMPLE.exec(line) ?? [];
  if (name === undefined) throw new Error(`This is no sample: ${line}`);
  return { name, labels: parseLabels(labels), value: value === '+Inf' ? Infinity : Number(value) };
}

function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  LABEL.lastIndex = 0;
  while (LABEL.lastIndex < text.length) {
    const at = LABEL.lastIndex;
    const [, label, value] = LABEL.exec(text) ?? [];
    if (label === undefined || value === undefined || label in labels)
      throw new Error(`These are no labels: ${text.slice(at)}`);
    labels[label] = value.replaceAll(/\\(["\\n])/g, (_, char) =>
      char === 'n' ? '\n' : String(char),
    );
  }
  return labels;
}

function assertOfFamily({ name }: Sample, family = '', type = ''): void {
  const suffixes = type === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
  if (!suffixes.some((suffix) => name === `${family}${suffix}`))
    throw new Error(`The sample ${name} is not of the family ${family}.`);
  if (type === 'counter' && !name.endsWith('_total'))
    throw new Error(`The counter ${name} does not end with _total.`);
}

/** Buckets only grow, and the last is the count. */
function assertHistograms(families: ReadonlyMap<string, string>, samples: readonly Sample[]): void {
  for (const [name] of [...families].filter(([, type]) => type === 'histogram')) {
    const counts = samples.filter((sample) => sample.name === `${name}_count`);
    for (const { labels, value } of counts) {
      const isOfSeries = (given: Sample['labels']): boolean =>
        Object.keys(given).every((label) => label === 'le' || given[label] === labels[label]);
      const buckets = samples.filter(
        (sample) => sample.name === `${name}_bucket` && isOfSeries(sample.labels),
      );
      const grow = buckets.every(
        (bucket, index) => bucket.value >= (buckets[index - 1]?.value ?? 0),
      );
      const last = buckets.at(-1);
      if (!grow || last?.labels['le'] !== '+Inf' || last.value !== value)
        throw new Error(`The buckets of ${name} do not add up.`);
    }
  }
}
