// The page: what the worker tells is drawn.

import { createHeatMap } from '../vite-app/heat-map.js';
import { beginFigures, figuresInWords } from './alive.js';
import { drawChart } from './chart.js';

const LETTERS = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZαβγδεζ'];
/** The loss of the first steps may be above that of guessing: there the axis ends. */
const TOP = 4;

const element = (id) => document.getElementById(id);

let worker;
/** What the worker said of the model when it began. */
let begun;
/** The last look at it: the sequence, what it says comes next, weights and scores of heads. */
let seen;
let maps = [];
let losses = [];
/** Scores so far, by layer and head. @type {{ step: number, value: number }[][][]} */
let scores = [];
/** Whose weights are shown in the letters; until somebody points, the best head's in the middle of the repeat. */
let chosen = { layer: undefined, head: undefined, query: undefined };
let rate = 0;
let isDue = false;

element('start').addEventListener('click', () => {
  if (losses.length === 0) beginFigures();
  say('start');
  showState('learning');
});
element('stop').addEventListener('click', () => say('stop'));
element('reset').addEventListener('click', begin);
window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawSoon);
window.addEventListener('resize', drawSoon);
begin();

/** A worker with a new model. */
function begin() {
  worker?.terminate();
  worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
  worker.addEventListener('error', ({ message }) => showError(message ?? 'the worker could not be loaded'));
  worker.addEventListener('message', ({ data }) => hear(data));
  losses = [];
  scores = [];
  chosen = {};
  element('outcome').hidden = true;
  element('alive').textContent = '';
  element('status').textContent = 'preparing';
  showState('preparing');
}

function say(word) {
  worker.postMessage(word);
}

function hear({ begun: first, losses: more, tokensPerSecond, seen: look, stopped, done, error }) {
  if (error) return showError(error);
  if (tokensPerSecond) rate = rate === 0 ? tokensPerSecond : 0.8 * rate + 0.2 * tokensPerSecond;
  if (more) losses.push(...more);
  if (look) remember(look);
  if (first) {
    begun = first;
    build();
    showState('ready');
  }
  if (stopped) showState('stopped');
  if (done) showOutcome(done);
  drawSoon();
}

function showState(state) {
  document.body.dataset.state = state;
  element('start').disabled = state !== 'ready' && state !== 'stopped';
  element('start').textContent = state === 'stopped' ? 'Go on' : 'Start';
  element('stop').disabled = state !== 'learning';
  element('reset').disabled = state === 'preparing';
}

function showError(message) {
  showState('failed');
  element('status').textContent = message;
}

function remember(look) {
  seen = look;
  seen.scores.forEach((heads, layer) => {
    scores[layer] ??= heads.map(() => []);
    heads.forEach((value, head) => scores[layer][head].push({ step: look.step ?? 0, value }));
  });
}

/** What stays from look to look: letters, and a picture for each head. */
function build() {
  const { ids, first, second, length } = seen.sequence;
  const isInSegment = (i) => (i >= first && i < first + length) || (i >= second && i < second + length);
  element('tokens').replaceChildren(
    ...ids.map((id, i) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.append(LETTERS[id], document.createElement('small'));
      button.classList.toggle('segment', isInSegment(i));
      for (const event of ['pointerenter', 'focus', 'click'])
        button.addEventListener(event, () => choose({ ...chosen, query: i }));
      return button;
    }),
  );
  maps = seen.weights.map((heads, layer) =>
    heads.map((_, head) => {
      const name = `layer ${layer + 1}, head ${head + 1}`;
      const map = createHeatMap(name, (query) => choose({ layer, head, query }));
      const score = document.createElement('output');
      score.className = layer === 0 ? 'previous' : 'induction';
      map.figure.querySelector('figcaption').append(score);
      return { ...map, score };
    }),
  );
  element('heads').replaceChildren(...maps.flat().map(({ figure }) => figure));
}

function choose(what) {
  chosen = what;
  drawSoon();
}

/** With the next frame, once. */
function drawSoon() {
  if (isDue || !begun) return;
  isDue = true;
  window.requestAnimationFrame(() => {
    isDue = false;
    draw();
  });
}

/** Canvases first, which ask for sizes and colours; then what changes the page: else each would have it laid out anew. */
function draw() {
  const { steps, bar } = begun;
  const points = losses.map(({ step, value }) => ({ step, value: Math.min(value, TOP) }));
  drawChart(element('loss-chart'), { steps, top: TOP, lines: [{ color: '--heat', points }] });
  drawChart(element('head-chart'), {
    ...{ steps, top: 1, bar },
    lines: scores.flatMap((heads, layer) => linesOf(heads, layer === 0 ? '--second' : '--heat')),
  });
  maps.forEach((heads, layer) =>
    heads.forEach((map, head) => map.draw(seen.weights[layer][head], seen.sequence.ids.length)),
  );
  writeProgress();
  writeHeads();
}

function writeProgress() {
  const { steps, weights } = begun;
  const { state } = document.body.dataset;
  const step = losses.at(-1)?.step ?? 0;
  const speed = state === 'learning' ? `, ${Math.round(rate).toLocaleString('en')} tokens/s` : '';
  element('progress').value = step / steps;
  write(element('loss'), step === 0 ? '' : meanOfLast(10).toFixed(3));
  if (step > 0) write(element('alive'), figuresInWords());
  if (state === 'failed') return;
  const status =
    step === 0 ? `${weights.toLocaleString('en')} random weights` : `step ${step} of ${steps}${speed}`;
  write(element('status'), status);
}

/** Text that is the same is not written: it would be laid out anew. */
function write(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

function meanOfLast(count) {
  const last = losses.slice(-count);
  return last.reduce((sum, { value }) => sum + value, 0) / last.length;
}

/** A line for each head of a layer, the best one last. */
function linesOf(heads, color) {
  const lastOf = (points) => points.at(-1)?.value ?? 0;
  const sorted = [...heads].sort((a, b) => lastOf(a) - lastOf(b));
  return sorted.map((points, i) => ({ color, points, faint: i < sorted.length - 1 }));
}

/** The letters, coloured by one row of one head, and what the model says comes next. */
function writeHeads() {
  const { sequence, weights, guesses } = seen;
  const { ids, second, length } = sequence;
  const best = bestHead(seen.scores);
  const { layer = best.layer, head = best.head, query = second + (length >> 1) } = chosen;
  maps.forEach((heads, i) =>
    heads.forEach((map, j) => {
      map.select(query);
      write(map.score, seen.scores[i][j].toFixed(2));
    }),
  );
  const row = weights[layer][head].subarray(query * ids.length, (query + 1) * ids.length);
  [...element('tokens').children].forEach((button, i) => {
    button.style.setProperty('--weight', Math.sqrt(row[i]).toFixed(3));
    if (button.ariaPressed !== String(i === query)) button.ariaPressed = String(i === query);
    const isTold = i >= second && i < second + length - 1;
    const guess = button.querySelector('small');
    write(guess, isTold ? LETTERS[guesses[i]] : '');
    guess.classList.toggle('right', isTold && guesses[i] === ids[i + 1]);
  });
  const most = row.indexOf(Math.max(...row));
  write(
    element('readout'),
    `layer ${layer + 1}, head ${head + 1}: ${LETTERS[ids[query]]} (${query + 1}) looks at ` +
      `${LETTERS[ids[most]]} (${most + 1}) with ${Math.round(100 * row[most])} % of its weight`,
  );
}

/** Of the last layer. */
function bestHead(scoresNow) {
  const layer = scoresNow.length - 1;
  return { layer, head: scoresNow[layer].indexOf(Math.max(...scoresNow[layer])) };
}

function showOutcome({ measures, hash, recorded }) {
  showState('done');
  const isSame = hash === recorded;
  const bits = document.createElement('b');
  bits.textContent = isSame ? 'The same bits as in Node.' : `On record, from Node, is ${recorded}.`;
  bits.classList.toggle('right', isSame);
  const code = document.createElement('code');
  code.textContent = hash;
  element('measures').replaceChildren(
    ...Object.entries(measures).flatMap(([name, { value, bar }]) =>
      entry(name, `${value.toFixed(4)} (has to exceed ${bar})`),
    ),
    ...entry('SHA-256 of the weights', code, ' ', bits),
  );
  element('measures').dataset.hash = hash;
  element('outcome').hidden = false;
}

/** A term and what it is. @param {string} name @param {(string | Node)[]} parts */
function entry(name, ...parts) {
  const term = document.createElement('dt');
  const value = document.createElement('dd');
  term.textContent = name;
  value.append(...parts);
  return [term, value];
}
