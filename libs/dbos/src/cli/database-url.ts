/** Which database a command means, and how to speak of it without its password. */
import { InvalidArgumentError } from '../core/errors.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Given on the command line, else in the environment. */
export function findDatabaseUrl(given: string | undefined, environment: Environment): string {
  const url = given ?? environment['DATABASE_URL'];
  if (!url) {
    throw new InvalidArgumentError(
      'Which database? Give --database-url, or set DATABASE_URL in the environment or in .env.',
    );
  }
  if (!/^postgres(ql)?:\/\//.test(url) || !URL.canParse(url)) {
    throw new InvalidArgumentError(
      'The database URL must look like postgresql://user:password@host:5432/database.',
    );
  }
  return url;
}

/** Host and database, as in `localhost:5432/shop`. */
export function displayName(url: string): string {
  const { host, pathname } = new URL(url);
  return `${host || 'localhost'}${decodeURIComponent(pathname)}`;
}

/** The text without any of the URLs, and without the passwords in them. */
export function withoutSecrets(text: string, urls: ReadonlyArray<string | undefined>): string {
  return urls.flatMap(secretsOf).reduce((shown, secret) => shown.replaceAll(secret, '***'), text);
}

function secretsOf(url: string | undefined): string[] {
  const candidate = url?.replace(/^--database-url=/, '');
  if (candidate === undefined || !candidate.includes('://')) return [];
  if (!URL.canParse(candidate)) return [candidate];
  const { password, searchParams } = new URL(candidate);
  const passwords = [password, decoded(password), searchParams.get('password') ?? ''];
  return [candidate, ...passwords].filter((secret) => secret !== '');
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray percent sign
  }
}
