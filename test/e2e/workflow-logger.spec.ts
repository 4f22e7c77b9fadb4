// Log lines of workflows say of which workflow and step they are.
import { ConsoleLogger, Logger, type LoggerService } from '@nestjs/common';
import { WorkflowContext, WorkflowLogger } from 'nestjs-dbos';
import { useScriptedApps, type ScriptedApp } from '../support/scripted-app.js';

type Line = readonly unknown[];

/** Keeps lines as they come. */
class Paper implements LoggerService {
  readonly lines: Line[] = [];
  log = (...line: unknown[]): void => void this.lines.push(['log', ...line]);
  error = (...line: unknown[]): void => void this.lines.push(['error', ...line]);
  warn = (...line: unknown[]): void => void this.lines.push(['warn', ...line]);
}

describe('The logger of workflows', () => {
  const apps = useScriptedApps();
  const paper = new Paper();
  const loggerOf = (app: ScriptedApp): WorkflowLogger =>
    new WorkflowLogger(app.get(WorkflowContext), paper);

  afterEach(() => {
    Logger.overrideLogger(false);
    paper.lines.length = 0;
  });

  it('B67: says in a step which workflow, step and attempt a line is of', async () => {
    const app = await apps.start();
    Logger.overrideLogger(loggerOf(app));

    const handle = await app.begin(
      ({ flow }) => flow.step('charge', () => new Logger('Payments').log('charging')),
      'logged',
    );
    await handle.result();

    const fields = {
      workflowId: 'logged',
      workflow: 'Scripted',
      stepId: '0',
      step: 'charge',
      attempt: 1,
    };
    expect(paper.lines).toContainEqual(['log', 'charging', fields, 'Payments']);
  });

  it('B67: says between the steps which workflow a line is of', async () => {
    const app = await apps.start();
    Logger.overrideLogger(loggerOf(app));

    const handle = await app.begin(() => new Logger('Orders').warn('deciding'), 'deciding');
    await handle.result();

    const fields = { workflowId: 'deciding', workflow: 'Scripted' };
    expect(paper.lines).toContainEqual(['warn', 'deciding', fields, 'Orders']);
  });

  it('leaves lines alone that are logged elsewhere', async () => {
    const app = await apps.start();
    Logger.overrideLogger(loggerOf(app));

    new Logger('Elsewhere').log('hello');

    expect(paper.lines).toContainEqual(['log', 'hello', 'Elsewhere']);
  });

  it('keeps an error its stack and its context', async () => {
    const app = await apps.start();
    const stack = 'Error: no\n    at somewhere (file.ts:1:1)';
    Logger.overrideLogger(loggerOf(app));

    const handle = await app.begin(() => new Logger('Orders').error('failed', stack), 'failing');
    await handle.result();

    const fields = { workflowId: 'failing', workflow: 'Scripted' };
    expect(paper.lines).toContainEqual(['error', 'failed', fields, stack, 'Orders']);
  });

  it('tells other loggers by `logFields`, which is undefined outside of workflows', async () => {
    const app = await apps.start();
    const flow = app.get(WorkflowContext);

    const handle = await app.begin(() => flow.logFields, 'asked');

    expect(await handle.result()).toEqual({ workflowId: 'asked', workflow: 'Scripted' });
    expect(flow.logFields).toBeUndefined();
  });

  it('writes to the console by default', async () => {
    const app = await apps.start();
    const logger = new WorkflowLogger(app.get(WorkflowContext));
    expect(logger['inner']).toBeInstanceOf(ConsoleLogger);
  });
});
