/**
 * How the text of PostgreSQL becomes values, as the Prisma client makes them. `pg` has parsers of its own, but an
 * application may have replaced those for itself, for instance by ones that give dates as text.
 */

type Parser = (text: string) => unknown;

/** What `pg` asks for the parser of a column. */
export interface ColumnTypes {
  getTypeParser(oid: number): Parser;
}

/** The types with which statements of ours answer, by the numbers in the server's `pg_type`; others stay text. */
const PARSERS: Readonly<Record<number, Parser>> = {
  16: (text) => text === 't', // boolean
  20: BigInt,
  23: Number, // integer
  114: parseJson,
  701: Number, // double precision
  1009: parseTextArray,
  1184: parseInstant, // timestamptz
  3802: parseJson, // jsonb
};

export const COLUMN_TYPES: ColumnTypes = {
  getTypeParser: (oid) => PARSERS[oid] ?? String,
};

function parseJson(text: string): unknown {
  return JSON.parse(text);
}

/** `{plain,"with \"quotes\" and , commas"}`, of one dimension and without nulls. */
function parseTextArray(text: string): string[] {
  const elements = text.matchAll(/"((?:[^"\\]|\\.)*)"|([^",{}]+)/gs);
  return [...elements].map(([, quoted, plain]) => plain ?? quoted?.replace(/\\(.)/gs, '$1') ?? '');
}

/** `2026-11-25 08:15:00.123456+01`, to which `Date` wants a T between day and time and minutes in the offset. */
function parseInstant(text: string): Date {
  return new Date(text.replace(' ', 'T').replace(/([+-]\d\d)$/, '$1:00'));
}
