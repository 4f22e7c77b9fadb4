import { SystemClock } from '../core/clock.js';
import { deferred } from '../core/deferred.js';
import { SILENT_LOGGER } from '../core/logger.js';
import { Watch } from './watch.js';

interface Question {
  readonly workflowId: string;
}

type Read = (questions: readonly Question[]) => Promise<Array<string | Error | undefined>>;

/** So long that it does not come round again within a test. */
const NEVER_MS = 1_000_000;

describe('A watch', () => {
  let watch: Watch<Question, string>;
  const start = (read: Read, intervalMs = NEVER_MS): Watch<Question, string> => {
    const clock = new SystemClock();
    watch = new Watch({ name: 'Watching', logger: SILENT_LOGGER, clock, intervalMs, read });
    watch.start();
    return watch;
  };
  afterEach(() => watch.stop());

  const ids = (questions: readonly Question[]) => questions.map(({ workflowId }) => workflowId);

  it('asks for all who have come in one turn at once, for at most 250', async () => {
    const asked: number[] = [];
    start(async (questions) => {
      asked.push(questions.length);
      return ids(questions);
    });
    const workflowIds = Array.from({ length: 600 }, (_, index) => `${index}`);
    const answers = workflowIds.map((workflowId) => watch.ask({ workflowId }).answer);
    expect(await Promise.all(answers)).toEqual(workflowIds);
    expect(asked).toEqual([250, 250, 100]);
    expect(watch.size).toBe(0);
  });

  it('asks once more only for those whom a change concerns', async () => {
    const asked: string[][] = [];
    const news = new Map<string, string>();
    start(async (questions) => {
      asked.push(ids(questions));
      return questions.map(({ workflowId }) => news.get(workflowId));
    });
    const [a] = ['a', 'b'].map((workflowId) => watch.ask({ workflowId }));
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    news.set('a', 'new');
    watch.changed('nobody waits for this');
    watch.changed('a');
    expect(await a?.answer).toBe('new');
    expect(asked).toEqual([['a', 'b'], ['a']]);
    expect(watch.size).toBe(1);
  });

  it('does not lose a change that comes while it is being answered', async () => {
    const [reading, answer] = [deferred<void>(), deferred<void>()];
    let reads = 0;
    start(async () => {
      reads += 1;
      if (reads > 1) return ['new'];
      reading.resolve();
      await answer.promise;
      return [undefined];
    });
    const waiting = watch.ask({ workflowId: 'a' });
    await reading.promise;
    watch.changed('a');
    answer.resolve();
    expect(await waiting.answer).toBe('new');
  });

  it('asks everybody again after an interval, also when others change all the time', async () => {
    let isNew = false;
    start(async (questions) => {
      setImmediate(() => watch.changed('busy'));
      return questions.map(({ workflowId }) =>
        isNew && workflowId === 'quiet' ? 'new' : undefined,
      );
    }, 5);
    watch.ask({ workflowId: 'busy' });
    const quiet = watch.ask({ workflowId: 'quiet' });
    setImmediate(() => (isNew = true));
    expect(await quiet.answer).toBe('new');
  });

  it('asks again after a failure, but for nobody who has left meanwhile', async () => {
    const asked: string[][] = [];
    let leave = (): void => undefined;
    start(async (questions) => {
      asked.push(ids(questions));
      if (asked.length > 1) return ids(questions);
      leave();
      throw new Error('no answer');
    }, 5);
    const waiting = watch.ask({ workflowId: 'stays' });
    leave = watch.ask({ workflowId: 'leaves' }).cancel;
    expect(await waiting.answer).toBe('stays');
    expect(asked).toEqual([['stays', 'leaves'], ['stays']]);
  });

  it('tells those who wait of the end, and those who come after it', async () => {
    start(async (questions) => questions.map(() => undefined));
    const before = watch.ask({ workflowId: 'a' });
    watch.failAll(new Error('shut down'));
    const after = watch.ask({ workflowId: 'a' });
    await expect(before.answer).rejects.toThrow('shut down');
    await expect(after.answer).rejects.toThrow('shut down');
    expect(watch.size).toBe(0);
  });
});
