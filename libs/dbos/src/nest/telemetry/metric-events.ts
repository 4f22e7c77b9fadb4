/** Counts what the engine publishes. */
import type { Handlers } from './heard-events.js';
import type { MetricSink } from './metric-definitions.js';

export function countedEvents(sink: MetricSink): Handlers {
  return {
    'call.end': ({ kind, name, count, error }) => {
      const outcome = error === undefined ? 'succeeded' : 'failed';
      if (kind === 'send') sink.add('sends', count, { outcome });
      else sink.add('starts', count, { workflow: name, kind, outcome });
    },
    'workflow.end': ({ name, outcome = 'left', durationMs = 0 }) => {
      sink.record('runs', durationMs / 1_000, { workflow: name, outcome });
    },
    'step.end': ({ workflowName, name, kind, outcome = 'failed', durationMs = 0 }) => {
      if (kind === 'operation') return; // waits, and what is counted as a call
      const labels = { workflow: workflowName, step: name, kind, outcome };
      sink.record('steps', durationMs / 1_000, labels);
    },
    'step.retry': ({ step }) => {
      sink.add('retries', 1, { workflow: step.workflowName, step: step.name });
    },
    'step.replay': ({ workflowName }) => sink.add('replays', 1, { workflow: workflowName }),
    'workflow.recovery': ({ workflows }) => {
      for (const { name } of workflows) sink.add('recoveries', 1, { workflow: name });
    },
  };
}
