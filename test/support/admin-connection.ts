// A short connection to the test server for statements on databases, which cannot run inside the databases themselves.
import pg from 'pg';

export async function withAdmin<T>(
  adminUrl: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = await connectAdmin(adminUrl, 'dbos-test-admin');
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

export async function connectAdmin(adminUrl: string, applicationName: string): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: adminUrl,
    application_name: applicationName,
    connectionTimeoutMillis: 60_000, // a server that copies eight databases takes its time to let anybody in
  });
  // Without a listener the loss of an idle connection would end the process; a statement reports it anyway.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}
