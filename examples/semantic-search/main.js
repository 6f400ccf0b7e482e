// The page: what is typed goes to the worker, what it finds is shown.

import { createHeatMap } from '../vite-app/heat-map.js';

const TEXT = `The museum opens at ten and is closed on Mondays.
Trains to the coast leave every hour from platform four.
Our rooms have a view of the lake, and breakfast is included.
The soup of the day is pumpkin with ginger.
A doctor is on duty day and night, next to the church.
The beach is safe for children: the water is shallow.
Parking is free after six in the evening.
In winter the mountain road may be closed by snow.
You can rent bicycles behind the station.
Fresh fish is sold at the harbour every morning.
Dogs are welcome in the park, but not on the playground.
The concert begins at eight, tickets are sold at the door.`;
const QUESTION = 'I feel ill, who can help me?';
const LAYERS = 2;
const HEADS = 4;

const element = (id) => document.getElementById(id);
const text = element('text');
const question = element('question');
const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });

/** The line whose heads are shown; undefined: the question. */
let look;
let picture = { words: [], heads: [] };
let selected = 0;

const maps = Array.from({ length: LAYERS * HEADS }, (_, i) => {
  const name = `layer ${Math.floor(i / HEADS) + 1}, head ${(i % HEADS) + 1}`;
  const strongest = document.createElement('p');
  const map = createHeatMap(name, select);
  map.figure.append(strongest);
  return { ...map, strongest };
});
element('heads').append(...maps.map(({ figure }) => figure));

text.value = TEXT;
question.value = QUESTION;
element('controls').addEventListener('submit', (event) => event.preventDefault());
element('controls').addEventListener('input', ask);
element('look-question').addEventListener('click', () => lookAt(undefined));
window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
worker.addEventListener('error', ({ message }) => showError(message ?? 'the worker could not be loaded'));
worker.addEventListener('message', ({ data }) => {
  if (data.progress) showProgress(data.progress);
  else if (data.error) showError(data.error);
  else show(data.answer);
});
ask();

function ask() {
  worker.postMessage({ text: text.value, question: question.value, look });
}

function lookAt(line) {
  look = line;
  ask();
}

function showProgress({ what, done, total }) {
  const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
  element('progress').hidden = false;
  element('progress').value = done / total;
  element('status').textContent =
    what === 'downloading'
      ? `downloading the encoder: ${megabytes(done)} of ${megabytes(total)} MB`
      : `reading: ${done} of ${total} lines`;
}

function showError(message) {
  element('progress').hidden = true;
  element('status').textContent = message;
}

function show(answer) {
  element('progress').hidden = true;
  element('status').textContent =
    `${answer.lines} ${answer.lines === 1 ? 'line' : 'lines'} searched in ${answer.milliseconds.toFixed(0)} ms (${answer.build} build)`;
  element('found').replaceChildren(...answer.found.map((found) => item(found, answer.look)));
  element('look-question').ariaPressed = String(answer.look === undefined);
  picture = answer.picture;
  selected = Math.min(selected, Math.max(0, picture.words.length - 1));
  element('words').replaceChildren(...picture.words.map(wordButton));
  draw();
}

function item({ line, cosine }, shown) {
  const entry = document.createElement('li');
  const button = document.createElement('button');
  button.type = 'button';
  button.ariaPressed = String(line.number === shown);
  button.style.setProperty('--cosine', Math.max(0, cosine).toFixed(3));
  const value = document.createElement('span');
  value.textContent = cosine.toFixed(2);
  value.title = 'cosine';
  button.append(value, line.text);
  button.addEventListener('click', () => lookAt(line.number));
  entry.append(button);
  return entry;
}

function wordButton(word, i) {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = word;
  for (const event of ['pointerenter', 'focus', 'click']) button.addEventListener(event, () => select(i));
  return button;
}

function draw() {
  const { words } = picture;
  const heads = picture.heads.flat();
  maps.forEach(({ draw: drawMap, strongest }, i) => {
    const weights = heads[i] ?? new Float32Array();
    drawMap(weights, words.length);
    strongest.textContent = linkOf(words, weights);
  });
  select(selected);
}

/** The strongest link from a word to another. */
function linkOf(words, weights) {
  let best = -1;
  weights.forEach((weight, i) => {
    const isOther = Math.floor(i / words.length) !== i % words.length;
    if (isOther && (best < 0 || weight > weights[best])) best = i;
  });
  if (best < 0) return '';
  const [from, to] = [Math.floor(best / words.length), best % words.length].map((i) => words[i]);
  return `${from} → ${to} ${Math.round(100 * weights[best])} %`;
}

/** Shows what a word attends to; `key` is another word, by default the one it attends to most. */
function select(query, key) {
  selected = query;
  const { words } = picture;
  const heads = picture.heads.flat();
  const weight = (head, to) => head[query * words.length + to];
  const mean = words.map((_, to) => heads.reduce((sum, head) => sum + weight(head, to) / heads.length, 0));
  [...element('words').children].forEach((button, i) => {
    button.style.setProperty('--weight', Math.sqrt(mean[i]).toFixed(3));
    button.ariaPressed = String(i === query);
  });
  for (const map of maps) map.select(query);
  const others = mean.map((share, i) => (i === query ? -1 : share));
  const shown = key ?? others.indexOf(Math.max(...others));
  element('readout').textContent =
    words.length > 1
      ? `${words[query]} → ${words[shown]}: ${heads.map((head) => weight(head, shown).toFixed(2)).join(', ')}`
      : '';
}
