// The errors of this library: a stable code for programs, and for people what happened and what to do.

export type EmbeddedPostgresErrorCode =
  | 'NO_BINARIES'
  | 'NO_SERVER_ACCOUNT'
  | 'NO_PLACE'
  | 'COMMAND_FAILED'
  | 'START_FAILED'
  | 'START_LOCKED'
  | 'STOP_FAILED';

export class EmbeddedPostgresError extends Error {
  override readonly name = 'EmbeddedPostgresError';

  constructor(
    readonly code: EmbeddedPostgresErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The message of whatever was thrown, for messages of ours that quote it. */
export function messageOf(error: unknown): string {
  const message = propertyOf(error, 'message');
  return typeof message === 'string' && message !== '' ? message : String(error);
}

/** The system's error code (ENOENT, EACCES, …) of whatever was thrown. */
export function systemCodeOf(error: unknown): string | undefined {
  const code = propertyOf(error, 'code');
  return typeof code === 'string' ? code : undefined;
}

/** By shape: Node's own errors are no `Error` of ours inside Jest, whose tests live in another realm. */
function propertyOf(error: unknown, name: 'message' | 'code'): unknown {
  return typeof error === 'object' && error !== null && name in error
    ? (error as Record<typeof name, unknown>)[name]
    : undefined;
}
