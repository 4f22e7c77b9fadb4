// Which ids and names are let in.
import fc from 'fast-check';
import { InvalidArgumentError } from './errors.js';
import { assertIdentifier, MAX_IDENTIFIER_LENGTH } from './identifiers.js';

function isAccepted(value: unknown): boolean {
  try {
    return assertIdentifier('An id', value) === value;
  } catch (error) {
    if (error instanceof InvalidArgumentError) return false;
    throw error;
  }
}

/** Code units of every kind, those that make trouble most often. */
const CODE_UNITS = fc.oneof(
  fc.integer({ min: 0, max: 0xff }),
  fc.integer({ min: 0xd7ff, max: 0xe000 }),
  fc.integer({ min: 0, max: 0xffff }),
);
const TEXTS = fc.oneof(
  fc.array(CODE_UNITS, { maxLength: 300 }).map((units) => String.fromCharCode(...units)),
  fc.string({ unit: 'grapheme', maxLength: 300 }),
);

/** The rule by another way than the regular expressions of the implementation. */
function isUsable(text: string): boolean {
  const isControl = (unit: number): boolean => unit < 0x20 || (unit >= 0x7f && unit <= 0x9f);
  const units = Array.from(text, (character) => character.codePointAt(0) ?? 0);
  return (
    text.length >= 1 &&
    text.length <= 256 &&
    units.every((unit) => !isControl(unit) && !(unit >= 0xd800 && unit <= 0xdfff))
  );
}

describe('An identifier', () => {
  it('may have 1 to 256 characters', () => {
    expect(MAX_IDENTIFIER_LENGTH).toBe(256);
    expect([0, 1, 256, 257].map((length) => isAccepted('x'.repeat(length)))).toEqual([
      false,
      true,
      true,
      false,
    ]);
  });

  it.each(['order-1', 'a b', 'Bestellung/ä/注文', '😀', '"', "'; DROP TABLE", '%_\\'])(
    'may be %p',
    (value) => {
      expect(isAccepted(value)).toBe(true);
    },
  );

  it.each([
    ['NUL', 'a\u0000b'],
    ['a line break', 'a\nb'],
    ['an escape', '\u001b[31m'],
    ['DEL', 'a\u007f'],
    ['a C1 control', '\u0085'],
    ['a high surrogate alone', 'a\ud83d'],
    ['a low surrogate alone', '\ude00a'],
    ['surrogates in the wrong order', '\ude00\ud83d'],
    ['nothing', ''],
  ])('must not hold %s', (_, value) => {
    expect(isAccepted(value)).toBe(false);
  });

  it.each([[undefined], [null], [1], [{}], [['a']], [Symbol('s')], [new String('a')]])(
    'must be a string, not %p',
    (value) => {
      expect(isAccepted(value)).toBe(false);
    },
  );

  it('is accepted exactly when it is well-formed, printable and not too long', () => {
    fc.assert(
      fc.property(TEXTS, (text) => expect(isAccepted(text)).toBe(isUsable(text))),
      { numRuns: 2_000 },
    );
  });

  it('is refused in one line that says what was wrong, without the control character', () => {
    expect(() => assertIdentifier('A workflow id', 'a\u0000\nb')).toThrow(
      /^A workflow id "a\\u0000\\nb" contains a control character\./,
    );
  });
});
