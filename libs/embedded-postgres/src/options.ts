// What a caller may say about the server, and the defaults of all he does not say.
import { resolve } from 'node:path';

export interface EmbeddedPostgresOptions {
  /** Folder of data, log and lock; git-ignored, kept between runs. Default `.postgres` in the working directory. */
  readonly directory?: string;
  /** Server settings for a start, for instance `{ fsync: 'off' }`. A server that already runs is adopted as it is. */
  readonly settings?: Readonly<Record<string, string | number>>;
  /** Libraries to preload when these binaries have them; others are left out instead of failing the start. */
  readonly preload?: readonly string[];
  /** Folder with `postgres`, `initdb` and `pg_ctl`, to use instead of searching for them. */
  readonly binDirectory?: string;
  /** How long a start, crash recovery included, may take. Default 60 s. */
  readonly startTimeoutMs?: number;
  /** Receives a few readable lines on what happens. Default: silent. */
  readonly log?: (line: string) => void;
}

export interface ResolvedOptions {
  readonly directory: string;
  readonly settings: Readonly<Record<string, string | number>>;
  readonly preload: readonly string[];
  readonly binDirectory: string | undefined;
  readonly startTimeoutMs: number;
  readonly log: (line: string) => void;
}

export function resolveOptions(options: EmbeddedPostgresOptions): ResolvedOptions {
  return {
    directory: resolve(options.directory ?? '.postgres'),
    settings: options.settings ?? {},
    preload: options.preload ?? [],
    binDirectory: options.binDirectory,
    startTimeoutMs: options.startTimeoutMs ?? 60_000,
    log: options.log ?? (() => undefined),
  };
}
