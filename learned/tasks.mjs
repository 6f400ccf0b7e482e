// What is learnt here, by name. A task is a folder with a module that says everything: data, model, settings, measures. Those modules run
// in pages too: nothing of Node is imported there but by `text`, which reads a book.

/**
 * @typedef {object} Measure
 * @property {number} value
 * @property {number} bar  what it has to exceed
 * @property {boolean} [isLess]  it has to stay below the bar
 *
 * @typedef {object} Watch  the one measure that is taken again and again while the model learns
 * @property {string} label
 * @property {number} bar
 * @property {number} every  steps from one to the next
 * @property {(model: import('wasm-attention/model').Model) => number | Promise<number>} value  from 0 to 1; small work
 *
 * @typedef {object} Task
 * @property {string} name  of the folder
 * @property {string} title  one line
 * @property {object} config  what `loadModel` reads
 * @property {readonly import('wasm-attention/model').Family[]} families  those that the config needs
 * @property {number} seed  of the initial weights and of the data
 * @property {number} steps
 * @property {object} settings  the options of `train` that are left: learningRate, optimizer, maxNorm, loss, dropout
 * @property {(step: number, random: object) => { inputs: object, labels: Int32Array | number[][] }} data  a batch
 * @property {Watch} watch
 * @property {(model: import('wasm-attention/model').Model) => Record<string, Measure> | Promise<Record<string, Measure>>} measure
 * @property {(model: import('wasm-attention/model').Model, prompt?: string) => AsyncIterable<string>} [write]  of a model of texts: what comes
 *   after a prompt, the prompt first
 * @property {Readonly<Record<number, string>>} hashes  of the weights after so many steps from `seed` (see weights.mjs)
 */

/** @type {Readonly<Record<string, () => Promise<Task>>>} */
export const tasks = {
  induction: async () => (await import('./induction/task.mjs')).task,
  pronouns: async () => (await import('./pronouns/task.mjs')).task,
  text: async () => {
    const [{ readBook }, { makeTask }] = await Promise.all([
      import('./text/book.mjs'),
      import('./text/task.mjs'),
    ]);
    return makeTask(readBook());
  },
};
