/** A Nest logger whose lines say of which workflow and step they are. */
import { ConsoleLogger, type LoggerService, type LogLevel } from '@nestjs/common';
import type { WorkflowContext } from './workflow-context.js';

/**
 * Puts `workflowId`, and in a step `stepId`, `step` and `attempt`, into every line that is logged within a workflow, as
 * structured parameters; other lines are left alone.
 *
 * @example
 * ```ts
 * const app = await NestFactory.create(AppModule, { bufferLogs: true });
 * app.useLogger(new WorkflowLogger(app.get(WorkflowContext), new ConsoleLogger({ json: true })));
 * ```
 */
export class WorkflowLogger implements LoggerService {
  /** @param inner what writes the lines */
  constructor(
    private readonly flow: WorkflowContext,
    private readonly inner: LoggerService = new ConsoleLogger(),
  ) {}

  log(message: unknown, ...params: unknown[]): void {
    this.inner.log(message, ...this.fields(), ...params);
  }

  error(message: unknown, ...params: unknown[]): void {
    this.inner.error(message, ...this.fields(), ...params);
  }

  warn(message: unknown, ...params: unknown[]): void {
    this.inner.warn(message, ...this.fields(), ...params);
  }

  debug(message: unknown, ...params: unknown[]): void {
    this.inner.debug?.(message, ...this.fields(), ...params);
  }

  verbose(message: unknown, ...params: unknown[]): void {
    this.inner.verbose?.(message, ...this.fields(), ...params);
  }

  fatal(message: unknown, ...params: unknown[]): void {
    this.inner.fatal?.(message, ...this.fields(), ...params);
  }

  setLogLevels(levels: LogLevel[]): void {
    this.inner.setLogLevels?.(levels);
  }

  /** Ahead of what Nest appends, a stack and the context, which it tells by their place at the end. */
  private fields(): unknown[] {
    const { logFields } = this.flow;
    return logFields ? [logFields] : [];
  }
}
