// The same step through jax-js: its automatic differentiation, with the update in one jitted program. It needs Node 22.

import { namesOf, OPTIMIZER } from './workloads.mjs';

export async function importLibrary() {
  const jax = await import('@jax-js/jax');
  await jax.init('wasm');
  jax.defaultDevice('wasm');
  return jax;
}

/**
 * Logits, [batch * length, vocabulary]. jax-js moves its arguments: every use of an array but the last goes through `.ref`.
 *
 * @param {any} jax
 * @param {import('../models/checkpoint.mjs').Size} size
 * @param {Record<string, any>} weights
 * @param {any} words one-hot, [batch * length, vocabulary]
 * @param {number} batch
 * @param {number} length
 */
function logitsOf(jax, { layers, width, heads }, weights, words, batch, length) {
  const { nn, numpy: np } = jax;
  const rows = batch * length;
  const norm = (/** @type {any} */ x, /** @type {string} */ name) =>
    nn.standardize(x, -1, { epsilon: 1e-5 }).mul(weights[`${name}.weight`]).add(weights[`${name}.bias`]);
  const linear = (/** @type {any} */ x, /** @type {string} */ name) =>
    np.matmul(x, weights[`${name}.weight`]).add(weights[`${name}.bias`]);
  const table = weights['wte.weight'];
  let x = np
    .matmul(words, table.ref)
    .reshape([batch, length, width])
    .add(weights['wpe.weight'])
    .reshape([rows, width]);
  for (let layer = 0; layer < layers; layer++) {
    const name = `h.${layer}.`;
    const projected = linear(norm(x.ref, `${name}ln_1`), `${name}attn.c_attn`);
    const [q, k, v] = np
      .split(projected, 3, 1)
      .map((/** @type {any} */ part) => part.reshape([batch, length, heads, width / heads]));
    const attended = nn.dotProductAttention(q, k, v, { isCausal: true }).reshape([rows, width]);
    x = x.add(linear(attended, `${name}attn.c_proj`));
    const hidden = nn.gelu(linear(norm(x.ref, `${name}ln_2`), `${name}mlp.c_fc`), { approximate: true });
    x = x.add(linear(hidden, `${name}mlp.c_proj`));
  }
  return np.matmul(norm(x, 'ln_f'), np.matrixTranspose(table));
}

/**
 * @param {any} jax
 * @param {import('./workloads.mjs').Task} task
 * @returns {import('./workloads.mjs').Training}
 */
export function openTraining(jax, { files, ids, labels, batch, length }) {
  const { numpy: np, nn, tree } = jax;
  const { size } = files;
  const rows = batch * length;
  const names = namesOf(size);
  const make = (/** @type {(name: string) => any} */ value) =>
    Object.fromEntries(names.map((name) => [name, value(name)]));
  const {
    betas: [ofMean, ofSquare],
    ...rates
  } = OPTIMIZER;
  const lossOf = (/** @type {any} */ weights, /** @type {any} */ words, /** @type {any} */ targets) =>
    nn
      .logSoftmax(logitsOf(jax, size, weights, nn.oneHot(words, size.vocabulary), batch, length), -1)
      .mul(nn.oneHot(targets, size.vocabulary))
      .sum()
      .mul(-1 / rows);
  const program = jax.jit(
    (
      /** @type {any} */ weights,
      /** @type {any} */ means,
      /** @type {any} */ squares,
      /** @type {any} */ words,
      /** @type {any} */ targets,
      /** @type {any} */ stepSize,
      /** @type {any} */ rootFactor,
    ) => {
      const [loss, gradients] = jax.valueAndGrad(lossOf)(tree.ref(weights), words, targets);
      const total = names
        .map((name) => np.square(gradients[name].ref).sum())
        .reduce((sum, one) => sum.add(one));
      const factor = np.minimum(np.array(1), np.reciprocal(np.sqrt(total).add(1e-6)).mul(rates.maxNorm));
      const [nextWeights, nextMeans, nextSquares] = [{}, {}, {}].map((one) => /** @type {any} */ (one));
      for (const name of names) {
        const gradient = gradients[name].mul(factor.ref);
        const mean = means[name].mul(ofMean).add(gradient.ref.mul(1 - ofMean));
        const square = squares[name].mul(ofSquare).add(np.square(gradient).mul(1 - ofSquare));
        const root = np.sqrt(square.ref).mul(rootFactor.ref).add(rates.epsilon);
        nextMeans[name] = mean.ref;
        nextSquares[name] = square;
        nextWeights[name] = weights[name]
          .mul(1 - rates.learningRate * rates.weightDecay)
          .sub(mean.mul(stepSize.ref).div(root));
      }
      factor.dispose();
      stepSize.dispose();
      rootFactor.dispose();
      return [loss, nextWeights, nextMeans, nextSquares];
    },
  );
  const array = (/** @type {any} */ data, /** @type {number[]} */ shape) => np.array(data, { shape });
  let weights = make((name) => array(files.tensor(name).data, files.tensor(name).shape));
  let means = make((name) => np.zeros(files.tensor(name).shape));
  let squares = make((name) => np.zeros(files.tensor(name).shape));
  const words = array(ids, [rows]);
  const targets = array(labels, [rows]);
  let number = 0;
  return {
    async step() {
      number += 1;
      const stepSize = rates.learningRate / (1 - ofMean ** number);
      const rootFactor = 1 / Math.sqrt(1 - ofSquare ** number);
      const result = program(
        ...[weights, means, squares, words.ref, targets.ref],
        ...[np.array(stepSize), np.array(rootFactor)],
      );
      const loss = result[0];
      [, weights, means, squares] = result;
      await jax.blockUntilReady([tree.ref(weights), tree.ref(means), tree.ref(squares)]);
      return (await loss.data())[0];
    },
    dispose() {
      for (const one of [weights, means, squares, words, targets]) tree.dispose(one);
      program.dispose?.();
    },
  };
}
