/** What the manager sees: the question, and what became of the answer. */

export const DECISIONS = ['approve', 'reject'] as const;

export type Decision = (typeof DECISIONS)[number];

export interface Answer {
  readonly decision: Decision;
  /** False when somebody decided before. */
  readonly counts: boolean;
}

const STYLE = `
body { font: 1.1rem/1.6 system-ui, sans-serif; max-width: 34rem; margin: 3rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.4rem; }
button { font: inherit; padding: 0.3rem 1rem; margin-right: 0.5rem; }
`;

const WORDS: Readonly<Record<Decision, string>> = { approve: 'Approved.', reject: 'Rejected.' };

/** @param orderId letters, digits, dots, dashes and underscores: nothing to escape */
export function questionPage(orderId: string): string {
  return page(
    orderId,
    '<form method="post"><button name="decision" value="approve">Approve</button>' +
      '<button name="decision" value="reject">Reject</button></form>',
  );
}

/** @param orderId likewise */
export function answerPage(orderId: string, { decision, counts }: Answer): string {
  const words = counts ? WORDS[decision] : 'It was decided before; that decision stands.';
  return page(orderId, `<p>${words} <a href="/orders/${orderId}/page">See the order</a></p>`);
}

function page(orderId: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Order ${orderId}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>Order ${orderId}</h1>
${body}
</body>
</html>
`;
}
