// The page: text -> tokens -> vectors -> attention weights -> heat maps, anew at every keystroke.

import { attentionWeights, createRuntime } from 'wasm-attention';
import { createHeatMap } from './heat-map.js';
import { embed, HEADS, split } from './tokens.js';

const MOST_TOKENS = 400;
const EXAMPLE = `Singers were singing and dancers were dancing: the singer danced, the dancer sang.
The dancing singer sings of the singing dancer, and the song goes on and on.`;

const element = (id) => document.getElementById(id);
const text = element('text');

/** The tokens, and their weights as [heads, tokens, tokens]. */
let tokens = [];
let weights = new Float32Array();
let selected = 0;

const maps = HEADS.map(({ name }) => createHeatMap(name, select));
element('heads').append(...maps.map(({ figure }) => figure));

const runtime = await createRuntime();

text.value = EXAMPLE;
element('controls').addEventListener('input', update);
window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
update();

function update() {
  const all = split(text.value, document.querySelector('[name=unit]:checked').value);
  tokens = all.slice(0, MOST_TOKENS);
  selected = Math.min(selected, Math.max(0, tokens.length - 1));
  const milliseconds = attend().toFixed(1);
  const { build } = runtime.info;
  const cut = all.length > MOST_TOKENS ? `the first ${MOST_TOKENS} of ` : '';
  element('status').textContent =
    `${cut}${all.length} tokens, ${HEADS.length} heads: ${milliseconds} ms (${build} build)`;
  element('tokens').replaceChildren(...tokens.map(tokenButton));
  draw();
}

/** Computes the weights; milliseconds that attention took. */
function attend() {
  weights = new Float32Array();
  if (tokens.length === 0) return 0;
  const x = embed(tokens);
  const scale = Number(element('sharpness').value); // vectors are 1 long: scores lie within -scale and scale
  const start = performance.now();
  const tensor = attentionWeights(x, x, { runtime, scale, causal: element('causal').checked });
  weights = tensor.toFloat32Array();
  tensor.dispose();
  return performance.now() - start;
}

function tokenButton(token, i) {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = token;
  for (const event of ['pointerenter', 'focus', 'click']) button.addEventListener(event, () => select(i));
  return button;
}

function draw() {
  const size = tokens.length ** 2;
  maps.forEach((map, head) => map.draw(weights.subarray(head * size, (head + 1) * size), tokens.length));
  select(selected);
}

/** Shows a query's weights, their mean over the heads, on the tokens; and that of one key, by default the strongest other. */
function select(query, key) {
  selected = query;
  const mean = meanRow(query);
  const others = mean.map((weight, i) => (i === query ? -1 : weight));
  const shown = key ?? others.indexOf(Math.max(...others));
  [...element('tokens').children].forEach((button, i) => {
    button.style.setProperty('--weight', Math.sqrt(mean[i]).toFixed(3));
    button.ariaPressed = String(i === query);
  });
  for (const map of maps) map.select(query);
  element('readout').textContent = tokens.length > 1 ? readout(query, shown) : '';
}

function meanRow(query) {
  const row = new Array(tokens.length).fill(0);
  for (let head = 0; head < HEADS.length; head++) {
    row.forEach((_, key) => (row[key] += weight(head, query, key) / HEADS.length));
  }
  return row;
}

function weight(head, query, key) {
  return weights[(head * tokens.length + query) * tokens.length + key];
}

function readout(query, key) {
  const list = HEADS.map(({ name }, head) => `${name} ${weight(head, query, key).toFixed(3)}`);
  return `${tokens[query]} (${query + 1}) → ${tokens[key]} (${key + 1}): ${list.join(', ')}`;
}
