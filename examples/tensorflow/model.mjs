// A small model of TensorFlow.js that learns to look back: each number's answer is the number that stood `DISTANCE` places before
// it, which only attention can bring. Everything but attention is TensorFlow.js's own.

const [CLASSES, WIDTH, HEADS] = [8, 16, 2];
export const DISTANCE = 3;

/**
 * @param tf        TensorFlow.js
 * @param attention of `makeAttention`, or any other function of the same arguments
 * @param length    of the rows
 */
export function makeModel(tf, attention, length) {
  // Seeds, so that every run learns the same.
  let seed = 0;
  const weight = (shape, spread) =>
    tf.tidy(() => tf.variable(tf.randomNormal(shape, 0, spread, 'float32', ++seed)));
  const weights = {
    words: weight([CLASSES, WIDTH], 0.5),
    places: weight([length, WIDTH], 0.5),
    projection: weight([WIDTH, 3 * WIDTH], WIDTH ** -0.5),
    output: weight([WIDTH, CLASSES], WIDTH ** -0.5),
  };

  /** Logits of numbers, [batch, length, CLASSES]. */
  function forward(numbers) {
    const [batch] = numbers.shape;
    const words = tf.matMul(tf.reshape(tf.oneHot(numbers, CLASSES), [-1, CLASSES]), weights.words);
    const x = tf.reshape(tf.add(tf.reshape(words, [batch, length, WIDTH]), weights.places), [-1, WIDTH]);
    const heads = tf
      .split(tf.matMul(x, weights.projection), 3, 1)
      .map((part) => tf.transpose(tf.reshape(part, [batch, length, HEADS, WIDTH / HEADS]), [0, 2, 1, 3]));
    const attended = tf.transpose(attention(...heads, { causal: true }), [0, 2, 1, 3]);
    const logits = tf.matMul(tf.reshape(attended, [-1, WIDTH]), weights.output);
    return tf.reshape(logits, [batch, length, CLASSES]);
  }

  /** Of the places that have a number `DISTANCE` before them. */
  function loss(numbers) {
    const [batch] = numbers.shape;
    const counted = length - DISTANCE;
    const logits = tf.slice(forward(numbers), [0, DISTANCE, 0], [batch, counted, CLASSES]);
    const answers = tf.slice(numbers, [0, 0], [batch, counted]);
    return tf.losses.softmaxCrossEntropy(
      tf.reshape(tf.oneHot(answers, CLASSES), [-1, CLASSES]),
      tf.reshape(logits, [-1, CLASSES]),
    );
  }

  return { weights, forward, loss, dispose: () => tf.dispose(weights) };
}

/**
 * Trains it on rows of random numbers.
 *
 * @returns the loss of each step
 */
export function train(tf, model, { steps, batch, length }) {
  const optimizer = tf.train.adam(0.02);
  const losses = [];
  for (let step = 0; step < steps; step++) {
    const loss = tf.tidy(() => {
      const numbers = tf.cast(
        tf.floor(tf.randomUniform([batch, length], 0, CLASSES, 'float32', step + 1)),
        'int32',
      );
      return optimizer.minimize(() => model.loss(numbers), true).dataSync()[0];
    });
    losses.push(loss);
  }
  optimizer.dispose();
  return losses;
}
