// Examples with a package.json of their own, as after `npm install` in a clone: a copy with the package linked into it.

import { cpSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const clone = join(root, 'build', `examples-installed-${process.pid}`);
const folder = join(clone, 'examples');

/**
 * The copy's folder. It lies in the project, whose development dependencies stand in for the example's.
 *
 * @param {string} name
 */
export function installExample(name) {
  const path = join(folder, name);
  copy(`examples/${name}`);
  cpSync(join(root, 'examples/tsconfig.json'), join(folder, 'tsconfig.json'));
  mkdirSync(join(path, 'node_modules'));
  symlinkSync(root, join(path, 'node_modules/wasm-attention'), 'junction');
  return path;
}

/** What is learned in this repository, for an example that trains it. */
export function copyLearned() {
  copy('learned');
}

export function removeExamples() {
  rmSync(clone, { recursive: true, force: true });
}

/** @param {string} path */
function copy(path) {
  cpSync(join(root, path), join(clone, path), {
    recursive: true,
    filter: (source) => !/node_modules|\bdist\b/.test(source.slice(root.length)),
  });
}
