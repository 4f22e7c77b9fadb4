// As in an application that has not installed `@opentelemetry/api`: `node --import <this file> main.ts`.
import { register } from 'node:module';

const HOOKS = `
  export async function resolve(specifier, context, nextResolve) {
    if (!specifier.startsWith('@opentelemetry/')) return nextResolve(specifier, context);
    process.stderr.write('There is no ' + specifier + '.\\n');
    throw Object.assign(new Error('Cannot find package ' + specifier), { code: 'ERR_MODULE_NOT_FOUND' });
  }
`;

register(`data:text/javascript,${encodeURIComponent(HOOKS)}`);
