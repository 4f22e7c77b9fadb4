// The way of one process to the database, and what can go wrong on it.
import net from 'node:net';
import { messageFilter } from '../support/message-filter.js';

/** Letters that PostgreSQL's messages begin with (manual, "Message Formats"). */
const NOTIFICATION = 'A'.charCodeAt(0);
const COMMAND_COMPLETE = 'C'.charCodeAt(0);

interface Line {
  readonly client: net.Socket;
  readonly server: net.Socket;
}

export class ChaosProxy {
  private readonly lines = new Set<Line>();
  private listener: net.Server | undefined;
  /** What is on now. */
  private refuses = false;
  private isHole = false;
  private isDeaf = false;
  private delayMs = 0;
  private acknowledgementsToDrop = 0;
  private lastDue = 0;
  private readonly waiting: Array<() => void> = [];
  /** Answers that were kept from a client that waited for them. */
  dropped = 0;

  private constructor(private readonly target: { readonly host: string; readonly port: number }) {}

  static async start(direct: string): Promise<ChaosProxy> {
    const { hostname, port } = new URL(direct);
    const proxy = new ChaosProxy({ host: hostname, port: Number(port) });
    const listener = net.createServer((client) => proxy.connect(client));
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    proxy.listener = listener;
    return proxy;
  }

  /** The given connection string, through the proxy. */
  url(direct: string): string {
    const url = new URL(direct);
    url.hostname = '127.0.0.1';
    const { port } = this.listener!.address() as net.AddressInfo;
    url.port = String(port);
    return url.href;
  }

  /** Ends every connection, by FIN or by RST. */
  cut(how: 'end' | 'reset'): void {
    for (const { client, server } of this.lines) {
      if (how === 'end') client.destroy();
      else client.resetAndDestroy();
      server.destroy();
    }
  }

  refuse(on: boolean): void {
    this.refuses = on;
    if (on) this.cut('reset');
  }

  /** Nothing comes through in either direction, and nobody is told; what was sent arrives when it is over. */
  blackHole(on: boolean): void {
    this.isHole = on;
    for (const { client, server } of this.lines) {
      for (const socket of [client, server]) {
        if (on) socket.pause();
        else socket.resume();
      }
    }
  }

  delay(ms: number): void {
    this.delayMs = ms;
  }

  dropNotifications(on: boolean): void {
    this.isDeaf = on;
  }

  /** The next answers that say that something was committed are lost, and their connections with them. */
  dropAcknowledgements(count: number): void {
    this.acknowledgementsToDrop = count;
  }

  heal(): void {
    this.refuse(false);
    this.blackHole(false);
    this.delay(0);
    this.dropNotifications(false);
    this.dropAcknowledgements(0);
  }

  async close(): Promise<void> {
    this.cut('end');
    await new Promise((resolve) => this.listener?.close(resolve));
  }

  private connect(client: net.Socket): void {
    client.on('error', () => undefined);
    if (this.refuses) return void client.resetAndDestroy();
    const server = net.connect(this.target);
    // The messages of an answer are written one by one: else each would wait for the acknowledgement of the one before.
    for (const socket of [client, server]) socket.setNoDelay(true);
    const line = { client, server };
    this.lines.add(line);
    const parse = messageFilter((message) => this.answer(line, message));
    client.on('data', (chunk) => this.later(() => server.write(chunk)));
    server.on('data', parse);
    server.on('error', () => undefined);
    client.on('close', () => this.later(() => server.destroy()));
    server.on('close', () => this.later(() => client.destroy()));
    server.on('close', () => this.lines.delete(line));
    if (this.isHole) {
      client.pause();
      server.pause();
    }
  }

  private answer(line: Line, message: Buffer): void {
    if (message[0] === NOTIFICATION && this.isDeaf) return;
    if (message[0] === COMMAND_COMPLETE && this.acknowledgementsToDrop > 0 && commits(message)) {
      this.acknowledgementsToDrop -= 1;
      this.dropped += 1;
      // What the server did stays done; only the answer is gone.
      line.server.removeAllListeners('data');
      line.server.resume();
      line.client.resetAndDestroy();
      return;
    }
    this.later(() => line.client.write(message));
  }

  /** In order: timers of one length fire in the order in which they were set, and a shorter one waits for them. */
  private later(action: () => void): void {
    const due = Math.max(performance.now() + this.delayMs, this.lastDue);
    this.lastDue = due;
    const wait = due - performance.now();
    if (wait <= 0 && this.waiting.length === 0) return action();
    this.waiting.push(action);
    setTimeout(() => this.waiting.shift()?.(), Math.max(0, wait));
  }
}

/**
 * `COMMIT` ends a transaction; the statements of the engine are calls of functions, each its own transaction. The server
 * sends what it has said when it is ready for the next query, so that all of it was committed by then.
 */
function commits(message: Buffer): boolean {
  const tag = message.toString('latin1', 5, message.length - 1);
  return tag === 'COMMIT' || tag.startsWith('SELECT');
}
