// What log lines say of errors: nothing that the application has put into them, unless it says so itself.
import { InvalidArgumentError } from './errors.js';
import { ContextRestoreError } from './extension-errors.js';
import type { LogFields, Logger } from './logger.js';
import { loggable, redactingLogger, type Redact } from './redaction.js';

const CARD = 'card 4111';

/** The fields of a line of each level. */
function logged(fields: LogFields | undefined, redact?: Redact): Array<LogFields | undefined> {
  const lines: Array<LogFields | undefined> = [];
  const write = (_message: string, given?: LogFields): void => void lines.push(given);
  const logger: Logger = { debug: write, log: write, warn: write, error: write };
  const redacting = redactingLogger(logger, redact);
  for (const level of ['debug', 'log', 'warn', 'error'] as const) redacting[level]('line', fields);
  return lines;
}

function told(error: unknown, redact?: Redact): unknown {
  return logged({ error }, redact)[0]?.['error'];
}

describe('Log lines', () => {
  it('of every level tell name and code of an error of the application, and no more', () => {
    const error = Object.assign(new RangeError(CARD), { code: 'E_CARD' });
    expect(logged({ error, workflowId: 'w' })).toEqual(
      Array.from({ length: 4 }, () => ({ error: 'RangeError (E_CARD)', workflowId: 'w' })),
    );
    expect(told(new RangeError(CARD))).toBe('RangeError');
    expect(told(Object.assign(new RangeError(CARD), { code: 4_111 }))).toBe('RangeError');
  });

  it('without fields have none', () => {
    expect(logged(undefined)).toEqual([undefined, undefined, undefined, undefined]);
  });

  it('tell what an error of the library says', () => {
    expect(told(new InvalidArgumentError('limit must be 1.'))).toBe(
      'InvalidArgumentError: limit must be 1.',
    );
  });

  it('leave out what an error of the library quotes of the application, however deep', () => {
    const inner = new ContextRestoreError('w', 'tenant', new RangeError(CARD));
    const outer = new ContextRestoreError('w', 'user', inner);
    for (const error of [inner, outer]) {
      expect(told(error)).not.toContain('4111');
      expect(told(error)).toContain('cannot be restored: RangeError');
    }
    expect(told(outer)).toContain('The context "tenant"');
    expect(told(new ContextRestoreError('w', 'user', CARD))).toContain('be restored: string');
  });

  it('say what redact makes of a message', () => {
    expect(told(new RangeError(CARD), (message) => message.replace(/\d+/, '…'))).toBe(
      'RangeError: card …',
    );
  });

  it('tell the name alone where redact throws, and log nothing of what it threw', () => {
    const failing = (message: string): string => {
      throw new Error(message);
    };
    expect(told(new RangeError(CARD), failing)).toBe('RangeError');
  });
});

describe('What was thrown', () => {
  it('is told as it is when it is an error', () => {
    const error = new RangeError(CARD);
    expect(loggable(error)).toBe(error);
  });

  it('is told by its type alone when it is none', () => {
    expect(loggable(CARD).message).toBe('string was thrown, which is no Error');
  });
});
