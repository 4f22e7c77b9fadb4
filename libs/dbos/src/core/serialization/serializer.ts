// PLACEHOLDER by the lead so that others compile; to be overwritten by the serialization author.
export interface Serializer { readonly name: string; serialize(value: unknown): string; deserialize(text: string): unknown }
export interface EncodedValue { readonly text: string; readonly format: string }
export class SerializerSet {
  constructor(private readonly options: { revive?: (decoded: Error) => Error } = {}) {}
  encode(value: unknown, _root?: string): EncodedValue { return { text: JSON.stringify(value === undefined ? null : value), format: 'json' }; }
  decode({ text }: EncodedValue): unknown { return JSON.parse(text); }
  encodeError(error: unknown): EncodedValue { const e = error as Error; return { text: JSON.stringify({ name: e?.name, message: e?.message, ...(e as object) }), format: 'json' }; }
  decodeError({ text }: EncodedValue): Error { const d = JSON.parse(text) as Error; const e = Object.assign(new Error(d.message), d); return this.options.revive?.(e) ?? e; }
}
