// Cron by brute force: looks at every minute (or second) of a range as a wall clock shows it. Shares nothing with croner.

export interface Span {
  readonly from: Date;
  readonly until: Date;
}

interface Field {
  readonly text: string;
  readonly values: ReadonlySet<number>;
}

interface Fields {
  readonly second: Field;
  readonly minute: Field;
  readonly hour: Field;
  readonly day: Field;
  readonly month: Field;
  readonly weekday: Field;
}

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const QUARTER_MS = 900_000;
const DAY_MS = 86_400_000;

/** Numbers, ranges, steps and lists; no names, `L`, `W` or `#`. */
export function wallClockTicks(expression: string, zone: string, span: Span): Date[] {
  const fields = fieldsOf(expression);
  const times = [fields.second, fields.minute, fields.hour];
  const isTimeOfDay = times.every(({ text }) => !/[*/]/.test(text));
  const ticks = isTimeOfDay ? timesOfDay(fields, zone, span) : matchingMoments(fields, zone, span);
  return ticks.map((ms) => new Date(ms));
}

/** Every moment whose wall-clock time matches: twice in an overlap, never in a gap. */
function matchingMoments(fields: Fields, zone: string, { from, until }: Span): number[] {
  const step = fields.second.text === '0' ? MINUTE_MS : SECOND_MS;
  const found: number[] = [];
  const first = Math.ceil(from.getTime() / step) * step;
  for (let ms = first; ms < until.getTime(); ms += step) {
    const wall = new Date(ms + offsetMs(zone, ms));
    const isMatch =
      fields.second.values.has(wall.getUTCSeconds()) &&
      fields.minute.values.has(wall.getUTCMinutes()) &&
      fields.hour.values.has(wall.getUTCHours()) &&
      matchesDate(fields, wall);
    if (isMatch) found.push(ms);
  }
  return found;
}

/** Every time of day once: at its first occurrence, or when the gap ends in which it would lie. */
function timesOfDay(fields: Fields, zone: string, { from, until }: Span): number[] {
  const found = new Set<number>();
  const firstDay = Math.floor(from.getTime() / DAY_MS) * DAY_MS - DAY_MS;
  for (let day = firstDay; day < until.getTime() + 2 * DAY_MS; day += DAY_MS) {
    if (!matchesDate(fields, new Date(day))) continue;
    for (const hour of fields.hour.values) {
      for (const minute of fields.minute.values) {
        for (const second of fields.second.values) {
          found.add(momentOf(day + ((hour * 60 + minute) * 60 + second) * SECOND_MS, zone));
        }
      }
    }
  }
  return [...found]
    .filter((ms) => ms >= from.getTime() && ms < until.getTime())
    .toSorted((a, b) => a - b);
}

function matchesDate({ day, month, weekday }: Fields, wall: Date): boolean {
  if (!month.values.has(wall.getUTCMonth() + 1)) return false;
  const isDay = day.values.has(wall.getUTCDate());
  const isWeekday = weekday.values.has(wall.getUTCDay());
  const bothRestrict = day.text !== '*' && weekday.text !== '*';
  return bothRestrict ? isDay || isWeekday : isDay && isWeekday;
}

/** When a wall clock of the zone shows this time for the first time, or first shows a later one. */
function momentOf(wallMs: number, zone: string): number {
  const offsets = [wallMs - DAY_MS, wallMs + DAY_MS].map((ms) => offsetMs(zone, ms));
  const exact = offsets
    .map((offset) => wallMs - offset)
    .filter((ms) => ms + offsetMs(zone, ms) === wallMs);
  if (exact.length > 0) return Math.min(...exact);
  let ms = Math.floor((wallMs - DAY_MS) / QUARTER_MS) * QUARTER_MS;
  while (ms + offsetMs(zone, ms) < wallMs) ms += QUARTER_MS;
  return ms;
}

function fieldsOf(expression: string): Fields {
  const texts = expression.split(' ');
  const [second = '', minute = '', hour = '', day = '', month = '', weekday = ''] =
    texts.length === 5 ? ['0', ...texts] : texts;
  const sevenIsZero = fieldOf(weekday, 0, 7);
  return {
    second: fieldOf(second, 0, 59),
    minute: fieldOf(minute, 0, 59),
    hour: fieldOf(hour, 0, 23),
    day: fieldOf(day, 1, 31),
    month: fieldOf(month, 1, 12),
    weekday: { text: weekday, values: new Set([...sevenIsZero.values].map((value) => value % 7)) },
  };
}

function fieldOf(text: string, least: number, most: number): Field {
  const values = new Set<number>();
  for (const part of text.split(',')) {
    const [range = '', step = '1'] = part.split('/');
    const [low = '', high = low] = range === '*' ? [String(least), String(most)] : range.split('-');
    for (let value = Number(low); value <= Number(high); value += Number(step)) values.add(value);
  }
  return { text, values };
}

const formats = new Map<string, Intl.DateTimeFormat>();
const offsets = new Map<string, number>();

/** How far the wall clocks of the zone are ahead of UTC. They change at quarter-hours only. */
function offsetMs(zone: string, ms: number): number {
  const quarter = Math.floor(ms / QUARTER_MS) * QUARTER_MS;
  const key = `${zone} ${quarter}`;
  let offset = offsets.get(key);
  if (offset === undefined) offsets.set(key, (offset = readOffsetMs(zone, quarter)));
  return offset;
}

function readOffsetMs(zone: string, ms: number): number {
  let format = formats.get(zone);
  if (!format) {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
    });
    formats.set(zone, format);
  }
  const parts = new Map(format.formatToParts(ms).map(({ type, value }) => [type, Number(value)]));
  const shown = (type: Intl.DateTimeFormatPartTypes): number => parts.get(type) ?? 0;
  return (
    Date.UTC(shown('year'), shown('month') - 1, shown('day'), shown('hour'), shown('minute')) - ms
  );
}
