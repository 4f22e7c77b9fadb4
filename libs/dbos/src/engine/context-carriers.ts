/** What of the surroundings of a start a workflow takes along: who asked, under which request, in which trace. */
import { InvalidArgumentError } from '../core/errors.js';
import { ContextCaptureError, ContextRestoreError } from '../core/extension-errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import type { EncodedValue, SerializerSet } from '../core/serialization/serializer.js';
import type { CarriedContext } from '../repository/workflow-repository.js';

/**
 * Takes one ambient text along with a workflow, from where it is started to every run of it, on whatever process.
 * A value that is captured in a workflow for a child goes before the one that the workflow itself carries.
 *
 * @example
 * ```ts
 * const user = new AsyncLocalStorage<string>();
 * const carrier = { name: 'user', capture: () => user.getStore(), run: (value, work) => user.run(value, work) };
 * ```
 */
export interface ContextCarrier {
  /** Stored with the value; renaming it loses what is under way. */
  readonly name: string;
  /** What is around the caller that starts or enqueues; undefined when there is nothing to carry. It must not throw. */
  capture(): string | undefined;
  /** Calls `work` with the value around it, at once and once, and returns what that returns. */
  run<T>(value: string, work: () => T): T;
}

/** A context is for ids, not for data: it is written with every start. */
const MAX_CONTEXT_CHARACTERS = 16_384;
/** Format of values that are texts already; a codec adds its name. */
const TEXT = 'text';

export class ContextCarriers {
  private readonly carriers: ContextCarrier[] = [];

  constructor(private readonly serializers: SerializerSet) {}

  /** The first is the outermost. @throws InvalidArgumentError for an unusable or a second carrier of one name */
  add(carrier: ContextCarrier): void {
    assertIdentifier('The name of a context carrier', carrier.name);
    if (typeof carrier.capture !== 'function' || typeof carrier.run !== 'function')
      throw new InvalidArgumentError(
        `The context carrier "${carrier.name}" needs the methods capture() and run(value, work).`,
      );
    if (this.carriers.some(({ name }) => name === carrier.name))
      throw new InvalidArgumentError(
        `There are two context carriers named "${carrier.name}". Give each its own name.`,
      );
    this.carriers.push(carrier);
  }

  /**
   * What a workflow that is started here carries.
   * @param inherited of its parent, whatever carriers this process has
   * @throws ContextCaptureError
   */
  capture(inherited?: CarriedContext): CarriedContext | undefined {
    if (this.carriers.length === 0) return inherited;
    const captured: Record<string, string | EncodedValue> = {};
    let characters = 0;
    for (const carrier of this.carriers) {
      const value = capturedBy(carrier);
      if (value === undefined) continue;
      characters += value.length;
      if (characters > MAX_CONTEXT_CHARACTERS)
        throw new ContextCaptureError(
          carrier.name,
          `with it the context has more than ${MAX_CONTEXT_CHARACTERS} characters; carry ids, and look up the rest`,
        );
      captured[carrier.name] = this.stored(carrier.name, value);
    }
    const context = { ...inherited, ...captured };
    return Object.keys(context).length === 0 ? undefined : context;
  }

  private stored(name: string, value: string): string | EncodedValue {
    const sealed = this.serializers.seal({ text: value, format: TEXT }, `context of ${name}`);
    return sealed.format === TEXT ? value : sealed;
  }

  /**
   * Calls `work` with what the workflow carries around it, as far as this process has carriers for it.
   * @throws ContextRestoreError
   */
  restore<T>(
    workflowId: string,
    context: CarriedContext | undefined,
    work: () => T | Promise<T>,
  ): T | Promise<T> {
    if (context === undefined || this.carriers.length === 0) return work();
    const innermost = async (): Promise<T> => work(); // what it throws at once is not the carrier's fault
    return this.carriers.reduceRight((inner, carrier) => {
      const stored = context[carrier.name];
      if (stored === undefined) return inner;
      return () => this.within(workflowId, { carrier, stored }, inner);
    }, innermost)();
  }

  private within<T>(
    workflowId: string,
    { carrier, stored }: { carrier: ContextCarrier; stored: string | EncodedValue },
    work: () => Promise<T>,
  ): Promise<T> {
    let result: Promise<T> | undefined;
    try {
      const value = typeof stored === 'string' ? stored : this.serializers.open(stored).text;
      carrier.run(value, () => (result ??= work()));
    } catch (error) {
      if (error instanceof ContextRestoreError) throw error; // of a carrier within
      result?.catch(() => undefined); // it is interrupted, and nobody waits for it any more
      throw new ContextRestoreError(workflowId, carrier.name, error);
    }
    if (result) return result;
    const reason = new TypeError('its run() returned without having called the work.');
    throw new ContextRestoreError(workflowId, carrier.name, reason);
  }
}

/** @throws ContextCaptureError */
function capturedBy(carrier: ContextCarrier): string | undefined {
  let value: unknown;
  try {
    value = carrier.capture();
  } catch (error) {
    throw new ContextCaptureError(carrier.name, 'its capture() threw', { cause: error });
  }
  if (value === undefined) return undefined;
  if (typeof value !== 'string')
    throw new ContextCaptureError(carrier.name, `its capture() gave ${typeof value}, no text`);
  if (value.includes('\0') || /\p{Surrogate}/u.test(value))
    throw new ContextCaptureError(carrier.name, 'PostgreSQL cannot hold its text');
  return value;
}
