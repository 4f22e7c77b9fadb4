/** Why a workflow is where it is: as data, and in one sentence. */
import { WorkflowNotFoundError } from '../core/errors.js';
import { isTerminal, type WorkflowStatus } from '../core/status.js';
import type { ExplanationRepository, WorkflowFacts } from '../repository/explanation-repository.js';
import type { Activities, Activity, Awaited } from './activities.js';
import { sentenceOf } from './explanation-sentence.js';
import { reasonOfWaiting } from './explanation-of-waiting.js';
import type { AwaitedMessage, LastStepReport, WorkflowReason } from './explanation-reason.js';
import type { OutcomeCodec } from './outcome.js';
import { TOKEN_TOPIC as TOKEN } from './tokens.js';
import { REQUESTS } from './updates.js';

export interface WorkflowExplanation {
  readonly workflowId: string;
  readonly name: string;
  readonly status: WorkflowStatus;
  readonly reason: WorkflowReason;
  /** The reason for people, in one sentence. */
  readonly sentence: string;
  /** When this was so, by the database's clock. */
  readonly at: Date;
}

export interface ExplanationParts {
  readonly explanations: ExplanationRepository;
  readonly codec: OutcomeCodec;
  /** What the run of this workflow is doing, if it runs in this process. */
  readonly activitiesOf: (workflowId: string) => Activities | undefined;
}

/** @throws WorkflowNotFoundError */
export async function explainWorkflow(
  { explanations, codec, activitiesOf }: ExplanationParts,
  workflowId: string,
): Promise<WorkflowExplanation> {
  const facts = await explanations.facts(workflowId);
  if (!facts) throw new WorkflowNotFoundError(workflowId);
  const { name, status, error } = facts.workflow;
  const message = error && codec.serializers.decodeError(error).message;
  const reason = reasonOf(facts, message, activitiesOf(workflowId));
  const sentence = sentenceOf({ workflowId, name }, reason);
  return { workflowId, name, status, reason, sentence, at: facts.now };
}

function reasonOf(
  facts: WorkflowFacts,
  error: string | null,
  activities: Activities | undefined,
): WorkflowReason {
  const { status, recoveryAttempts, completedAt: at, updatedAt } = facts.workflow;
  switch (status) {
    case 'SUCCESS':
    case 'ERROR':
    case 'CANCELLED':
      return { kind: 'ended', outcome: status, at, error };
    case 'MAX_RECOVERY_ATTEMPTS_EXCEEDED':
      return { kind: 'dead-lettered', recoveryAttempts, at, error, lastStep: lastStepOf(facts) };
    case 'SUSPENDED':
      return { kind: 'suspended', difference: error ?? '', since: updatedAt };
    case 'DELAYED':
      return reasonOfDelayed(facts, error);
    case 'ENQUEUED':
      return reasonOfWaiting(facts);
    case 'PENDING':
      return reasonOfPending(facts, activities);
    default:
      return status satisfies never;
  }
}

function reasonOfDelayed(facts: WorkflowFacts, error: string | null): WorkflowReason {
  const { wakeAt, awaitedTopics, failures, epoch, isDebounced, updatedAt } = facts.workflow;
  if (wakeAt !== null && wakeAt <= facts.now) return reasonOfWaiting(facts); // due: to be claimed like others
  if (awaitedTopics.length > 0) {
    const messages = awaitedTopics.map(awaitedMessage);
    return { kind: 'waiting-for-message', messages, until: wakeAt, since: updatedAt };
  }
  const until = wakeAt ?? facts.now;
  if (error !== null) return { kind: 'retrying', until, failures, error };
  if (epoch === 0) return { kind: 'delayed', until, isDebounced };
  return { kind: 'sleeping', until };
}

function reasonOfPending(facts: WorkflowFacts, activities: Activities | undefined): WorkflowReason {
  const { owner, workflow, lastStep } = facts;
  const executorId = workflow.executorId ?? '';
  if (!owner || owner.isDead) {
    return {
      kind: 'owner-dead',
      executorId,
      lastHeartbeatAt: owner?.heartbeatAt ?? null,
      recoveryDueAt: owner?.recoveryDueAt ?? facts.now,
    };
  }
  const local = activities && reasonOfActivities(activities.list(), facts);
  if (local) return local;
  const { child } = lastStep ?? {};
  if (!activities && lastStep && child && !isTerminal(child.status)) {
    const { workflowId } = child;
    const since = lastStep.completedAt;
    return { kind: 'waiting-for-workflow', workflowId, since, isCertain: false };
  }
  const { hostname, pid } = owner;
  return { kind: 'running', executorId, host: { hostname, pid }, lastStep: lastStepOf(facts) };
}

/** What is at work counts before what waits; of that, what has begun first. */
function reasonOfActivities(
  activities: readonly Activity[],
  facts: WorkflowFacts,
): WorkflowReason | undefined {
  const activity = activities.find(({ report }) => !report.awaits) ?? activities[0];
  if (!activity) return undefined;
  const { stepId, name: stepName, startedAt, report } = activity;
  const since = new Date(facts.now.getTime() - (performance.now() - startedAt));
  if (report.awaits) return reasonOfAwaited(report.awaits, since);
  const executorId = facts.workflow.executorId ?? '';
  return { kind: 'running-step', stepId, stepName, attempt: report.attempts, since, executorId };
}

function reasonOfAwaited(awaited: Awaited, since: Date): WorkflowReason {
  switch (awaited.kind) {
    case 'workflow': {
      const { workflowId } = awaited;
      return { kind: 'waiting-for-workflow', workflowId, since, isCertain: true };
    }
    case 'message': {
      const messages = [awaitedMessage(awaited.topic)];
      return { kind: 'waiting-for-message', messages, until: moment(awaited.untilMs), since };
    }
    case 'event': {
      const { workflowId, key } = awaited;
      const until = moment(awaited.untilMs);
      return { kind: 'waiting-for-event', workflowId, key, until, since };
    }
    case 'moment':
      return { kind: 'sleeping', until: new Date(awaited.untilMs) };
    default:
      return awaited satisfies never;
  }
}

/** Topics of our own begin with a control character. */
function awaitedMessage(topic: string): AwaitedMessage {
  if (topic.startsWith(TOKEN)) return { kind: 'decision', stepId: topic.slice(TOKEN.length) };
  if (topic.startsWith(REQUESTS)) return { kind: 'update', topic: topic.slice(REQUESTS.length) };
  return { kind: 'message', topic };
}

function lastStepOf({ lastStep }: WorkflowFacts): LastStepReport | undefined {
  if (!lastStep) return undefined;
  const { stepId, name, completedAt } = lastStep;
  return { stepId, name, completedAt };
}

function moment(ms: number): Date | null {
  return ms === Infinity ? null : new Date(ms);
}
