// The page: what is chosen goes to the worker, what comes back is shown, kept and handed on.

import schema from '../suite/result.schema.json';
import { entryName, ownBest, OWN } from '../suite/analysis.mjs';
import { makeResultFile } from '../suite/result.mjs';
import { fullEffort, quickEffort } from '../suite/run.mjs';
import { WIDE_SPREAD } from '../suite/statistics.mjs';
import { resultFileReader } from '../suite/validate.mjs';
import { groupTitles, workloads } from '../suite/workloads.mjs';
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
    const boxes = members.map(({ id, label, quick }) => {
      const box = make('input', { type: 'checkbox', name: 'workload', value: id, checked: quick });
      return make('label', {}, box, ` ${label}`);
    });
    const title = (groupTitles[group] ?? group).split(':')[0];
    const count = make('span', { className: 'count' });
    count.dataset.group = group;
    element('choices').append(make('details', {}, make('summary', {}, `${title} `, count), ...boxes));
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
  element('run').disabled = chosen().length === 0 || worker !== undefined;
}

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

/** @param {{ ids: string[], threads: number[], quick: boolean }} order @returns {Promise<string>} how it ended */
function run(order) {
  const effort = order.quick ? quickEffort : fullEffort;
  const file = makeResultFile(facts, [], effort);
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
    running.onmessage = ({ data: { progress, result, end: how, reason } }) => {
      if (progress) {
        element('bar').value = progress.index / progress.count;
        element('step').textContent =
          `${progress.index + 1} of ${progress.count}: ${progress.id}, ${progress.step}`;
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
  const { engine, machine, date } = file;
  const cores = machine.cores ? `, ${machine.cores} cores` : '';
  element('origin').textContent =
    `${origin} ${engine.name} ${engine.version}${cores}, wasm-attention ${file.versions[OWN]}, ${date.slice(0, 10)}.`;
  element('table').replaceChildren(...tableOf(file, reference));
  drawAll(element('plots'), file);
  const referenceTitle =
    reference && `${reference.name}: ${reference.file.engine.name} ${reference.file.engine.version}`;
  element('reference-plots').replaceChildren();
  if (reference) {
    element('reference-plots').append(make('h2', {}, `Beside it, measured elsewhere: ${referenceTitle}`));
    const place = make('div');
    element('reference-plots').append(place);
    drawAll(place, reference.file);
  }
}

/** @param {HTMLElement} place @param {ResultFile} file */
function drawAll(place, file) {
  const width = Math.min(860, document.body.clientWidth - 32);
  place.replaceChildren(
    ...plotsFor(file).map(({ plot, title }) =>
      make('figure', {}, make('figcaption', {}, title), drawPlot({ plot, file }, { width })),
    ),
  );
}

/** @param {ResultFile} file @param {{ name: string, file: ResultFile } | undefined} reference */
function tableOf(file, reference) {
  const head = ['workload', 'who', 'ms', 'spread', 'GFLOP/s', 'limit', 'error'];
  if (reference) head.push(`limit, ${reference.name}`);
  const cell = (/** @type {string} */ tag) => (/** @type {string} */ text, /** @type {number} */ column) =>
    make(tag, { className: column < 2 ? 'left' : '' }, text);
  const rows = file.results.flatMap(({ workload, entries }) => {
    const there = reference?.file.results.find((result) => result.workload.id === workload.id);
    const best = there && ownBest(there.entries)?.share?.median;
    return entries.map((entry, index) => {
      const { time, gflops, share, error, state, reason } = entry;
      const name = entryName(entry).replace(`${OWN} `, '');
      const cells = time
        ? [
            digits(time.median),
            percent(time.spread) + (time.spread > WIDE_SPREAD ? ' *' : ''),
            digits(gflops),
            share ? percent(share.median) + (workload.limit === 'memory' ? ' r' : '') : '',
            error?.toExponential(1) ?? '',
          ]
        : [state, reason ?? '', '', '', ''];
      if (reference) cells.push(index === 0 ? percent(best) : '');
      return make('tr', {}, ...[index === 0 ? workload.id : '', name, ...cells].map(cell('td')));
    });
  });
  return [make('thead', {}, make('tr', {}, ...head.map(cell('th')))), make('tbody', {}, ...rows)];
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
      make('option', { value: name }, `${name} (${file.engine.name} ${file.engine.version})`),
    );
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
addEventListener('hashchange', openShared);
await loadReferences();
await openShared();
await runAlone();
