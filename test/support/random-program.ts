// Random workflows for property tests: a program is data, its interpreter a workflow, its expected result a function
// that knows nothing of the library.
import { Inject, Injectable } from '@nestjs/common';
import * as fc from 'fast-check';
import { Workflow, WorkflowContext, WorkflowService } from 'nestjs-dbos';

export type Operation =
  /** A step that fails `failures` times before it succeeds, if `maxRetries` lets it. */
  | { readonly kind: 'step'; readonly failures: number; readonly maxRetries: number }
  | { readonly kind: 'sleep'; readonly ms: number }
  /** Steps that begin together. */
  | { readonly kind: 'together'; readonly count: number }
  | { readonly kind: 'all'; readonly branches: readonly Program[] }
  | { readonly kind: 'map'; readonly items: readonly Program[]; readonly concurrency: number }
  | { readonly kind: 'child'; readonly program: Program };

export type Program = readonly Operation[];

/** Plain objects, as an application would hand over. */
const PLAIN = { noNullPrototype: true } as const;

const oneStep = fc.record(
  {
    kind: fc.constant('step' as const),
    failures: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat(2)),
    maxRetries: fc.nat(2),
  },
  PLAIN,
);

const oneSleep = fc.record({ kind: fc.constant('sleep' as const), ms: fc.nat(8) }, PLAIN);

const stepsTogether = fc.record(
  { kind: fc.constant('together' as const), count: fc.integer({ min: 2, max: 4 }) },
  PLAIN,
);

const allOf = (branches: fc.Arbitrary<Program[]>) =>
  fc.record({ kind: fc.constant('all' as const), branches }, PLAIN);

const mapOver = (items: fc.Arbitrary<Program[]>) =>
  fc.record(
    { kind: fc.constant('map' as const), items, concurrency: fc.integer({ min: 1, max: 3 }) },
    PLAIN,
  );

const childWith = (program: fc.Arbitrary<Program>) =>
  fc.record({ kind: fc.constant('child' as const), program }, PLAIN);

/** Programs of bounded depth and length. */
export const programs: fc.Arbitrary<Program> = fc.letrec<{ program: Program }>((tie) => {
  const nested = fc.array(tie('program'), { minLength: 1, maxLength: 2 });
  const operation: fc.Arbitrary<Operation> = fc.oneof(
    { maxDepth: 2 },
    { weight: 6, arbitrary: oneStep },
    { weight: 1, arbitrary: oneSleep },
    { weight: 1, arbitrary: stepsTogether },
    { weight: 2, arbitrary: allOf(nested) },
    { weight: 1, arbitrary: mapOver(nested) },
    { weight: 2, arbitrary: childWith(tie('program')) },
  );
  return {
    program: fc.array(operation, { minLength: 2, maxLength: 4, depthIdentifier: 'program' }),
  };
}).program;

/** What the workflow returns: one entry for each operation, named by its place in the program. */
export type Result = string | readonly Result[];

/** What a run of the program must return, with crashes or without. */
export function expectedResult(program: Program, path = ''): Result[] {
  return program.map((operation, index) => {
    const place = `${path}/${index}`;
    switch (operation.kind) {
      case 'step':
        return operation.failures <= operation.maxRetries ? `did ${place}` : `failed ${place}`;
      case 'sleep':
        return 'slept';
      case 'together':
        return Array.from({ length: operation.count }, (_, step) => `did ${place}+${step}`);
      case 'all':
        return operation.branches.map((branch, at) => expectedResult(branch, `${place}.${at}`));
      case 'map':
        return operation.items.map((item, at) => expectedResult(item, `${place}.${at}`));
      case 'child':
        return expectedResult(operation.program, `${place}>`);
      default:
        return operation satisfies never;
    }
  });
}

/** How many workflows a run of the program makes: itself and a child for each such operation. */
export function expectedWorkflows(program: Program): number {
  const inside = (nested: readonly Program[]): number =>
    nested.reduce((sum, inner) => sum + expectedWorkflows(inner) - 1, 0);
  return program.reduce((sum, operation) => {
    switch (operation.kind) {
      case 'all':
        return sum + inside(operation.branches);
      case 'map':
        return sum + inside(operation.items);
      case 'child':
        return sum + expectedWorkflows(operation.program);
      default:
        return sum;
    }
  }, 1);
}

/** Where bodies leave word of having run. */
export abstract class Traces {
  /** A body that will succeed (or fail for good) has begun its work. */
  abstract leave(workflowId: string, place: string): void | Promise<void>;
}

@Injectable()
export class RandomProgram {
  constructor(
    private readonly flow: WorkflowContext,
    private readonly workflows: WorkflowService,
    @Inject(Traces) private readonly traces: Traces,
  ) {}

  @Workflow({ name: 'RandomProgram', maxRecoveryAttempts: Infinity })
  run(program: Program, path: string): Promise<Result[]> {
    return this.interpret(program, path);
  }

  private async interpret(program: Program, path: string): Promise<Result[]> {
    const results: Result[] = [];
    for (const [index, operation] of program.entries()) {
      results.push(await this.carryOut(operation, `${path}/${index}`));
    }
    return results;
  }

  private async carryOut(operation: Operation, place: string): Promise<Result> {
    switch (operation.kind) {
      case 'step':
        return this.step(place, operation).catch(() => `failed ${place}`);
      case 'sleep':
        await this.flow.sleep(operation.ms);
        return 'slept';
      case 'together':
        return Promise.all(
          Array.from({ length: operation.count }, (_, step) => this.step(`${place}+${step}`)),
        );
      case 'all':
        return this.flow.all(
          operation.branches.map((branch, at) => () => this.interpret(branch, `${place}.${at}`)),
        );
      case 'map':
        return this.flow.map(
          operation.items,
          (item, at) => this.interpret(item, `${place}.${at}`),
          {
            concurrency: operation.concurrency,
          },
        );
      case 'child':
        return this.workflows.execute(RandomProgram).run(operation.program, `${place}>`);
      default:
        return operation satisfies never;
    }
  }

  /** Only the attempt that decides the outcome leaves word: those before it may be repeated after a crash. */
  private step(place: string, { failures, maxRetries } = { failures: 0, maxRetries: 0 }) {
    return this.flow.step(
      place,
      async ({ attempt, workflowId }) => {
        const decides = attempt > Math.min(failures, maxRetries);
        if (decides) await this.traces.leave(workflowId, place);
        if (attempt <= failures) throw new Error(`attempt ${attempt} of ${place}`);
        return `did ${place}`;
      },
      { maxRetries, baseIntervalMs: 1 },
    );
  }
}
