/** What the engine tells its surroundings; the Nest layer hands it to Nest's `Logger`. */

export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  log(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

export const SILENT_LOGGER: Logger = { debug() {}, log() {}, warn() {}, error() {} };
