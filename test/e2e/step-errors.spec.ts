// What a workflow sees of the error of a step: the same on the first run and on a replay.
import { thrownBy, useScriptedApps } from '../support/scripted-app.js';

class PaymentRefusedError extends Error {
  override readonly name = 'PaymentRefusedError';
  readonly code = 'CARD_EXPIRED';
  constructor(readonly cardId: string) {
    super(`Card ${cardId} has expired`, { cause: new TypeError('month is over') });
  }
}

/** What a workflow can see of an error. */
function seen(error: unknown): Record<string, unknown> {
  const { name, message, code, cardId, cause } = error as PaymentRefusedError;
  const { name: causeName, message: causeMessage } = (cause ?? {}) as Error;
  return { name, message, code, cardId, causeName, causeMessage };
}

const apps = useScriptedApps({ options: { errors: [PaymentRefusedError] } });

describe('The error of a step', () => {
  it('keeps name, message, code, cause and own fields, on first run and replay', async () => {
    const views: unknown[] = [];
    const { handle } = await apps.relive(async ({ flow, die }) => {
      const body = (): Promise<never> => Promise.reject(new PaymentRefusedError('4711'));
      views.push(seen(await thrownBy(() => flow.step('charge', body))));
      await die();
    });

    await handle.result();
    const expected = {
      name: 'PaymentRefusedError',
      message: 'Card 4711 has expired',
      code: 'CARD_EXPIRED',
      cardId: '4711',
      causeName: 'TypeError',
      causeMessage: 'month is over',
    };
    expect(views).toEqual([expected, expected]);
  });

  it('keeps its class on first run and replay when the application names it', async () => {
    const known: boolean[] = [];
    const { handle } = await apps.relive(async ({ flow, die }) => {
      const body = (): Promise<never> => Promise.reject(new PaymentRefusedError('4711'));
      const error = await thrownBy(() => flow.step('charge', body));
      known.push(error instanceof PaymentRefusedError);
      await die();
    });

    await handle.result();
    expect(known).toEqual([true, true]);
  });

  it('has no class on first run nor on replay when the application does not name it', async () => {
    class UnknownError extends Error {
      override readonly name = 'UnknownError';
    }
    const views: unknown[] = [];
    const { handle } = await apps.relive(async ({ flow, die }) => {
      const body = (): Promise<never> => Promise.reject(new UnknownError('who?'));
      const error = await thrownBy(() => flow.step('charge', body));
      views.push([error instanceof UnknownError, error instanceof Error, error.name]);
      await die();
    });

    await handle.result();
    expect(views).toEqual([
      [false, true, 'UnknownError'],
      [false, true, 'UnknownError'],
    ]);
  });

  it.each(['text', undefined, null, 42, { reason: 'none' }, Symbol('s')])(
    'shows the same on first run and replay when it throws %p',
    async (thrown) => {
      const views: unknown[] = [];
      const { handle } = await apps.relive(async ({ flow, die }) => {
        const error = await thrownBy(() =>
          flow.step('s', () => Promise.reject(thrown as unknown as Error)),
        );
        views.push([error instanceof Error, error.name, error.message, error.cause]);
        await die();
      });

      await handle.result();
      expect(views).toHaveLength(2);
      expect(views[1]).toEqual(views[0]);
    },
  );
});
