/** What is run when: schedules, the ticks of them that are due, and the workflows that these become. */
import type { MissedTicks } from '../core/schedule-ticks.js';
import type { EncodedValue } from '../core/serialization/serializer.js';

/** What is run, and when. */
export interface ScheduleDefinition {
  readonly workflowName: string;
  readonly cron: string;
  readonly timeZone: string;
  readonly backfill: MissedTicks;
  readonly queue: string | null;
  /** What the workflow gets besides the tick. */
  readonly input: EncodedValue | null;
  /** How long each workflow may take, from its claim on. */
  readonly timeoutMs: number | null;
}

export interface NewSchedule {
  readonly name: string;
  readonly definition: ScheduleDefinition;
  /** Its first tick, where it has none yet or has had those of another timetable. */
  readonly nextTickAt: Date | undefined;
}

/** A schedule as it stands in the database. */
export interface ScheduleRecord {
  readonly name: string;
  readonly definition: ScheduleDefinition;
  /** By the code; others are made at run time. */
  readonly declared: boolean;
  readonly setName: string | null;
  readonly paused: boolean;
  /** Since when the code declares it no more. */
  readonly retiredAt: Date | null;
  /** Goes up with every change of the definition. */
  readonly revision: number;
  readonly nextTickAt: Date | null;
  readonly lastTickAt: Date | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface Resumption {
  readonly name: string;
  /** As it was when the next tick was determined. */
  readonly revision: number;
  readonly nextTickAt: Date | undefined;
}

export interface Declaration {
  readonly schedules: readonly NewSchedule[];
  /** The workflows of this application: a schedule of theirs that was declared and is no more is retired. */
  readonly workflowNames: readonly string[];
}

export interface AppliedSet {
  /**
   * Names that belong to schedules outside of the set. Then nothing was written; but for the others of the set, where
   * such a name was taken at this very moment.
   */
  readonly taken: readonly string[];
  readonly deleted: readonly string[];
}

export interface DueSearch {
  /** Only schedules of these workflows. */
  readonly workflowNames: readonly string[];
  readonly except: readonly string[];
  readonly limit: number;
}

export interface DueSchedule extends Pick<ScheduleRecord, 'name' | 'definition' | 'revision'> {
  readonly nextTickAt: Date;
}

export interface DueSchedules {
  readonly databaseNow: Date;
  /** The most overdue first. */
  readonly due: readonly DueSchedule[];
  /** Milliseconds until the first tick that is not due yet, by the database's clock; null when there is none. */
  readonly nextDueInMs: number | null;
}

/** A workflow that a schedule starts. */
export interface ScheduledRun {
  readonly id: string;
  /** Of the workflow, as it is stored: which version of it is run, the process that fires the tick decides. */
  readonly workflowName: string;
  readonly input: EncodedValue;
}

export interface Firing {
  readonly name: string;
  /** As they were when the ticks were determined: whoever comes later than another changes nothing. */
  readonly revision: number;
  readonly expectedTickAt: Date;
  readonly nextTickAt: Date | undefined;
  /** The last tick of those that are fired, if any is. */
  readonly lastTickAt: Date | undefined;
  readonly runs: readonly ScheduledRun[];
}

export interface Enqueueing {
  readonly name: string;
  readonly runs: readonly ScheduledRun[];
}

export interface ScheduleRepository {
  /** Writes the schedule; `false` when there is one of this name. */
  create(schedule: NewSchedule): Promise<boolean>;

  find(name: string): Promise<{ schedule: ScheduleRecord; databaseNow: Date } | undefined>;

  /** In the order of their names, from the first one after `after`. */
  list(page: { readonly after: string; readonly limit: number }): Promise<ScheduleRecord[]>;

  /** Gives the schedule another definition; `false` when it is at another revision than this. */
  change(schedule: NewSchedule & { readonly revision: number }): Promise<boolean>;

  /** `false` when there is none of this name. */
  pause(name: string): Promise<boolean>;

  /** Lets a paused schedule go on with this tick; `false` when it is at another revision, or not paused. */
  resume(resumption: Resumption): Promise<boolean>;

  /** `false` when there is none of this name. */
  delete(name: string): Promise<boolean>;

  /** Makes these the schedules of the set, and deletes what else was in it. Pauses stay, and so do unchanged ticks. */
  applySet(setName: string, schedules: readonly NewSchedule[]): Promise<AppliedSet>;

  /** Writes what the code declares. Pauses stay, and so do unchanged ticks. Returns the names of those it retired. */
  declare(declaration: Declaration): Promise<string[]>;

  /** Looks which schedules have a tick that the database's clock has passed. */
  due(search: DueSearch): Promise<DueSchedules>;

  /**
   * Fires ticks: moves each schedule on from the expected tick, unless somebody else has, and enqueues the workflows,
   * without a version of the application, except under ids that are taken. Returns the names of the schedules it moved. Never retried by itself: whether it
   * has happened, the next look will tell.
   */
  fire(firings: readonly Firing[]): Promise<string[]>;

  /** Enqueues workflows of a schedule without moving it; `false` when there is none of this name. */
  enqueue(enqueueing: Enqueueing): Promise<boolean>;
}
