// Who may ask what over HTTP: probes are open and tell a status, the rest is closed but for those whom a guard lets in.
import { Injectable, type CanActivate, type ExecutionContext, type Type } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import {
  DbosHealthController,
  DbosHealthDetailsController,
  DbosMetricsController,
  DbosModule,
  DbosTokensController,
} from 'nestjs-dbos';
import { DbosHealthIndicator } from 'nestjs-dbos/terminus';
import request from 'supertest';
import { NestApps, type NestApp, type NestAppSettings } from '../support/nest-app.js';
import { thrownBy } from '../support/scripted-app.js';

const DETAILS = ['/dbos/metrics', '/dbos/health/details'] as const;

@Injectable()
class Secret {
  readonly word = 'open sesame';
}

@Injectable()
class SecretGuard implements CanActivate {
  constructor(private readonly secret: Secret) {}

  canActivate(context: ExecutionContext): boolean {
    const { headers } = context.switchToHttp().getRequest<{ headers: Record<string, unknown> }>();
    return headers['authorization'] === this.secret.word;
  }
}

class OwnMetricsController extends DbosMetricsController {}

let apps: NestApps;
const environment = process.env['NODE_ENV'];

beforeAll(async () => {
  apps = await NestApps.open();
});
afterEach(async () => {
  process.env['NODE_ENV'] = environment;
  await apps.endAll();
});
afterAll(() => apps.close());

function create(settings: Partial<NestAppSettings> = {}): Promise<NestApp> {
  return apps.create({
    after: [DbosModule.registerQueue({ name: 'confidential' })],
    controllers: [DbosHealthController, DbosHealthDetailsController, DbosMetricsController],
    ...settings,
  });
}

async function start(settings: Partial<NestAppSettings> = {}): Promise<NestApp> {
  const nestApp = await create(settings);
  await nestApp.app.init();
  return nestApp;
}

function get({ app }: NestApp, path: string): request.Test {
  return request(app.getHttpServer() as Parameters<typeof request>[0]).get(path);
}

const guarded = {
  providers: [Secret, SecretGuard],
  options: { endpoints: { guard: SecretGuard } },
};

/** Figures, and no name. */
const NOTHING_FOUND = {
  phase: expect.any(String) as string,
  found: 0,
  replaying: 0,
  recovered: 0,
  failed: 0,
  setAside: 0,
};

describe('Without a guard', () => {
  it.each(DETAILS)('%s is closed, and says what is missing', async (path) => {
    const { body } = await get(await start(), path).expect(403);
    expect(body.message).toContain('endpoints.guard');
  });

  it('probes are answered with no more than the status and the counts of recovery', async () => {
    const nestApp = await start();
    expect((await get(nestApp, '/dbos/health/live').expect(200)).body).toEqual({ alive: true });
    expect((await get(nestApp, '/dbos/health/ready').expect(200)).body).toEqual({
      ready: true,
      problems: [],
      recovery: NOTHING_FOUND,
    });
  });

  it.each<[Type]>([[DbosMetricsController], [DbosHealthDetailsController], [OwnMetricsController]])(
    'no application with %p starts in production',
    async (controller) => {
      const nestApp = await create({ controllers: [controller], options: { migrate: false } });
      process.env['NODE_ENV'] = 'production';
      expect(await thrownBy(() => nestApp.app.init())).toMatchObject({
        code: 'DBOS_UNGUARDED_ENDPOINTS',
        controllers: [controller.name],
        message: expect.stringContaining('endpoints: { guard: YourGuard }') as string,
      });
    },
  );

  it('probes and tokens may be mounted in production', async () => {
    process.env['NODE_ENV'] = 'production';
    const controllers = [DbosHealthController, DbosTokensController];
    expect((await get(await start({ controllers }), '/dbos/health/ready')).status).toBe(200);
  });
});

describe('With a guard', () => {
  it.each(DETAILS)('%s is for those whom it lets in', async (path) => {
    process.env['NODE_ENV'] = 'production';
    const nestApp = await start(guarded);
    await get(nestApp, path).expect(403);
    await get(nestApp, path).set('authorization', 'admin').expect(403);
    const { text } = await get(nestApp, path).set('authorization', 'open sesame').expect(200);
    expect(text).toContain('confidential');
  });

  it('that nobody provides it is made, where it can be', async () => {
    @Injectable()
    class Closed implements CanActivate {
      canActivate(): Promise<boolean> {
        return Promise.resolve(false);
      }
    }
    const nestApp = await start({ options: { endpoints: { guard: Closed } } });
    expect((await get(nestApp, DETAILS[0])).status).toBe(403);
  });

  it('that can be neither found nor made the application does not start, and says so', async () => {
    const nestApp = await create({ options: { endpoints: { guard: SecretGuard } } });
    expect(await thrownBy(() => nestApp.app.init())).toMatchObject({
      code: 'DBOS_REGISTRATION',
      message: expect.stringContaining('SecretGuard') as string,
    });
  });

  it('a subclass of a controller is closed as well', async () => {
    const nestApp = await start({ ...guarded, controllers: [OwnMetricsController] });
    expect((await get(nestApp, '/dbos/metrics')).status).toBe(403);
  });
});

describe('Terminus', () => {
  it('is told no more than that, unless it asks for the details', async () => {
    const nestApp = await start({
      before: [TerminusModule],
      providers: [DbosHealthIndicator],
      options: { health: { databaseMs: 0 } },
    });
    const dbos = nestApp.app.get(DbosHealthIndicator);
    expect(await dbos.isHealthy('dbos')).toEqual({
      dbos: {
        status: expect.any(String) as string,
        problems: ['database-slow'],
        recovery: NOTHING_FOUND,
      },
    });
    expect(await dbos.isHealthy('dbos', { details: true })).toMatchObject({
      dbos: { executor: { id: expect.any(String) as string } },
    });
  });
});
