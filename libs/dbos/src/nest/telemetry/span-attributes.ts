/** What spans say, under the names that DBOS uses (`dbos.operation.*`, `dbos.executor.id`, `dbos.queue.name`). */
import type { Attributes } from '@opentelemetry/api';
import type { CallEvent, RunEvent, StepEvent } from '../../engine/diagnostics-events.js';

type Operation = CallEvent['kind'] | 'workflow' | StepEvent['kind'];

type Origin = Pick<CallEvent, 'executorId' | 'applicationVersion' | 'name'>;

export function callAttributes(event: CallEvent): Attributes {
  return {
    ...operation(event.kind, event),
    'dbos.queue.name': event.queue,
    ...(event.count > 1 && { 'dbos.operation.count': event.count }),
  };
}

export function runAttributes(event: RunEvent): Attributes {
  return {
    ...operation('workflow', event),
    'dbos.operation.workflow_id': event.workflowId,
    'dbos.workflow.epoch': event.epoch,
    'dbos.workflow.recovery_attempts': event.recoveryAttempts,
    'dbos.queue.name': event.queue,
  };
}

export function stepAttributes(event: StepEvent): Attributes {
  return {
    ...operation(event.kind, event),
    'dbos.operation.workflow_id': event.workflowId,
    'dbos.workflow.name': event.workflowName,
    'dbos.step.id': event.stepId,
  };
}

function operation(type: Operation, { name, executorId, applicationVersion }: Origin): Attributes {
  return {
    'dbos.operation.type': type,
    'dbos.operation.name': readable(name),
    'dbos.executor.id': executorId,
    'dbos.application.version': applicationVersion,
  };
}

/** `<operation> <name>`; what the library sends to itself has no name of its own. */
export function spanName(type: Operation, name: string): string {
  return isOwn(name) ? type : `${type} ${name}`;
}

function readable(name: string): string | undefined {
  return isOwn(name) ? undefined : name;
}

function isOwn(name: string): boolean {
  return name < ' ';
}

/** The class of an error, as OpenTelemetry's `error.type` wants it: of few kinds. */
export function errorType(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : error.name;
}
