/** What PostgreSQL knows of one workflow: `dbos.workflow_facts` gathers it, here its times become dates. */
import type {
  ExplanationRepository,
  PlaceFacts,
  RateFacts,
  WorkflowFacts,
} from '../repository/explanation-repository.js';
import type { Database } from './database.js';
import { SESSION_GRACE_MS } from './prisma-executor-repository.js';
import { limitsOf, type LimitColumns } from './queue-limits.js';
import { encoded } from './rows.js';

/** Nothing is counted beyond. */
const COUNT_LIMIT = 10_000;

/** JSON has no dates, and null where a record has nothing. */
type Json<T> = T extends Date
  ? string
  : T extends readonly (infer Item)[]
    ? ReadonlyArray<Json<Item>>
    : T extends object
      ? { readonly [Key in keyof T]: Json<T[Key]> }
      : T extends undefined
        ? null
        : T;

type FactsJson = Json<Omit<WorkflowFacts, 'workflow' | 'queue'>> & {
  readonly workflow: Json<Omit<WorkflowFacts['workflow'], 'error'>> & {
    readonly error: string | null;
    readonly outcomeSerialization: string | null;
  };
  readonly queue: (LimitColumns & { readonly paused: boolean }) | null;
};

export class PrismaExplanationRepository implements ExplanationRepository {
  constructor(private readonly database: Database) {}

  async facts(workflowId: string): Promise<WorkflowFacts | undefined> {
    const [row] = await this.database.query<{ facts: FactsJson | null }>(
      (client) => client.$queryRaw`
        SELECT facts FROM dbos.workflow_facts(${workflowId}, ${COUNT_LIMIT}::integer, ${SESSION_GRACE_MS}::integer) AS facts`,
    );
    return row?.facts ? workflowFacts(row.facts) : undefined;
  }
}

function workflowFacts(facts: FactsJson): WorkflowFacts {
  const { owner, lastStep, queue, place } = facts;
  return {
    now: new Date(facts.now),
    workflow: workflow(facts.workflow),
    owner: owner
      ? {
          ...owner,
          heartbeatAt: new Date(owner.heartbeatAt),
          recoveryDueAt: new Date(owner.recoveryDueAt),
        }
      : undefined,
    executors: facts.executors,
    queue: queue ? { paused: queue.paused, limits: limitsOf(queue) } : undefined,
    place: place ? placeFacts(place) : undefined,
    lastStep: lastStep
      ? {
          ...lastStep,
          completedAt: new Date(lastStep.completedAt),
          child: lastStep.child ?? undefined,
        }
      : undefined,
  };
}

function workflow({
  error,
  outcomeSerialization,
  ...row
}: FactsJson['workflow']): WorkflowFacts['workflow'] {
  return {
    ...row,
    error: encoded(error, outcomeSerialization),
    wakeAt: date(row.wakeAt),
    createdAt: new Date(row.createdAt),
    startedAt: date(row.startedAt),
    updatedAt: new Date(row.updatedAt),
    completedAt: date(row.completedAt),
  };
}

function placeFacts(place: Json<PlaceFacts>): PlaceFacts {
  return { ...place, rate: rate(place.rate), partitionRate: rate(place.partitionRate) };
}

function rate(facts: Json<RateFacts> | null): RateFacts | undefined {
  return facts ? { ...facts, until: new Date(facts.until) } : undefined;
}

function date(text: string | null): Date | null {
  return text === null ? null : new Date(text);
}
