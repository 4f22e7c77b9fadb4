/** The reason why a workflow is where it is, as a sentence. */
import type { Place } from './explanation-of-waiting.js';
import type { AwaitedMessage, LastStepReport, WorkflowReason } from './explanation-reason.js';

interface Subject {
  readonly workflowId: string;
  readonly name: string;
}

type Reason<Kind extends WorkflowReason['kind']> = Extract<WorkflowReason, { readonly kind: Kind }>;

type Sentences = {
  readonly [Kind in WorkflowReason['kind']]: (reason: Reason<Kind>, subject: Subject) => string;
};

/** Each goes on after `Workflow "…" (name) `. */
const SENTENCES: Sentences = {
  ended: ({ outcome, at, error }) =>
    `${ENDINGS[outcome]}${at ? ` at ${time(at)}` : ''}${error === null ? '' : `: ${error}`}`,
  'dead-lettered': ({ recoveryAttempts, error, lastStep }) =>
    `was set aside after ${times(recoveryAttempts, 'recovery', 'recoveries')}${after(lastStep)}` +
    `${error === null ? '' : ` (${error})`}; find out why its executor dies, then resume it`,
  suspended: ({ difference, since }) =>
    `is suspended since ${time(since)}, for its code does not match its history (${difference}); ` +
    'deploy code that does, or resume it',
  'waiting-for-message': ({ messages, until }) =>
    `waits for ${messages.map(message).join(' or ')}${limit(until)}`,
  'waiting-for-workflow': ({ workflowId, since, isCertain }) =>
    `${isCertain ? 'waits' : 'seems to wait'} for workflow "${workflowId}" since ${time(since)}`,
  'waiting-for-event': ({ workflowId, key, until }) =>
    `waits for event "${key}" of workflow "${workflowId}"${limit(until)}`,
  sleeping: ({ until }) => `sleeps until ${time(until)}`,
  delayed: ({ until, isDebounced }) =>
    `begins at ${time(until)}${isDebounced ? ', or later if it is put off again' : ', as it was enqueued'}`,
  retrying: ({ until, failures, error }) =>
    `has failed ${times(failures, 'time', 'times')} and is run again at ${time(until)}` +
    (error === null ? '' : `; last: ${error}`),
  'owner-dead': ({ executorId, recoveryDueAt }) =>
    `belongs to executor "${executorId}", which is dead; others take it over by ${time(recoveryDueAt)}`,
  'running-step': ({ stepName, stepId, attempt, since }) =>
    `runs step ${stepId} "${stepName}" since ${time(since)} (attempt ${attempt})`,
  running: ({ executorId, host, lastStep }) =>
    `runs on executor "${executorId}"${host ? ` (pid ${host.pid} on ${host.hostname})` : ''}${after(lastStep)}`,
  'no-executor': (reason, subject) =>
    `waits ${where(reason)}, but ${missing(reason, subject.name)} (${times(reason.executorsAlive, 'executor', 'executors')} alive)` +
    remedy(reason, subject),
  'queue-paused': (reason) => `waits ${where(reason)}, which is paused`,
  'queue-full': (reason) =>
    `waits ${where(reason)}, which has ${reason.atWork} at work and may have ${reason.allowed} (${reason.limit})`,
  'rate-limited': (reason) =>
    `waits ${where(reason)}, which has used up its ${times(reason.allowed, 'claim', 'claims')} in ${reason.periodMs} ms ` +
    `(${reason.limit}) until ${time(reason.until)}`,
  'waiting-for-turn': (reason) =>
    `waits ${where(reason)} for a free slot (${times(reason.executorsAlive, 'executor', 'executors')} alive)`,
};

const ENDINGS: Readonly<Record<Reason<'ended'>['outcome'], string>> = {
  SUCCESS: 'ended well',
  ERROR: 'failed',
  CANCELLED: 'was cancelled',
};

export function sentenceOf<Kind extends WorkflowReason['kind']>(
  subject: Subject,
  reason: Reason<Kind>,
): string {
  const sentence = SENTENCES[reason.kind] as (reason: Reason<Kind>, subject: Subject) => string;
  return `Workflow "${subject.workflowId}" (${subject.name}) ${sentence(reason, subject)}.`;
}

function missing({ missing: what, queue, version }: Reason<'no-executor'>, name: string): string {
  switch (what) {
    case 'executor':
      return 'no process is alive that runs workflows';
    case 'workflow':
      return `no live executor registers "${name}"`;
    case 'version':
      return `no live executor that registers "${name}" may run version "${version ?? ''}" of the application`;
    case 'queue':
      return `no live executor that registers "${name}" listens to queue "${queue ?? ''}"`;
    default:
      return what satisfies never;
  }
}

function remedy(
  { missing: what, version }: Reason<'no-executor'>,
  { workflowId }: Subject,
): string {
  if (what !== 'version') return '';
  return (
    `; start a process of that version or one with compatibleVersions: ['${version ?? ''}'], or move it: ` +
    `workflows.setVersion('${workflowId}', '…')`
  );
}

function where({ queue, partitionKey, position }: Place): string {
  const line = queue === null ? 'to be taken up' : `on queue "${queue}"`;
  return `as number ${position} ${line}${partitionKey === null ? '' : ` in partition "${partitionKey}"`}`;
}

function message(awaited: AwaitedMessage): string {
  switch (awaited.kind) {
    case 'message':
      return awaited.topic === ''
        ? 'a message without a topic'
        : `a message on topic "${awaited.topic}"`;
    case 'decision':
      return `the decision of the token that step ${awaited.stepId} gave out`;
    case 'update':
      return `an update "${awaited.topic}"`;
    default:
      return awaited satisfies never;
  }
}

function after(lastStep: LastStepReport | undefined): string {
  if (!lastStep) return ', before its first step was recorded';
  return `, after step ${lastStep.stepId} "${lastStep.name}" of ${time(lastStep.completedAt)}`;
}

function limit(until: Date | null): string {
  return until ? ` until ${time(until)}` : ', as long as it takes';
}

function times(count: number, one: string, more: string): string {
  return `${count} ${count === 1 ? one : more}`;
}

function time(moment: Date): string {
  return moment.toISOString();
}
