// What a customer's program does: places orders, asks for them, and tries again when nobody answers.
export class ShopClient {
  /** @param {string} url */
  constructor(url) {
    this.url = url;
  }

  /** @returns {Promise<boolean>} whether the shop has accepted it; without an answer nobody knows, so ask again */
  async place(order) {
    const response = await this.#ask('/orders', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(order),
    });
    if (response && response.status !== 202) throw new Error(await response.text());
    return response !== undefined;
  }

  async order(id) {
    const response = await this.#ask(`/orders/${id}`);
    return response?.ok ? response.json() : undefined;
  }

  async fulfilment() {
    const response = await this.#ask('/fulfilment');
    return response?.ok ? response.json() : undefined;
  }

  async health() {
    const response = await this.#ask('/health');
    return response?.ok ? response.json() : undefined;
  }

  async #ask(path, options) {
    return fetch(this.url + path, options).catch(() => undefined);
  }
}
