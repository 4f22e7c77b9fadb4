/** Says what is wrong with a cron expression, and at which character. */
import { CronPattern } from 'croner';
import { InvalidScheduleError, type CronField } from './schedule-errors.js';

/** Most characters of an expression; a list of all sixty minutes has 169. */
const MAX_LENGTH = 256;

const FIELDS: ReadonlyArray<{ readonly name: CronField; readonly use: string }> = [
  { name: 'second', use: '0-59' },
  { name: 'minute', use: '0-59' },
  { name: 'hour', use: '0-23' },
  { name: 'day of month', use: '1-31, L (the last) or 15W (the weekday nearest to the 15th)' },
  { name: 'month', use: '1-12 or JAN-DEC' },
  { name: 'day of week', use: '0-7 (0 and 7 are Sunday), SUN-SAT, FRI#2 or FRI#L' },
];

/** A piece of the expression, and where it begins. */
interface Token {
  readonly text: string;
  readonly position: number;
}

/** What croner is told about every expression: five fields, or six with seconds first; never years. */
export const PATTERN_OPTIONS = { mode: '5-or-6-parts' } as const;

/** @throws InvalidScheduleError naming the field and the character */
export function assertCron(expression: unknown): string {
  if (typeof expression !== 'string') {
    throw invalid(`A cron expression must be a text, not ${typeof expression}.`);
  }
  if (expression.length > MAX_LENGTH) {
    throw invalid(
      `A cron expression has at most ${MAX_LENGTH} characters, not ${expression.length}.`,
    );
  }
  const cause = refusalOf(expression);
  if (cause !== undefined) throw explain(expression, cause);
  return expression;
}

/** croner knows what is valid; its messages do not say where. */
function refusalOf(expression: string): Error | undefined {
  try {
    void new CronPattern(expression, 'UTC', PATTERN_OPTIONS);
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

function explain(expression: string, cause: Error): InvalidScheduleError {
  const said = `Cron expression "${expression}"`;
  const tokens = tokensOf(expression, /\S+/g);
  if (tokens[0]?.text.startsWith('@')) {
    return invalid(
      `${said} is no known nickname. Use @hourly, @daily, @weekly, @monthly, @yearly or fields.`,
      { position: tokens[0].position, cause },
    );
  }
  if (tokens.length !== 5 && tokens.length !== 6) {
    return invalid(
      `${said} has ${tokens.length} fields. Use five (minute, hour, day of month, month, day of week), or six with ` +
        'seconds first.',
      { position: tokens[6]?.position ?? expression.length + 1, cause },
    );
  }
  return explainField(said, tokens, cause);
}

/** The first field, and in it the first part of its list, that is refused among asterisks. */
function explainField(said: string, tokens: readonly Token[], cause: Error): InvalidScheduleError {
  const fields = FIELDS.slice(FIELDS.length - tokens.length);
  for (const [index, field] of fields.entries()) {
    const token = tokens[index] as Token;
    const stands = (text: string): boolean =>
      refusalOf(fields.map((_, at) => (at === index ? text : '*')).join(' ')) === undefined;
    if (stands(token.text)) continue;
    const parts = tokensOf(token.text, /[^,]+/g);
    const part = parts.find(({ text }) => !stands(text)) ?? { ...token, position: 1 };
    const position = token.position + part.position - 1;
    return invalid(
      `${said}: "${part.text}" at character ${position} is no valid ${field.name}. Use ${field.use}, and of these * ` +
        '(every), ranges (1-5), steps (*/2) and lists (1,3).',
      { field: field.name, position, cause },
    );
  }
  return invalid(`${said} cannot be used: ${cause.message}`, { cause });
}

function tokensOf(text: string, pattern: RegExp): Token[] {
  return [...text.matchAll(pattern)].map((match) => ({
    text: match[0],
    position: match.index + 1,
  }));
}

interface Details {
  readonly field?: CronField;
  readonly position?: number;
  readonly cause?: Error;
}

function invalid(message: string, { cause, ...fault }: Details = {}): InvalidScheduleError {
  return new InvalidScheduleError(message, { part: 'cron', ...fault }, cause && { cause });
}
