/** The public API. */
export * from './core/errors.js';
export * from './core/control-errors.js';
export * from './core/message-errors.js';
export * from './core/transaction-errors.js';
export * from './core/schedule-errors.js';
export {
  ValidationError,
  defineEvent,
  defineTopic,
  defineUpdate,
  type EventKey,
  type Schema,
  type Topic,
  type UpdateTopic,
  type ValidationIssue,
} from './core/schema.js';
export type { MissedTicks } from './core/schedule-ticks.js';
export * from './core/queue-errors.js';
export * from './core/stream-errors.js';
export type {
  DeduplicationPolicy,
  EnqueueOptions,
  PartitionLimits,
  QueueLimits,
  QueueOptions,
  RateLimit,
} from './core/queue.js';
export type { OpenTransaction, TransactionalOptions } from './core/open-transaction.js';
export type { Duration } from './core/duration.js';
export type { WorkflowStatus, TerminalStatus } from './core/status.js';
export {
  SerializerSet,
  type EncodedValue,
  type PayloadCodec,
  type Serializer,
} from './core/serialization/serializer.js';
export { createSuperjsonSerializer } from './core/serialization/superjson-serializer.js';
export type { CodecText } from './core/serialization/payload-codec.js';
export { aesGcmCodec, type AesGcmCodecOptions } from './core/serialization/aes-gcm-codec.js';
export { gzipCodec, type GzipCodecOptions } from './core/serialization/gzip-codec.js';
export type { CustomType } from './core/serialization/custom-type.js';
export * from './core/serialization/serialization-error.js';
export * from './core/archive-errors.js';
export * from './core/extension-errors.js';
export type { Redact } from './core/redaction.js';
export type { InterceptedStep, InterceptedWorkflow } from './engine/interceptors.js';
export { ContextCarrier, StepInterceptor, WorkflowInterceptor } from './nest/extensions.js';
export * from './prisma/migration-errors.js';
export { CheckpointRepository } from './repository/checkpoint-repository.js';
export type { StepContext } from './engine/run-scope.js';
export type { StepBody, StepOptions } from './engine/step.js';
export type { StepQuery, StepReport } from './engine/step-report.js';
export type { StartOptions } from './engine/starter.js';
export type { ScheduleReport } from './engine/schedule-report.js';
export type { AppliedSchedules, ScheduleListOptions } from './engine/schedules.js';
export type { RecoveryReport } from './engine/engine.js';
export type {
  ExportOptions,
  ImportOptions,
  ImportReport,
  WorkflowArchive,
} from './engine/archive.js';
export type { RemovedCounts, RetentionReport } from './engine/retention.js';
export type { KeepOptions, RetainedOutcome, RetentionOptions } from './engine/retention-rules.js';
export { WorkflowHandle, type ResultOptions } from './engine/handle.js';
export type { WorkflowEvent, WorkflowEventType } from './engine/lifecycle.js';
export type { WorkflowStatusReport } from './engine/status-report.js';
export { LiveValues, type LiveIterator } from './engine/live-values.js';
export type { ReadStreamOptions } from './engine/streams.js';
export type { GetEventOptions } from './engine/events.js';
export type { Update, UpdateOptions, UpdatesOptions } from './engine/updates.js';
export type { DecisionToken, TokenOptions } from './engine/tokens.js';
export type { RecvOptions, SendOptions } from './engine/messages.js';
export type {
  ActionOptions,
  FamilyOptions,
  ForkOptions,
  ForkReport,
  PlaceOptions,
  RestartOptions,
  ResumeOptions,
  WorkflowIds,
} from './engine/control-options.js';
export type {
  ActionKind,
  ActionRecord as WorkflowAction,
  VersionFilter,
} from './repository/control-repository.js';
export type { TimeLimitOptions } from './core/time-limit.js';
export type { DebounceOptions } from './engine/debouncer.js';
export type { QueueReport } from './engine/queues.js';
export type { ListedWorkflowReport, ListQuery, WorkflowPageReport } from './engine/listing.js';
export type { WorkflowQuery } from './engine/listing-filter.js';
export type { WorkflowExplanation } from './engine/explanation.js';
export type { AwaitedMessage, WorkflowReason } from './engine/explanation-reason.js';
export type { CountQuery, WorkflowCount, WorkflowCounts } from './engine/counting.js';
export type { StepCount, StepCountQuery, StepCounts } from './engine/step-counting.js';
export { DbosModule } from './nest/dbos.module.js';
export { DbosHealth, type DbosReadiness } from './nest/dbos-health.js';
export type { HealthProblem, HealthProblemCode } from './engine/health-assessment.js';
export type { DatabaseHealth, ProcessHealth } from './engine/health.js';
export type { HealthOptions } from './engine/engine-options.js';
export type { LoopReport } from './engine/loop.js';
export type { Hearing } from './repository/notifier.js';
export type { QueueBacklog } from './repository/queue-repository.js';
export type * from './engine/diagnostics-events.js';
export { DbosMetrics } from './nest/telemetry/dbos-metrics.js';
export { DbosMetricsController } from './nest/telemetry/dbos-metrics.controller.js';
export { DbosHealthController } from './nest/dbos-health.controller.js';
export { DbosTokensController, type TokenDecision } from './nest/dbos-tokens.controller.js';
export type { DbosModuleOptions, TransactionClientOptions } from './nest/dbos-options.js';
export { DBOS_OPTIONS } from './nest/dbos-options.js';
export {
  Step,
  Transaction,
  Workflow,
  type StepDecoratorOptions,
  type TransactionDecoratorOptions,
  type WorkflowDecoratorOptions,
} from './nest/decorators.js';
export { Scheduled, type ScheduledOptions } from './nest/scheduled.js';
export {
  ScheduleService,
  type NewSchedule,
  type ScheduledWorkflow,
  type ScheduleUpdate,
} from './nest/schedule.service.js';
export { Queue, type EnqueueItem, type EnqueuingMany } from './nest/queue.js';
export { InjectQueue, getQueueToken, type QueueAsyncOptions } from './nest/queue-module.js';
export type { TransactionalClient, TransactionOf } from './nest/transaction-of.js';
export { WorkflowContext, type WorkflowLogFields } from './nest/workflow-context.js';
export { WorkflowLogger } from './nest/workflow-logger.js';
export { WorkflowService } from './nest/workflow.service.js';
