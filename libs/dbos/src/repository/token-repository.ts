/** Tokens that were given out: who holds one may decide something that a workflow waits for, once. */
import type { Owner } from '../core/owner.js';
import type { EncodedValue } from '../core/serialization/serializer.js';

/** What is known of a token without knowing it. */
export interface TokenDigest {
  /** It is looked up by this, */
  readonly id: string;
  /** and proven by this. */
  readonly proof: string;
}

export interface NewToken {
  readonly owner: Owner;
  /** The step that gives it out. */
  readonly stepId: string;
  readonly digest: TokenDigest;
  readonly expiresAt: Date | undefined;
  /** What is recorded with it; undefined on a replay, where that has been done. */
  readonly step: { readonly name: string; readonly output: EncodedValue } | undefined;
}

export interface TokenRecord extends TokenDigest {
  readonly workflowId: string;
  readonly stepId: string;
}

export interface TokenRepository {
  /** Enters a token, with the checkpoint in one commit; `false` when the run owns its workflow no more. */
  create(token: NewToken): Promise<boolean>;

  find(id: string): Promise<TokenRecord | undefined>;
}
