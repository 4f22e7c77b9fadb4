/** Hears what one engine publishes: typed, without the events of others, and never in the way of what it hears of. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { DiagnosticsEvents } from '../../engine/diagnostics-events.js';
import { CHANNEL_PREFIX } from '../../engine/diagnostics.js';

export type Handlers = {
  readonly [Name in keyof DiagnosticsEvents]?: (event: DiagnosticsEvents[Name]) => void;
};

/** @returns ends the subscription */
export function hear(
  engineId: string,
  handlers: Handlers,
  onError: (error: unknown) => void,
): () => void {
  const ends = Object.entries(handlers).map(([name, handler]) => {
    const channel = `${CHANNEL_PREFIX}${name}`;
    const listener = (message: unknown): void => {
      if (engineOf(message) !== engineId) return;
      try {
        (handler as (event: unknown) => void)(message);
      } catch (error) {
        onError(error); // thrown here it would end the process
      }
    };
    subscribe(channel, listener);
    return () => unsubscribe(channel, listener);
  });
  return () => ends.forEach((end) => end());
}

function engineOf(message: unknown): string {
  const { engineId, step } = message as { engineId?: string; step?: { engineId: string } };
  return engineId ?? step?.engineId ?? '';
}
