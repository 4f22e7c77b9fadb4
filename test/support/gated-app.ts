// A test application whose statements can be stopped at the door.
import type { PrismaClientLike } from '../../libs/dbos/src/prisma/prisma-client.js';
import { StatementGates } from './statement-gates.js';
import { PRISMA, startTestApp, type TestApp, type TestAppSettings } from './test-app.js';

const GATED = 'GatedPrisma';

export interface GatedApp extends TestApp {
  readonly gates: StatementGates;
}

export async function startGatedApp(settings: TestAppSettings): Promise<GatedApp> {
  const gates = new StatementGates();
  const gated = {
    provide: GATED,
    inject: [PRISMA],
    useFactory: (client: PrismaClientLike) => gates.wrap(client),
  };
  const app = await startTestApp({
    ...settings,
    providers: [...(settings.providers ?? []), gated],
    options: { ...settings.options, prisma: GATED },
  });
  return { ...app, gates };
}
