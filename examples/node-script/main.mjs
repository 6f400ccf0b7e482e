// Attention as a smoother (Nadaraya-Watson): each noisy sample becomes the mean of all, weighted by how near they are.

import { createRuntime, scaledDotProductAttention } from 'wasm-attention';

const count = 200;
const width = 0.25; // of the Gaussian: exp(-(a - b)^2 / (2 width^2)) is softmax of (a b - b^2 / 2) / width^2
const places = Array.from({ length: count }, (_, i) => (i / count) * 2 * Math.PI);
const noise = places.map((_, i) => 0.8 * (((i * 7919) % 1000) / 1000 - 0.5));
const samples = places.map((x, i) => Math.sin(x) + noise[i]);

const runtime = await createRuntime();
const query = { data: places.flatMap((x) => [x, 1]), shape: [1, 1, count, 2] };
const key = { data: places.flatMap((x) => [x, (-x * x) / 2]), shape: [1, 1, count, 2] };
const value = { data: samples, shape: [1, 1, count, 1] };
const { output } = scaledDotProductAttention(query, key, value, { runtime, scale: 1 / width ** 2 });
const smooth = output.toFloat32Array();
runtime.dispose();

const error = (values) =>
  Math.sqrt(places.reduce((sum, x, i) => sum + (values[i] - Math.sin(x)) ** 2, 0) / count);
const dot = (value, mark) => [Math.round(20 + 15 * value), mark];
for (let i = 0; i < count; i += 10) {
  const line = new Array(41).fill(' ');
  for (const [column, mark] of [dot(samples[i], '.'), dot(smooth[i], 'o')]) line[column] = mark;
  console.log(line.join('').trimEnd());
}
console.log(`distance from the sine: ${error(samples).toFixed(3)} before, ${error(smooth).toFixed(3)} after`);
