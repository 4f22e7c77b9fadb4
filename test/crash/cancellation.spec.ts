// Cancelled and resumed again and again at random moments: what is recorded stays, and nothing recorded runs twice.
import { Injectable } from '@nestjs/common';
import { Workflow, WorkflowContext } from 'nestjs-dbos';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { randomFrom } from '../support/random.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

const SEED = Number(process.env['TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const LIFECYCLES = 30;
const MAX_CANCELS = 10;

@Injectable()
class Journey {
  /** Bodies that ran, by workflow and stage. */
  readonly bodies: string[] = [];

  constructor(private readonly flow: WorkflowContext) {}

  @Workflow()
  async run(stages: number): Promise<number> {
    let sum = 0;
    for (let stage = 0; stage < stages; stage += 1) {
      sum += await this.flow.step(`stage ${stage}`, async () => {
        this.bodies.push(`${this.flow.workflowId}/${stage}`);
        await new Promise((resolve) => setImmediate(resolve));
        return stage + 1;
      });
    }
    return sum;
  }
}

describe(`A workflow that is cancelled and resumed (TEST_SEED=${SEED})`, () => {
  let database: TestDatabase;
  let app: TestApp;
  const random = randomFrom(SEED);

  beforeAll(async () => {
    database = await createTestDatabase();
    app = await startTestApp({ url: database.url, providers: [Journey] });
  });

  afterAll(async () => {
    await app.close();
    await database.drop();
  });

  /** Some turns of the event loop, so that the next cancel meets it anywhere. */
  async function someTurns(): Promise<void> {
    for (let turns = Math.floor(random() * 12); turns > 0; turns -= 1) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async function recordedOf(id: string): Promise<string[]> {
    return (await app.workflows.steps(id)).map(({ stepId }) => stepId);
  }

  it('B15: keeps a prefix of its steps at every stop, repeats none of them, and comes to its result', async () => {
    const { bodies } = app.get(Journey);
    for (let life = 0; life < LIFECYCLES; life += 1) {
      const id = `journey-${life}`;
      const stages = 2 + Math.floor(random() * 4);
      const handle = await app.workflows.start(Journey, { workflowId: id }).run(stages);

      for (let cancels = Math.floor(random() * (MAX_CANCELS + 1)); cancels > 0; cancels -= 1) {
        await someTurns();
        const [cancelled] = await app.workflows.cancel(id);
        if (cancelled === undefined) break; // it had ended before
        const recorded = await recordedOf(id);
        expect(recorded).toEqual(recorded.map((_, position) => String(position)));
        const ran = bodies.length;
        await app.workflows.resume(id);
        await eventually(async () => expect((await handle.status()).status).not.toBe('ENQUEUED'));
        const again = bodies.slice(ran).filter((body) => body.startsWith(`${id}/`));
        expect(again.filter((body) => recorded.includes(body.slice(id.length + 1)))).toEqual([]);
      }

      expect(await handle.result()).toBe((stages * (stages + 1)) / 2);
      expect(await recordedOf(id)).toEqual(
        Array.from({ length: stages }, (_, stage) => String(stage)),
      );
    }
  });
});
