// The same step through TensorFlow.js with its WebAssembly backend, SIMD, one thread. Gradients of products turn their operands
// first: by its own, which leave that to the kernel, a step takes several times as long. Words come by a product with one-hot rows,
// for the backend lacks the kernel that the gradient of a lookup needs.

import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { registerGradients } from './tensorflow-gradients.mjs';
import { namesOf, OPTIMIZER } from './workloads.mjs';

export async function importLibrary() {
  const tf = await import('@tensorflow/tfjs-core');
  const wasm = await import('@tensorflow/tfjs-backend-wasm');
  if (tf.getBackend() === 'wasm') return tf;
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
  tf.env().set('IS_TEST', true); // Keeps the advice to use the Node backend off the terminal.
  const require = createRequire(import.meta.url);
  const entry = require.resolve('@tensorflow/tfjs-backend-wasm/package.json');
  wasm.setWasmPaths(fileURLToPath(new URL('dist/', `file://${entry}`)));
  await tf.setBackend('wasm');
  await tf.ready();
  tf.env().set('IS_TEST', false); // It would look for leaks after each kernel, too.
  await registerGradients();
  return tf;
}

/** A product whose gradients are products of operands that were turned. @param {any} tf */
function makeProduct(tf) {
  const turn = (/** @type {any} */ x) =>
    tf.transpose(x, [...x.shape.keys()].slice(0, -2).concat([x.rank - 1, x.rank - 2]));
  return tf.customGrad((/** @type {any} */ a, /** @type {any} */ b, /** @type {any} */ save) => {
    save([a, b]);
    return {
      value: tf.matMul(a, b),
      gradFunc: (/** @type {any} */ dy, /** @type {any[]} */ [left, right]) => [
        tf.matMul(dy, turn(right)),
        tf.matMul(turn(left), dy),
      ],
    };
  });
}

/**
 * @param {any} tf
 * @param {import('./workloads.mjs').Task} task
 * @returns {import('./workloads.mjs').Training}
 */
export function openTraining(tf, { files, ids, labels, batch, length }) {
  const { layers, width, heads, vocabulary } = files.size;
  const rows = batch * length;
  const names = namesOf(files.size);
  const weights = Object.fromEntries(
    names.map((name) => [
      name,
      tf.tidy(() => tf.variable(tf.tensor(files.tensor(name).data, files.tensor(name).shape))),
    ]),
  );
  const product = makeProduct(tf);
  const hot = (/** @type {Int32Array} */ list) =>
    tf.cast(tf.oneHot(tf.tensor1d(list, 'int32'), vocabulary), 'float32');
  const [words, targets] = [ids, labels].map((list) => tf.tidy(() => hot(list)));
  const mask = tf.tensor2d(
    Float32Array.from({ length: length ** 2 }, (_, i) => (i % length > Math.floor(i / length) ? -1e9 : 0)),
    [length, length],
  );
  const norm = (/** @type {any} */ x, /** @type {string} */ name) => {
    const centred = tf.sub(x, tf.mean(x, -1, true));
    const variance = tf.mean(tf.square(centred), -1, true);
    const scaled = tf.mul(centred, tf.rsqrt(tf.add(variance, 1e-5)));
    return tf.add(tf.mul(scaled, weights[`${name}.weight`]), weights[`${name}.bias`]);
  };
  const linear = (/** @type {any} */ x, /** @type {string} */ name) =>
    tf.add(product(x, weights[`${name}.weight`]), weights[`${name}.bias`]);
  const gelu = (/** @type {any} */ x) => {
    const inner = tf.mul(tf.add(x, tf.mul(tf.mul(tf.square(x), x), 0.044715)), Math.sqrt(2 / Math.PI));
    return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(inner), 1));
  };
  const attend = (/** @type {any} */ x) => {
    const [q, k, v] = tf
      .split(x, 3, 1)
      .map((/** @type {any} */ part) => tf.reshape(part, [batch, length, heads, width / heads]));
    const scores = product(
      tf.mul(tf.transpose(q, [0, 2, 1, 3]), Math.sqrt(heads / width)),
      tf.transpose(k, [0, 2, 3, 1]),
    );
    const output = product(tf.softmax(tf.add(scores, mask)), tf.transpose(v, [0, 2, 1, 3]));
    return tf.reshape(tf.transpose(output, [0, 2, 1, 3]), [rows, width]);
  };
  const lossOf = () => {
    const table = weights['wte.weight'];
    const read = tf.reshape(product(words, table), [batch, length, width]);
    let x = tf.reshape(tf.add(read, weights['wpe.weight']), [rows, width]);
    for (let layer = 0; layer < layers; layer++) {
      const name = `h.${layer}.`;
      const attended = attend(linear(norm(x, `${name}ln_1`), `${name}attn.c_attn`));
      x = tf.add(x, linear(attended, `${name}attn.c_proj`));
      const hidden = gelu(linear(norm(x, `${name}ln_2`), `${name}mlp.c_fc`));
      x = tf.add(x, linear(hidden, `${name}mlp.c_proj`));
    }
    return tf.losses.softmaxCrossEntropy(targets, product(norm(x, 'ln_f'), tf.transpose(table)));
  };
  const { learningRate, betas, epsilon, weightDecay, maxNorm } = OPTIMIZER;
  const adam = tf.train.adam(learningRate, ...betas, epsilon);
  const list = names.map((name) => weights[name]);
  return {
    step: () =>
      tf.tidy(() => {
        const { value, grads } = tf.variableGrads(lossOf, list);
        const gradients = Object.entries(grads);
        const squares = gradients.map(([, gradient]) => tf.sum(tf.square(gradient)));
        const norm = tf.sqrt(tf.addN(squares));
        const factor = tf.minimum(1, tf.div(maxNorm, tf.add(norm, 1e-6)));
        for (const one of list) one.assign(tf.mul(one, 1 - learningRate * weightDecay));
        adam.applyGradients(
          Object.fromEntries(gradients.map(([name, gradient]) => [name, tf.mul(gradient, factor)])),
        );
        return value.dataSync()[0];
      }),
    dispose() {
      adam.dispose();
      tf.dispose([...list, words, targets, mask]);
    },
  };
}
