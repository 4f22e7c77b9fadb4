/** The page of an order: nothing but what the browser has, and nothing from elsewhere. */
import { createHash } from 'node:crypto';

/** Puts what comes into the page as text, never as markup. */
const SCRIPT = `
const list = document.querySelector('ol');
const state = document.querySelector('#state');
const words = {
  placed: () => 'Placed',
  reserved: () => 'Taken from the stock',
  asking: () => 'Waiting for the approval of the manager',
  charging: ({ attempt }) => 'Charging the card' + (attempt > 1 ? ', attempt ' + attempt : ''),
  charged: () => 'Paid',
  queued: () => 'Waiting for a table in the warehouse',
  packing: () => 'Packing',
  shipped: ({ trackingCode }) => 'Shipped as ' + trackingCode,
  refused: ({ reason }) => 'Refused: ' + reason,
};

const source = new EventSource('progress');
source.onopen = () => {
  list.replaceChildren(); // it tells from the beginning, each time it connects
  state.textContent = 'live';
};
source.onmessage = ({ data }) => {
  const progress = JSON.parse(data);
  const item = document.createElement('li');
  item.textContent = (words[progress.stage] ?? (() => progress.stage))(progress);
  list.append(item);
};
source.onerror = () => {
  state.textContent = 'connecting again';
};
source.addEventListener('end', () => {
  source.close();
  state.textContent = 'ended';
});
`;

const STYLE = `
body { font: 1.1rem/1.6 system-ui, sans-serif; max-width: 34rem; margin: 3rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.4rem; }
#state { font-size: 0.9rem; color: #fff; background: #2a7; border-radius: 0.4rem; padding: 0.15rem 0.5rem; }
li:last-child { font-weight: 600; }
`;

/** Only this script and this style, and a connection to where the page comes from. */
export const CONTENT_SECURITY_POLICY = [
  `default-src 'none'`,
  `script-src '${digest(SCRIPT)}'`,
  `style-src '${digest(STYLE)}'`,
  `connect-src 'self'`,
].join('; ');

export function orderPage(orderId: string): string {
  const title = `Order ${escaped(orderId)}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${title} <span id="state">connecting</span></h1>
<ol></ol>
<script>${SCRIPT}</script>
</body>
</html>
`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}

function digest(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}
