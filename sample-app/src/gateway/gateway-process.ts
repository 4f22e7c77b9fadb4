/** Starts the sample's payment gateway beside the shop, for when no other is given. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** Resolves with the gateway's address once it listens. It ends with this process, even if that is killed. */
export async function startGateway(): Promise<string> {
  const child = fork(fileURLToPath(new URL('./gateway.main.js', import.meta.url)), {
    // A group of its own: Ctrl-C is for the shop, which may still have cards to charge while it shuts down.
    detached: true,
    // Whatever this process was started with is not meant for it.
    execArgv: [],
  });
  const exited = once(child, 'exit').then(() => {
    throw new Error('The payment gateway did not start.');
  });
  const [{ url }] = (await Promise.race([once(child, 'message'), exited])) as [{ url: string }];
  // Neither the gateway nor the channel to it keeps the shop from ending.
  child.unref();
  child.channel?.unref();
  return url;
}
