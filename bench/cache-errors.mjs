// How far attention over a float16 or int8 cache is from attention over a float32 one, on normal and on heavy-tailed keys,
// values and queries. `npm run bench:cache-errors` prints the table of docs/cache.md.

import { createRuntime, KeyValueCache } from '../dist/index.mjs';

const [HEADS, KEY_HEADS, DIM, LENGTH, QUERIES, ROUNDS] = [8, 2, 64, 1024, 4, 8];

let state = 1;
function uniform() {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return (state + 0.5) / 2 ** 32;
}
const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
/** Student's t with 3 degrees of freedom. */
const heavyTailed = () => normal() / Math.sqrt((normal() ** 2 + normal() ** 2 + normal() ** 2) / 3);

const runtime = await createRuntime();
console.log(
  `${LENGTH} tokens, ${HEADS} heads of ${DIM}, ${KEY_HEADS} key/value heads; build ${runtime.info.build}`,
);
console.log('| inputs | storage | bytes a token | mean error | largest error |');
console.log('| --- | --- | --- | --- | --- |');
for (const [name, draw] of Object.entries({ normal, 'heavy-tailed': heavyTailed })) {
  const errors = { float16: [], int8: [] };
  const bytes = {};
  for (let round = 0; round < ROUNDS; round++) {
    const numbers = (length) => Float32Array.from({ length }, draw);
    const shape = [1, KEY_HEADS, LENGTH, DIM];
    const keys = { data: numbers(KEY_HEADS * LENGTH * DIM), shape };
    const values = { data: numbers(KEY_HEADS * LENGTH * DIM), shape };
    const query = { data: numbers(HEADS * QUERIES * DIM), shape: [1, HEADS, QUERIES, DIM] };
    const attend = (storage) => {
      const cache = new KeyValueCache(runtime, { numKeyValueHeads: KEY_HEADS, headDim: DIM, storage });
      cache.append(0, keys, values);
      const result = cache.attend(0, query);
      const output = result.output.toFloat32Array();
      bytes[storage] = cache.bytes / LENGTH;
      result.dispose();
      cache.dispose();
      return output;
    };
    const exact = attend('float32');
    for (const storage of Object.keys(errors)) {
      attend(storage).forEach((value, i) => errors[storage].push(Math.abs(value - exact[i])));
    }
  }
  for (const [storage, all] of Object.entries(errors)) {
    const mean = all.reduce((sum, error) => sum + error, 0) / all.length;
    const most = all.reduce((largest, error) => Math.max(largest, error), 0);
    console.log(
      `| ${name} | ${storage} | ${bytes[storage]} | ${mean.toExponential(1)} | ${most.toExponential(1)} |`,
    );
  }
}
