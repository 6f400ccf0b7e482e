// What the model has read of a conversation, which it need not read again.

export class Conversation {
  /** @type {import('wasm-attention').KeyValueCache | undefined} */
  #cache;
  /** Tokens that the cache holds. */
  #read = [];

  /** @param {import('wasm-attention/model').Model} model */
  constructor(model) {
    this.model = model;
  }

  /**
   * Tokens after a prompt, one by one.
   *
   * @param {number[]} ids  the whole conversation so far
   * @param {import('wasm-attention/model').GenerateOptions} options
   */
  async *goOn(ids, options) {
    const { signal } = options;
    // Encoders read all of their text at once.
    const isDecoder = this.model.description.kind === 'decoder';
    const inputIds = isDecoder ? await this.#readAllButLast(ids, signal) : ids;
    const prefix = isDecoder ? this.#cache : undefined;
    for await (const { tokens } of this.model.generate({ inputIds }, { ...options, prefix })) yield tokens[0];
  }

  /** What is left to be read: the model speaks after that. */
  async #readAllButLast(ids, signal) {
    let common = 0;
    while (common < this.#read.length && common < ids.length - 1 && this.#read[common] === ids[common])
      common++;
    this.#cache?.crop(common);
    this.#read.length = common;
    const rest = ids.slice(common, -1);
    if (rest.length > 0) {
      const longer = await this.model.readPrompt({ inputIds: rest }, { prefix: this.#cache, signal });
      this.#cache?.dispose();
      this.#cache = longer;
      this.#read.push(...rest);
    }
    return ids.slice(-1);
  }

  dispose() {
    this.#cache?.dispose();
  }
}
