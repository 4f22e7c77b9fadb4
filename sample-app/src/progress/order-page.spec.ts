import { orderPage } from './order-page.js';

describe('The page of an order', () => {
  it('takes its id for text, whatever is in it', () => {
    const page = orderPage(`<img src=x onerror="alert('&')">`);
    expect(page).toContain('Order &lt;img src=x onerror=&quot;alert(&#39;&amp;&#39;)&quot;&gt;');
    expect(page).not.toContain('<img');
  });
});
