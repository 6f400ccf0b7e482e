// What some tests need beside Node, npm and `npm ci`. Each name is a tag of vitest too.

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { whyNot } from '../matrix/browsers.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** The file of the ONNX project's cases: the one that is named, or one that may lie beside this project. */
export const onnxCasesFile = () =>
  process.env.WASM_ATTENTION_CONFORMANCE || `${root}../shared/conformance/onnx-given.json`;

/** The folder of small checkpoints with known outputs: the one that is named, or one that may lie beside this project. */
export const modelsFolder = () => process.env.WASM_ATTENTION_MODELS || `${root}../shared/models`;

/** The file of gradients that PyTorch computed: the one that is named, or one that may lie beside this project. */
export const gradientCasesFile = () =>
  process.env.WASM_ATTENTION_GRADIENTS || `${root}../shared/conformance/gradients-given.json`;

/**
 * @typedef {object} Requirement
 * @property {string} without what the list of tests that were not run says
 * @property {() => boolean} isMet
 * @property {string} [get] how to get it, where that is possible
 * @property {boolean} [optional] whether CI does without
 */

/** @type {Record<string, Requirement>} */
export const requirements = {
  Chromium: {
    without: 'without Chromium',
    isMet: () => !whyNot('Chromium'),
    get: 'apt-get install chromium, or name its program in the variable CHROMIUM',
  },
  Firefox: {
    without: 'without Firefox',
    isMet: () => !whyNot('Firefox'),
    get: 'apt-get install firefox-esr, or name its program in the variable FIREFOX',
  },
  bench: {
    without: 'without the packages of bench/',
    isMet: () => existsSync(`${root}bench/node_modules`),
    get: 'node scripts/install.mjs bench',
  },
  book: {
    without: 'without the book of learned/text/',
    isMet: () => existsSync(`${root}learned/text/book/node_modules`),
    get: 'node scripts/install.mjs learned/text/book',
  },
  encoder: {
    without: 'without the trained encoder of examples/lookup/',
    isMet: () => existsSync(`${root}examples/lookup/weights/node_modules`),
    get: 'node scripts/install.mjs examples/lookup/weights',
  },
  workerd: {
    without: 'without workerd',
    isMet: () => existsSync(`${root}test/matrix/runtimes/node_modules/miniflare`),
    get: 'node scripts/install.mjs test/matrix/runtimes',
  },
  compilers: {
    without: 'without the compilers of test/types/',
    isMet: () => existsSync(`${root}test/types/node_modules/typescript54`),
    get: 'node scripts/install.mjs test/types',
  },
  'ONNX-cases': {
    without: 'without the ONNX cases',
    isMet: () => Boolean(process.env.WASM_ATTENTION_CONFORMANCE) || existsSync(onnxCasesFile()),
    get: 'name their file in the variable WASM_ATTENTION_CONFORMANCE',
    optional: true,
  },
  'gradient-cases': {
    without: 'without the cases of gradients',
    isMet: () => Boolean(process.env.WASM_ATTENTION_GRADIENTS) || existsSync(gradientCasesFile()),
    get: 'name their file in the variable WASM_ATTENTION_GRADIENTS',
    optional: true,
  },
  'model-checkpoints': {
    without: 'without the checkpoints of the families',
    // A folder that is named must exist: whoever names one wants it run, not skipped.
    isMet: () => Boolean(process.env.WASM_ATTENTION_MODELS) || existsSync(modelsFolder()),
    get: 'name their folder in the variable WASM_ATTENTION_MODELS',
    optional: true,
  },
  'Node-22': {
    without: 'without Node 22',
    isMet: () => Number(process.versions.node.split('.')[0]) >= 22,
  },
  Float16Array: { without: 'without Float16Array', isMet: () => 'Float16Array' in globalThis },
  POSIX: { without: 'on Windows', isMet: () => process.platform !== 'win32' },
};
