// A way to the database on which no notification comes through, as through a pooler in transaction mode.
import net from 'node:net';
import { messageFilter } from './message-filter.js';

export interface DeafProxy {
  /** The given connection string, through the proxy. */
  url(direct: string): string;
  /** Connections that were made through it so far. */
  readonly accepted: number;
  close(): Promise<void>;
}

/** "NotificationResponse" (PostgreSQL manual, "Message Formats"). */
const NOTIFICATION = 'A'.charCodeAt(0);

export async function startDeafProxy(direct: string): Promise<DeafProxy> {
  const { hostname, port } = new URL(direct);
  const sockets = new Set<net.Socket>();
  let accepted = 0;
  const server = net.createServer((client) => {
    accepted += 1;
    const upstream = net.connect(Number(port), hostname);
    const withoutNotifications = messageFilter((message) => {
      if (message[0] !== NOTIFICATION) client.write(message);
    });
    client.pipe(upstream);
    upstream.on('data', withoutNotifications);
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => other.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port: own } = server.address() as net.AddressInfo;
  return {
    get accepted() {
      return accepted;
    },
    url: (given) => {
      const url = new URL(given);
      url.hostname = '127.0.0.1';
      url.port = String(own);
      return url.href;
    },
    close: async () => {
      sockets.forEach((socket) => socket.destroy());
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
