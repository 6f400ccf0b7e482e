// The peers are heavy, so they are no part of the project's own dependencies: the first benchmark run
// installs them.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('.', import.meta.url));

/** @param {string} path relative to bench/ */
const readJson = (path) => JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'));

/** Whether the packages there are those of package.json, which pins exact versions. */
function isInstalled() {
  try {
    const { dependencies } = readJson('package.json');
    return Object.entries(dependencies).every(
      ([name, version]) => readJson(`node_modules/${name}/package.json`).version === version,
    );
  } catch {
    return false;
  }
}

/** Install scripts stay off: nothing here needs one, and one of them downloads binaries. */
export function ensureInstalled() {
  if (isInstalled()) return;
  process.stderr.write('Installing the peers into bench/node_modules (once, some 500 MB) ...\n');
  const command = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', folder];
  execFileSync('npm', command, { stdio: ['ignore', 2, 2], shell: process.platform === 'win32' });
}
