// Finds a free port on loopback: the one the server had last time, if it still is free.
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';

export const LOOPBACK = '127.0.0.1';

/** The port is kept in a file, so that a connection string noted by a user stays right over restarts. */
export async function findPort(file: string): Promise<number> {
  const last = Number(await readFile(file, 'utf8').catch(() => ''));
  if (last > 0 && (await listenBriefly(last)) !== undefined) return last;
  const port = await listenBriefly(0);
  if (port === undefined) throw new Error(`No free port on ${LOOPBACK}`);
  await writeFile(file, String(port));
  return port;
}

/** The port that could be listened on; undefined when it is taken. */
async function listenBriefly(wanted: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(wanted, LOOPBACK, () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
