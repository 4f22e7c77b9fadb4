// Public API of embedded-postgres-server.
export { EmbeddedPostgres, type StopOptions } from './embedded-postgres.js';
export { EmbeddedPostgresError, type EmbeddedPostgresErrorCode } from './errors.js';
export type { EmbeddedPostgresOptions } from './options.js';
export { systemBinDirectories } from './system-binaries.js';
