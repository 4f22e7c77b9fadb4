// Chooses the server of a test run: DATABASE_URL if set, else an embedded one with settings for speed.
import { fileURLToPath } from 'node:url';
import { EmbeddedPostgres } from '../../libs/embedded-postgres/src/index.js';

export interface TestServer {
  readonly adminUrl: string;
  /** True when only test runs use the server, so that what a killed run has left behind may be removed. */
  readonly ours: boolean;
  /** Stops a server that is ours, unless another test run is using it at this moment. */
  release(): Promise<void>;
}

export async function startTestServer(): Promise<TestServer> {
  const given = process.env['DATABASE_URL'];
  return given ? foreignServer(given) : embeddedServer();
}

function foreignServer(adminUrl: string): TestServer {
  return { adminUrl, ours: false, release: () => Promise.resolve() };
}

async function embeddedServer(): Promise<TestServer> {
  const server = await EmbeddedPostgres.start({
    directory: fileURLToPath(new URL('../../.postgres/test', import.meta.url)),
    settings: {
      // Nothing here has to survive a loss of power.
      fsync: 'off',
      synchronous_commit: 'off',
      full_page_writes: 'off',
      max_connections: 300,
      track_activities: 'on',
    },
    // Counts the statements that reach the server, for the statement budget tests.
    preload: ['pg_stat_statements'],
  });
  return {
    adminUrl: server.url('postgres'),
    ours: true,
    release: async () => {
      await server.stop({ onlyIfUnused: true });
    },
  };
}
