/** What values must be, said in any language that speaks Standard Schema (zod, valibot, arktype, …). */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { DbosError, InvalidArgumentError } from './errors.js';
import { assertIdentifier } from './identifiers.js';

export type Schema<In = unknown, Out = unknown> = StandardSchemaV1<In, Out>;

/** One reason why a value was refused. */
export interface ValidationIssue {
  readonly message: string;
  /** Where in the value: `['lines', 3, 'sku']`. */
  readonly path: ReadonlyArray<string | number>;
}

/** A value that its schema refuses. Nothing was written. */
export class ValidationError extends DbosError {
  readonly code = 'DBOS_VALIDATION';

  constructor(
    /** What the value was meant to be. */
    readonly subject: string,
    readonly issues: readonly ValidationIssue[],
  ) {
    super(`The ${subject} is not valid: ${issues.map(describeIssue).join('; ')}`);
  }
}

function describeIssue({ message, path }: ValidationIssue): string {
  return path.length > 0 ? `${path.join('.')}: ${message}` : message;
}

/** What the schema makes of the value. @throws ValidationError */
export async function validated<Out>(
  schema: Schema<unknown, Out>,
  value: unknown,
  subject: string,
): Promise<Out> {
  const result = await schema['~standard'].validate(value);
  if (!result.issues) return result.value;
  throw new ValidationError(
    subject,
    result.issues.map(({ message, path = [] }) => ({ message, path: path.map(keyOf) })),
  );
}

function keyOf(segment: PropertyKey | StandardSchemaV1.PathSegment): string | number {
  const key = typeof segment === 'object' ? segment.key : segment;
  return typeof key === 'symbol' ? String(key) : key;
}

/** @throws InvalidArgumentError when it is no schema */
export function assertSchema(what: string, schema: unknown): void {
  const standard = (schema as Partial<Schema> | null | undefined)?.['~standard'];
  if (typeof standard?.validate === 'function') return;
  throw new InvalidArgumentError(`${what} must be a schema that follows Standard Schema.`);
}

/** A name together with what goes under it. Sender and receiver import the same one. */
interface Typed<Kind extends string, In, Out> {
  readonly kind: Kind;
  readonly name: string;
  readonly schema: Schema<In, Out>;
}

/** A topic of messages: `In` is what is sent, `Out` is what the schema makes of it and the workflow receives. */
export type Topic<In = unknown, Out = In> = Typed<'topic', In, Out>;

/** The key of an event. */
export type EventKey<In = unknown, Out = In> = Typed<'event', In, Out>;

/** A topic of updates, with what is asked and what is replied. */
export interface UpdateTopic<
  In = unknown,
  Out = In,
  ReplyIn = unknown,
  ReplyOut = ReplyIn,
> extends Typed<'update', In, Out> {
  readonly reply: Schema<ReplyIn, ReplyOut> | undefined;
}

type InputOf<S extends StandardSchemaV1> = StandardSchemaV1.InferInput<S>;
type OutputOf<S extends StandardSchemaV1> = StandardSchemaV1.InferOutput<S>;

/**
 * @example
 * ```ts
 * export const Approval = defineTopic('approval', z.object({ by: z.string() }));
 * await workflows.send(id, { by: 'Ada' }, { topic: Approval });
 * const { by } = await flow.recv(Approval);
 * ```
 */
export function defineTopic<S extends StandardSchemaV1>(
  name: string,
  schema: S,
): Topic<InputOf<S>, OutputOf<S>> {
  return { kind: 'topic', ...checked(name, schema) };
}

/**
 * @example
 * ```ts
 * export const Progress = defineEvent('progress', z.object({ percent: z.number() }));
 * await flow.setEvent(Progress, { percent: 50 });
 * ```
 */
export function defineEvent<S extends StandardSchemaV1>(
  name: string,
  schema: S,
): EventKey<InputOf<S>, OutputOf<S>> {
  return { kind: 'event', ...checked(name, schema) };
}

/**
 * @example
 * ```ts
 * export const ChangeAddress = defineUpdate('changeAddress', { payload: AddressSchema, reply: QuoteSchema });
 * const quote = await handle.update(ChangeAddress, address);
 * ```
 */
export function defineUpdate<S extends StandardSchemaV1, R extends StandardSchemaV1 = Schema>(
  name: string,
  { payload, reply }: { readonly payload: S; readonly reply?: R },
): UpdateTopic<InputOf<S>, OutputOf<S>, InputOf<R>, OutputOf<R>> {
  if (reply !== undefined) assertSchema(`The reply of "${name}"`, reply);
  return { kind: 'update', ...checked(name, payload), reply };
}

function checked<S extends StandardSchemaV1>(
  name: string,
  schema: S,
): { readonly name: string; readonly schema: Schema<InputOf<S>, OutputOf<S>> } {
  assertSchema(`The schema of "${assertIdentifier('A name', name)}"`, schema);
  return { name, schema };
}

/** A name, and the schema that comes with it, if one does. */
export function named(given: string | { readonly name: string; readonly schema: Schema }): {
  readonly name: string;
  readonly schema: Schema | undefined;
} {
  if (typeof given === 'object' && given !== null) return given;
  return { name: given, schema: undefined };
}
