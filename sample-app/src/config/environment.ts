/** What the shop is told by its environment, checked before anything starts. */
import { existsSync } from 'node:fs';
import { z } from 'zod';

// Done here, so that .env counts for every module that reads the environment while it is loaded.
if (existsSync('.env')) process.loadEnvFile('.env');

export const EnvironmentSchema = z.object({
  DATABASE_URL: z.url({
    protocol: /^postgres(ql)?$/,
    error: `must be a postgresql:// URL ('npm start' provides a database when it is not set)`,
  }),
  PORT: z.coerce.number().int().min(1).max(65_535).default(3000),
  /** Where cards are charged. */
  GATEWAY_URL: z.url().default('http://127.0.0.1:3999'),
  /** An order of at least this total needs the approval of a person. */
  APPROVAL_FROM_CENTS: z.coerce.number().int().min(1).default(100_000),
  /** How the shop is reached from outside, for links. Default: where it listens. */
  PUBLIC_URL: z.url().optional(),
  /** With it whoever shows it may look behind the scenes and stop the queue; without it whoever is at this machine. */
  OPERATOR_TOKEN: z.string().min(16).optional(),
  /** Fixed for each replica, or absent: two running processes must never share one. */
  EXECUTOR_ID: z.string().min(1).optional(),
});

export type Environment = z.infer<typeof EnvironmentSchema>;

/**
 * Nest would check the same, but only once its modules are loaded, and with a stack trace.
 * @throws Error naming each variable that cannot be used
 */
export function assertEnvironment(): void {
  const { error } = EnvironmentSchema.safeParse(process.env);
  if (error) throw new Error(`The environment cannot be used:\n${z.prettifyError(error)}`);
}
