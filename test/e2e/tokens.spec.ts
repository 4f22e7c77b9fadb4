// Tokens: whoever holds one decides something that a workflow waits for, once, and while it is good.
import { Injectable } from '@nestjs/common';
import { DbosTokensController, Workflow, WorkflowContext } from 'nestjs-dbos';
import request from 'supertest';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import type { DecisionToken } from '../../libs/dbos/src/engine/tokens.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { startTestApp, type TestApp } from '../support/test-app.js';
import {
  recordedBy,
  useTestEngines,
  type EngineScript,
  type TestEngine,
} from '../support/test-engine.js';

const engines = useTestEngines();

/** Gives out a token, and ends with what was decided. */
function asking(timeout?: `${number}d`): { script: EngineScript; tokens: string[] } {
  const tokens: string[] = [];
  const script: EngineScript = async (engine) => {
    const approval = await engine.tokens.create(timeout === undefined ? {} : { timeout });
    tokens.push(approval.token);
    return approval.wait();
  };
  return { script, tokens };
}

async function given(tokens: readonly string[], count = 1): Promise<string> {
  await eventually(() => expect(tokens).toHaveLength(count));
  return tokens.at(-1) ?? '';
}

const resolve = ({ engine }: TestEngine, token: string, value?: unknown): Promise<boolean> =>
  engine.tokens.decide('workflows.resolveToken', token, { value });

const reject = ({ engine }: TestEngine, token: string, reason?: string): Promise<boolean> =>
  engine.tokens.decide('workflows.rejectToken', token, { reason });

const code = ({ code: found }: { readonly code?: unknown }): unknown => found;

describe('A token', () => {
  it('is 32 random bytes that fit into a URL', async () => {
    const test = await engines.start();
    const all = new Set<string>();
    const handle = await test.begin(async ({ tokens }) => {
      for (let index = 0; index < 20; index += 1) all.add((await tokens.create()).token);
    });
    await handle.result();
    expect(all.size).toBe(20);
    for (const token of all) {
      expect(token).toMatch(/^[A-Za-z0-9_-]{43}$/);
      expect(Buffer.from(token, 'base64url')).toHaveLength(32);
    }
  });

  it('is nowhere in the database', async () => {
    const test = await engines.start();
    const { script, tokens } = asking();
    const handle = await test.begin(script);
    const token = await given(tokens);
    await resolve(test, token, 'yes');
    await handle.result();
    const rows = await test.prisma.$queryRaw<Array<{ row: string }>>`
      SELECT t::text AS row FROM dbos.tokens t UNION ALL SELECT s::text FROM dbos.steps s
       UNION ALL SELECT m::text FROM dbos.messages m UNION ALL SELECT w::text FROM dbos.workflows w`;
    expect(rows.length).toBeGreaterThan(3);
    expect(rows.filter(({ row }) => row.includes(token))).toEqual([]);
  });

  it('brings the value with which it is resolved', async () => {
    const test = await engines.start();
    const { script, tokens } = asking();
    const handle = await test.begin(script);
    expect(await resolve(test, await given(tokens), { by: 'Ada', at: new Date(0) })).toBe(true);
    expect(await handle.result()).toEqual({ by: 'Ada', at: new Date(0) });
  });

  it('may be resolved with nothing', async () => {
    const test = await engines.start();
    const { script, tokens } = asking();
    const handle = await test.begin(script);
    await resolve(test, await given(tokens));
    expect(await handle.result()).toBeUndefined();
  });

  it('brings the reason with which it is rejected', async () => {
    const test = await engines.start();
    const { script, tokens } = asking();
    const handle = await test.begin(script);
    expect(await reject(test, await given(tokens), 'too expensive')).toBe(true);
    await expect(handle.result()).rejects.toMatchObject({
      code: 'DBOS_TOKEN_REJECTED',
      reason: 'too expensive',
    });
  });

  it('decides once: of several decisions one counts, and the others are told so', async () => {
    const test = await engines.start();
    const { script, tokens } = asking();
    const handle = await test.begin(script);
    const token = await given(tokens);
    const decisions = await Promise.all([
      resolve(test, token, 'first'),
      resolve(test, token, 'second'),
      reject(test, token, 'third'),
    ]);
    expect(decisions.filter((decided) => decided)).toHaveLength(1);
    const outcome = await handle.result().catch(({ reason }: { reason: string }) => reason);
    expect(outcome).toBe(['first', 'second', 'third'][decisions.indexOf(true)]);
    expect(await reject(test, token, 'after the end')).toBe(false);
  });

  it('decides once although the answer to the decision was lost', async () => {
    const test = await engines.start();
    const { script, tokens } = asking();
    const handle = await test.begin(script);
    const token = await given(tokens);
    test.faults.loseAnswerOfNext('dbos.send_messages');
    await resolve(test, token, 'yes');
    expect(await handle.result()).toBe('yes');
  });

  it.each(['', 'short', 'x'.repeat(43), `${'x'.repeat(42)}=`, 'x'.repeat(10_000), null, 7])(
    'that nobody was given, like %j, is refused',
    async (token) => {
      const test = await engines.start();
      const { script, tokens } = asking();
      await test.begin(script);
      await given(tokens);
      expect(await resolve(test, token as string).catch(code)).toBe('DBOS_TOKEN_NOT_FOUND');
    },
  );

  it('that differs in its last character is refused', async () => {
    const test = await engines.start();
    const { script, tokens } = asking();
    await test.begin(script);
    const token = await given(tokens);
    const forged = token.slice(0, -1) + (token.endsWith('A') ? 'Q' : 'A');
    expect(await resolve(test, forged).catch(code)).toBe('DBOS_TOKEN_NOT_FOUND');
  });

  it('whose digest only begins alike is refused', async () => {
    const test = await engines.start();
    const { script, tokens } = asking();
    await test.begin(script);
    const token = await given(tokens);
    await test.prisma.$executeRaw`UPDATE dbos.tokens SET proof = reverse(proof)`;
    expect(await resolve(test, token).catch(code)).toBe('DBOS_TOKEN_NOT_FOUND');
  });

  it('of a deleted workflow is unknown', async () => {
    const test = await engines.start();
    const { script, tokens } = asking();
    const handle = await test.begin(script);
    const token = await given(tokens);
    await test.engine.cancel([handle.workflowId]);
    await test.prisma.$executeRaw`DELETE FROM dbos.workflows WHERE id = ${handle.workflowId}`;
    expect(await resolve(test, token).catch(code)).toBe('DBOS_TOKEN_NOT_FOUND');
  });

  it('expires with the wait for it', async () => {
    const test = await engines.start({ options: { parkAfterMs: 2 * 86_400_000 } });
    const { script, tokens } = asking('1d');
    const handle = await test.begin(script);
    const token = await given(tokens);
    await eventually(() =>
      expect([...(test.engine['parts'].arrivals['waiters'].get(handle.workflowId) ?? [])]).toEqual([
        expect.objectContaining({ wake: expect.anything() }),
      ]),
    );
    test.clock.advance(86_400_001);
    await expect(handle.result()).rejects.toMatchObject({ code: 'DBOS_TOKEN_EXPIRED' });
    // By the database's clock its day is not over: the workflow has decided that it is.
    expect(await resolve(test, token).catch(code)).toBe('DBOS_TOKEN_EXPIRED');
  });

  it('expires although nobody runs its workflow', async () => {
    const test = await engines.start();
    const { script, tokens } = asking('1d');
    await test.begin(script);
    const token = await given(tokens);
    await test.prisma.$executeRaw`UPDATE dbos.tokens SET expires_at = now()`;
    expect(await reject(test, token).catch(code)).toBe('DBOS_TOKEN_EXPIRED');
  });

  it('that was resolved in time is told so after it has expired', async () => {
    const test = await engines.start();
    const { script, tokens } = asking('1d');
    await test.begin(script);
    const token = await given(tokens);
    await resolve(test, token, 'yes');
    await test.prisma.$executeRaw`UPDATE dbos.tokens SET expires_at = now()`;
    expect(await resolve(test, token, 'yes')).toBe(false);
  });

  it('of a former run is as good as that of the present one', async () => {
    const test = await engines.start();
    const { script, tokens } = asking('1d');
    const { workflowId } = await test.begin(script);
    await given(tokens);
    await test.kill();
    const second = await engines.start({ scripts: { [workflowId]: script } });
    await given(tokens, 2);
    const [former, present] = tokens;
    expect(former).not.toBe(present);
    expect(await resolve(second, former ?? '', 'by the former')).toBe(true);
    expect(await resolve(second, present ?? '', 'by the present')).toBe(false);
    expect(await second.engine.handle(workflowId).result()).toBe('by the former');
  });

  it('has on a replay the end that it had', async () => {
    const test = await engines.start();
    const held = deferred<void>();
    const ends: unknown[] = [];
    const script: EngineScript = async ({ tokens, flow }) => {
      ends.push((await tokens.create({ timeout: '1d' })).expiresAt);
      await flow.step('held', () => held.promise);
    };
    const { workflowId } = await test.begin(script);
    await eventually(() => expect(ends).toHaveLength(1)); // its record is durable by then
    await test.kill();
    held.resolve();
    const second = await engines.start({ scripts: { [workflowId]: script } });
    await second.engine.handle(workflowId).result();
    expect(ends).toHaveLength(2);
    expect(ends[0]).toEqual(ends[1]);
  });

  it('of a workflow that is parked wakes it', async () => {
    const test = await engines.start({ options: { parkAfterMs: 0 } });
    const { script, tokens } = asking();
    const handle = await test.begin(script);
    const token = await given(tokens);
    await eventually(async () =>
      expect(await handle.status()).toMatchObject({ status: 'DELAYED', wakeAt: null }),
    );
    await resolve(test, token, 'wake up');
    expect(await handle.result()).toBe('wake up');
  });

  it('may be waited for twice', async () => {
    const test = await engines.start();
    const tokens: string[] = [];
    const handle = await test.begin(async (engine) => {
      const approval = await engine.tokens.create();
      tokens.push(approval.token);
      return Promise.all([approval.wait(), approval.wait()]);
    });
    await resolve(test, await given(tokens), 'yes');
    expect(await handle.result()).toEqual(['yes', 'yes']);
  });

  it('is one of several that a workflow waits for', async () => {
    const test = await engines.start();
    const tokens: string[] = [];
    const handle = await test.begin(async (engine) => {
      const both = [await engine.tokens.create(), await engine.tokens.create()];
      tokens.push(...both.map(({ token }) => token));
      return engine.flow.all(both.map((each) => () => each.wait()));
    });
    await given(tokens, 2);
    await resolve(test, tokens[1] ?? '', 'two');
    await resolve(test, tokens[0] ?? '', 'one');
    expect(await handle.result()).toEqual(['one', 'two']);
  });

  it('may be resolved by another workflow, once', async () => {
    const test = await engines.start();
    const { script, tokens } = asking();
    const asker = await test.begin(script);
    const token = await given(tokens);
    const decider = await test.begin(async () => [
      await resolve(test, token, 'yes'),
      await resolve(test, token, 'again'),
    ]);
    expect(await decider.result()).toEqual([true, false]);
    expect(await asker.result()).toBe('yes');
    expect(await recordedBy(test, decider.workflowId)).toEqual([
      '0 workflows.resolveToken',
      '1 workflows.resolveToken',
    ]);
  });

  it('of a run that was taken over is not given out', async () => {
    const test = await engines.start();
    const [held, creating] = [deferred<void>(), deferred<unknown>()];
    const { workflowId } = await test.begin(async ({ tokens }) => {
      await held.promise;
      await tokens.create().then(creating.resolve, (error) => creating.resolve(code(error)));
    });
    await test.prisma.$executeRaw`
      UPDATE dbos.workflows SET epoch = epoch + 1, executor_id = 'other' WHERE id = ${workflowId}`;
    held.resolve();
    expect(await creating.promise).toBe('DBOS_OWNERSHIP_LOST');
    expect(
      await test.prisma.$queryRaw`SELECT FROM dbos.tokens WHERE workflow_id = ${workflowId}`,
    ).toEqual([]);
  });
});

@Injectable()
class Approving {
  readonly tokens: string[] = [];

  constructor(private readonly flow: WorkflowContext) {}

  @Workflow()
  async run(): Promise<unknown> {
    const approval: DecisionToken<unknown> = await this.flow.createToken();
    this.tokens.push(approval.token);
    return approval.wait();
  }
}

describe('The controller for tokens', () => {
  let database: TestDatabase;
  let app: TestApp;

  beforeAll(async () => {
    database = await createTestDatabase();
    app = await startTestApp({
      url: database.url,
      providers: [Approving],
      controllers: [DbosTokensController],
    });
  });

  afterAll(async () => {
    await app.close();
    await database.drop();
  });

  async function ask(): Promise<{ token: string; result(): Promise<unknown> }> {
    const { tokens } = app.get(Approving);
    const count = tokens.length;
    const handle = await app.workflows.start(Approving).run();
    return { token: await given(tokens, count + 1), result: () => handle.result() };
  }

  const post = (path: string, body: object = {}): request.Test =>
    request(app.app.getHttpServer()).post(`/dbos/tokens/${path}`).send(body);

  it('resolves, and says whether that decided', async () => {
    const { token, result } = await ask();
    await post(`${token}/resolve`, { value: { by: 'Ada' } }).expect(200, { decided: true });
    await post(`${token}/resolve`, { value: { by: 'Eve' } }).expect(200, { decided: false });
    expect(await result()).toEqual({ by: 'Ada' });
  });

  it('rejects', async () => {
    const { token, result } = await ask();
    await post(`${token}/reject`, { reason: 'no' }).expect(200, { decided: true });
    await expect(result()).rejects.toMatchObject({ code: 'DBOS_TOKEN_REJECTED', reason: 'no' });
  });

  it('answers 404 for a token that nobody was given', async () => {
    expect((await post('nonsense/resolve')).status).toBe(404);
    expect((await post(`${'x'.repeat(43)}/reject`)).status).toBe(404);
  });

  it('answers 410 for one that has expired', async () => {
    const { token } = await ask();
    await app.prisma.$executeRaw`UPDATE dbos.tokens SET expires_at = now()`;
    expect((await post(`${token}/resolve`)).status).toBe(410);
  });
});
