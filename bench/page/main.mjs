// The page: what is chosen goes to the worker, what comes back is shown, kept and handed on.

import schema from '../suite/result.schema.json';
import { pagePeers } from '../peers/names.mjs';
import { entryName, factorOver, ownBest, OWN } from '../suite/analysis.mjs';
import { headline } from '../suite/headline.mjs';
import { makeResultFile } from '../suite/result.mjs';
import { fullEffort, quickEffort } from '../suite/run.mjs';
import { WIDE_SPREAD } from '../suite/statistics.mjs';
import { resultFileReader } from '../suite/validate.mjs';
import { groupsInWords, inWords, peerInWords, phrase, shortReason } from '../suite/words.mjs';
import { workloads } from '../suite/workloads.mjs';
import { drawPlot } from '../report/plots.mjs';
import { plotsFor } from '../report/which-plots.mjs';
import { pageFacts, whyNoThreads } from './facts.mjs';
import { decodeResults, encodeResults } from './share.mjs';

/** @typedef {import('../suite/result.mjs').ResultFile} ResultFile */

/** The version of the library that was built in. */
const VERSION = /* global LIBRARY_VERSION */ LIBRARY_VERSION;

const element = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
const make = (/** @type {string} */ tag, properties = {}, /** @type {(Node | string)[]} */ ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

/** What can run here: processes of their own a page has not. */
const runnable = workloads.filter(({ ownProcess }) => !ownProcess);
const readFile = resultFileReader(schema);
const facts = pageFacts(VERSION);

/** The results on show, and where they are from. @type {{ file: ResultFile, origin: string } | undefined} */
let shown;
/** @type {{ name: string, file: ResultFile }[]} */
let references = [];
/** @type {Worker | undefined} */
let worker;

// -- Choosing

function fillChoices() {
  for (const group of new Set(runnable.map((workload) => workload.group))) {
    const members = runnable.filter((workload) => workload.group === group);
    const boxes = members.map((workload) => {
      const { id, quick } = workload;
      const box = make('input', { type: 'checkbox', name: 'workload', value: id, checked: quick });
      return make('label', {}, box, ` ${group === 'odd' ? phrase(workload) : inWords(workload).size}`);
    });
    const count = make('span', { className: 'count' });
    count.dataset.group = group;
    const title = make('summary', {}, `${groupsInWords[group] ?? group} `, count);
    element('choices').append(make('details', {}, title, ...boxes));
  }
  countChoices();
}

const boxes = () => /** @type {HTMLInputElement[]} */ ([...document.querySelectorAll('[name=workload]')]);
const chosen = () => boxes().flatMap((box) => (box.checked ? [box.value] : []));

function countChoices() {
  for (const count of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('.count'))) {
    const all = [...(count.closest('details')?.querySelectorAll('input') ?? [])];
    count.textContent = `${all.filter(({ checked }) => checked).length} of ${all.length}`;
  }
  const count = chosen().length;
  element('summary').textContent = `${count} of ${runnable.length} workloads chosen`;
  element('run').disabled = count === 0 || worker !== undefined;
}

/** How much a peer's page loads once, where that is worth a word. @type {Record<string, string>} */
const DOWNLOADS = { 'onnxruntime-web': '14 MB' };

function fillPeers() {
  for (const peer of pagePeers) {
    const checked = peer in DOWNLOADS;
    const box = make('input', { type: 'checkbox', name: 'peer', value: peer, checked });
    const note = DOWNLOADS[peer] ? ` (${DOWNLOADS[peer]})` : '';
    element('peers').append(make('label', {}, box, ` ${peerInWords(peer)}${note}`));
  }
}

const chosenPeers = () =>
  /** @type {HTMLInputElement[]} */ ([...document.querySelectorAll('[name=peer]:checked')]).map(
    ({ value }) => value,
  );

/** @param {string} which */
function choose(which) {
  const quick = new Set(runnable.flatMap(({ id, quick: isQuick }) => (isQuick ? [id] : [])));
  for (const box of boxes()) box.checked = which === 'all' || (which === 'quick' && quick.has(box.value));
  countChoices();
}

function fillThreads() {
  const reason = whyNoThreads();
  const most = reason ? 1 : Math.min(16, navigator.hardwareConcurrency || 1);
  for (let count = 1; count <= most; count = count < 4 ? count + 1 : count * 2) {
    const text = count === 1 ? '1' : `1 and ${count}`;
    element('threads').append(make('option', { value: String(count) }, text));
  }
  element('no-threads').hidden = !reason;
  element('no-threads').textContent = reason ?? '';
}

// -- Running

/** @param {import('./worker.mjs').Order} order @returns {Promise<string>} how it ended */
function run(order) {
  const effort = order.quick ? quickEffort : fullEffort;
  const file = makeResultFile({ ...facts, versions: { ...facts.versions }, absent: {} }, [], effort);
  element('elsewhere').hidden = true;
  shown = { file, origin: 'Measured in this page, just now.' };
  element('results').hidden = true;
  element('progress').hidden = false;
  element('cancel').disabled = false;
  say('');
  worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
  countChoices();
  return new Promise((resolve) => {
    const end = (/** @type {string} */ how, /** @type {string} */ text, bad = false) => {
      worker?.terminate();
      worker = undefined;
      element('progress').hidden = true;
      element('cancel').disabled = true;
      countChoices();
      say(text, bad);
      if (file.results.length > 0) show();
      resolve(how);
    };
    const running = /** @type {Worker} */ (worker);
    running.onerror = (event) =>
      end('failed', `The worker failed: ${event.message ?? 'no reason given'}`, true);
    running.onmessage = ({ data: { progress, result, versions, absent, end: how, reason } }) => {
      if (versions) {
        Object.assign(file.versions, versions);
        Object.assign(file.absent, absent);
      }
      if (progress) {
        const { index, count, id, step } = progress;
        const workload = runnable.find((one) => one.id === id);
        element('bar').value = index / count;
        element('step').textContent = `${index + 1} of ${count}: ${workload && phrase(workload)}; ${step}`;
      }
      if (result) {
        file.results.push(result);
        show();
      }
      const count = `${file.results.length} workload${file.results.length === 1 ? '' : 's'}`;
      if (how === 'done') end(how, `Done: ${count}.`);
      if (how === 'cancelled') end(how, `Cancelled after ${count}.`);
      if (how === 'failed') end(how, `It failed: ${reason}`, true);
    };
    running.postMessage(order);
  });
}

/** @param {string} text */
function say(text, bad = false) {
  element('message').textContent = text;
  element('message').className = bad ? 'bad' : '';
}

// -- Showing

const digits = (/** @type {number | undefined} */ value) =>
  value === undefined ? '' : Number(value.toPrecision(3)).toString();
const percent = (/** @type {number | undefined} */ value) =>
  value === undefined ? '' : `${Math.round(100 * value)} %`;

function show() {
  if (!shown) return;
  const { file, origin } = shown;
  const reference = references.find(({ name }) => name === element('reference').value);
  element('results').hidden = false;
  element('elsewhere').hidden = true;
  const { engine, machine, date, absent } = file;
  const cores = machine.cores ? `, ${machine.cores} cores` : '';
  const [first, ...others] = headline(file.results);
  element('headline').textContent = first ?? '';
  const without = Object.entries(absent).map(([peer, why]) => `Without ${peerInWords(peer)}: ${why}.`);
  element('more').textContent = [...others, ...without].join(' ');
  element('origin').textContent =
    `${origin} ${engine.name} ${engine.version}${cores}, wasm-attention ${file.versions[OWN]}, ${date.slice(0, 10)}.`;
  element('table').replaceChildren(...tableOf(file, reference));
  element('reference-plots').replaceChildren();
  if (reference) {
    const { engine: theirs } = reference.file;
    element('reference-plots').append(
      make('h2', {}, `Measured elsewhere: ${theirs.name} ${theirs.version}`),
      make('p', {}, headline(reference.file.results).join(' ')),
      make('div', { className: 'plots' }),
    );
  }
  draw();
}

/** Plots as wide as there is room. */
function draw() {
  const reference = references.find(({ name }) => name === element('reference').value);
  if (shown) drawInto(element('plots'), shown.file);
  const place = document.querySelector('#reference-plots .plots');
  if (reference && place) drawInto(/** @type {HTMLElement} */ (place), reference.file);
}

/** @param {HTMLElement} place @param {ResultFile} file */
function drawInto(place, file) {
  const width = Math.min(960, place.clientWidth);
  if (width === 0) return;
  place.replaceChildren(
    ...plotsFor(file).map(({ plot, title }) =>
      make('figure', {}, make('figcaption', {}, title), drawPlot({ plot, file }, { width })),
    ),
  );
}

/** Draws again whenever the width has changed. */
function followWidth() {
  let last = document.body.clientWidth;
  new window.ResizeObserver(() => {
    if (document.body.clientWidth === last) return;
    last = document.body.clientWidth;
    draw();
  }).observe(document.body);
}

/** @param {ResultFile} file @param {{ name: string, file: ResultFile } | undefined} reference */
function tableOf(file, reference) {
  const head = ['work', 'who', 'ms', 'time, ours = 1', 'spread', 'GFLOP/s', 'limit', 'error', 'largest'];
  if (reference) head.push(`limit, ${reference.name}`);
  const rows = file.results.flatMap(({ workload, entries }) => {
    const there = reference?.file.results.find((result) => result.workload.id === workload.id);
    const theirs = there && ownBest(there.entries)?.share?.median;
    const best = ownBest(entries);
    return entries.map((entry, index) => {
      const { peer, time, gflops, share, error, rootMeanSquareError, state, reason } = entry;
      const name = peer === OWN ? entryName(entry) : peerInWords(peer);
      const cells = time
        ? [
            digits(time.median),
            digits(factorOver(entry, best)?.median),
            percent(time.spread) + (time.spread > WIDE_SPREAD ? ' *' : ''),
            digits(gflops),
            share ? percent(share.median) + (workload.limit === 'memory' ? ' r' : '') : '',
            rootMeanSquareError?.toExponential(1) ?? '',
            error?.toExponential(1) ?? '',
          ].map((text) => make('td', {}, text))
        : [make('td', { className: 'reason', colSpan: 7 }, `${state}: ${shortReason(reason)}`)];
      if (reference) cells.push(make('td', {}, index === 0 ? percent(theirs) : ''));
      cells.unshift(make('td', { className: 'left' }, name));
      if (index === 0)
        cells.unshift(
          make('th', { className: 'left', rowSpan: entries.length, scope: 'row' }, phrase(workload)),
        );
      return make('tr', { className: index === 0 ? 'first' : '' }, ...cells);
    });
  });
  return [
    make(
      'thead',
      {},
      make(
        'tr',
        {},
        ...head.map((text, column) => make('th', { className: column < 2 ? 'left' : '' }, text)),
      ),
    ),
    make('tbody', {}, ...rows),
  ];
}

// -- Handing on

const json = () => `${JSON.stringify(shown?.file, null, 1)}\n`;

function download() {
  const address = URL.createObjectURL(new Blob([json()], { type: 'application/json' }));
  const { engine, date } = /** @type {any} */ (shown).file;
  make('a', { href: address, download: `wasm-attention-${engine.name}-${date.slice(0, 10)}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** @param {string} text @param {string} done */
async function copy(text, done) {
  try {
    await navigator.clipboard.writeText(text);
    say(done);
  } catch {
    say('The browser does not let this page write to the clipboard.', true);
  }
}

async function share() {
  const address = new URL(location.href);
  address.hash = `results=${await encodeResults(/** @type {any} */ (shown).file)}`;
  history.replaceState(null, '', address);
  await copy(address.href, 'The link is in the clipboard, and in the address bar.');
}

/** Results that came with the address. */
async function openShared() {
  const encoded = /^#results=(.*)$/.exec(location.hash)?.[1];
  if (encoded === undefined) return;
  try {
    const text = await decodeResults(encoded).catch(() => {
      throw new Error('the link is damaged, perhaps cut off');
    });
    shown = { file: readFile(text, 'this link'), origin: 'Measured elsewhere, opened from a link.' };
    show();
  } catch (error) {
    say(`These results cannot be opened: ${/** @type {Error} */ (error).message}.`, true);
  }
}

async function loadReferences() {
  const response = await fetch(new URL('./references.json', import.meta.url)).catch(() => undefined);
  references = response?.ok ? await response.json() : [];
  for (const { name, file } of references)
    element('reference').append(
      make('option', { value: name }, `${file.engine.name} ${file.engine.version}, by the project`),
    );
  showElsewhere();
}

/** Until something was measured here: what the project measured, in a browser if there is a comparison from one. */
function showElsewhere() {
  const found = ['chromium', 'node-24'].flatMap((name) => references.find((one) => one.name === name) ?? []);
  const compared = found.find(({ file }) =>
    file.results.some(({ entries }) => entries.some(({ peer }) => peer !== OWN)),
  );
  const reference = compared ?? found[0];
  if (!reference || shown) return;
  const { engine, machine, date } = reference.file;
  const [first, ...others] = headline(reference.file.results);
  const [large, small] = element('elsewhere').querySelectorAll('p');
  const where = [`${engine.name} ${engine.version}`, machine.processor].filter(Boolean).join(', ');
  large.textContent = first ?? '';
  small.textContent = [...others, `${where}, ${date.slice(0, 10)}.`].join(' ');
  element('elsewhere').hidden = first === undefined;
}

/** `?run=PATTERN&effort=quick&report=ADDRESS`: runs by itself and sends the results, for programs that drive the page. */
async function runAlone() {
  const wishes = new URLSearchParams(location.search);
  const report = wishes.get('report');
  if (!report) return;
  const pattern = new RegExp(wishes.get('run') ?? '');
  const how = await run({
    ids: runnable.flatMap(({ id }) => (pattern.test(id) ? [id] : [])),
    threads: (wishes.get('threads') ?? '1').split(',').map(Number),
    quick: wishes.get('effort') === 'quick',
    peers: (wishes.get('peers') ?? '').split(',').filter(Boolean),
  });
  const body = how === 'done' ? json() : JSON.stringify({ failed: element('message').textContent });
  await fetch(report, { method: 'POST', body });
}

fillPeers();
fillChoices();
fillThreads();
const { engine, machine } = facts;
element('engine').textContent =
  `${engine.name} ${engine.version}${machine.cores ? `, ${machine.cores} processors` : ''}, wasm-attention ${VERSION}`;
element('groups').addEventListener('change', countChoices);
for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-choose]')))
  button.addEventListener('click', () => choose(button.dataset.choose ?? ''));
element('form').addEventListener('submit', (/** @type {Event} */ event) => {
  event.preventDefault();
  const count = Number(element('threads').value);
  void run({
    ids: chosen(),
    threads: count > 1 ? [1, count] : [1],
    quick: element('effort').value === 'quick',
    peers: chosenPeers(),
  });
});
element('cancel').addEventListener('click', () => {
  element('step').textContent = 'Ending after this call ...';
  worker?.postMessage('cancel');
});
element('download').addEventListener('click', download);
element('copy').addEventListener('click', () => copy(json(), 'The results are in the clipboard.'));
element('share').addEventListener('click', share);
element('reference').addEventListener('change', show);
followWidth();
addEventListener('hashchange', openShared);
await loadReferences();
await openShared();
await runAlone();
