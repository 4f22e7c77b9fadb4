// The processes of one spec file, on a database of its own with a ledger: killed after each test, whatever it left.
import { ChildApp } from './child-app.js';
import type { ChildSettings } from './child-protocol.js';
import { createTestDatabase, type TestDatabase } from './database.js';
import { Ledger } from './ledger.js';

export class ChildApps {
  /** Those that were started, the oldest first. */
  readonly children: ChildApp[] = [];
  private opened: { readonly database: TestDatabase; readonly ledger: Ledger } | undefined;

  constructor(private readonly defaults: Partial<ChildSettings>) {}

  get url(): string {
    return this.parts.database.url;
  }

  get ledger(): Ledger {
    return this.parts.ledger;
  }

  async open(): Promise<void> {
    const database = await createTestDatabase();
    const ledger = await Ledger.open(database.url);
    await ledger.create();
    this.opened = { database, ledger };
  }

  async start(settings: Partial<ChildSettings> = {}): Promise<ChildApp> {
    const child = ChildApp.begin({ url: this.url, ...this.defaults, ...settings });
    this.children.push(child);
    await child.isReady();
    return child;
  }

  startMany(settings: ReadonlyArray<Partial<ChildSettings>>): Promise<ChildApp[]> {
    return Promise.all(settings.map((each) => this.start(each)));
  }

  async kill(child: ChildApp): Promise<void> {
    this.children.splice(this.children.indexOf(child), 1);
    await child.kill();
  }

  async killAll(): Promise<void> {
    await Promise.all(this.children.splice(0).map((child) => child.kill()));
  }

  /** What a test leaves behind is not for the next one to recover. */
  async endAll(): Promise<void> {
    await this.killAll();
    await this.ledger.query(
      'TRUNCATE dbos.workflows, dbos.steps, dbos.executors, public.test_ledger',
    );
  }

  async close(): Promise<void> {
    await this.ledger.close();
    await this.parts.database.drop();
  }

  private get parts() {
    if (!this.opened) throw new Error('The database is made before the first test of the file.');
    return this.opened;
  }
}

/** @param defaults settings of each process, unless it is started with others */
export function useChildApps(defaults: Partial<ChildSettings> = {}): ChildApps {
  const apps = new ChildApps(defaults);
  beforeAll(() => apps.open());
  afterEach(() => apps.endAll());
  afterAll(() => apps.close());
  return apps;
}
