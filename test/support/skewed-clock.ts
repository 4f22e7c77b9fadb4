// Sets the clock of this process as a badly kept host would have it. To be imported before anything that tells the time.
import type { ChildSettings } from './child-protocol.js';

const { clockSkewMs = 0 } = JSON.parse(process.env['CHILD_SETTINGS'] ?? '{}') as ChildSettings;

const trueNow = Date.now;
const now = (): number => trueNow() + clockSkewMs;

if (clockSkewMs !== 0) {
  globalThis.Date = new Proxy(Date, {
    construct: (target, args: unknown[], newTarget) =>
      Reflect.construct(target, args.length > 0 ? args : [now()], newTarget) as Date,
    get: (target, property, receiver) =>
      property === 'now' ? now : (Reflect.get(target, property, receiver) as unknown),
  });
}
