// Installs a folder that has a package.json and a lock file of its own (bench/, test/runtimes/, ...), when it is needed:
//
//   node scripts/install.mjs bench
//
// Does nothing while the folder's node_modules is what its lock file says.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const npmArguments = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--fetch-retries=1'];

/** Whether a folder's node_modules is what its lock file says. */
export function isInstalled(folder) {
  const record = recordOf(folder);
  return existsSync(record) && readFileSync(record, 'utf8') === lockOf(folder);
}

/** Runs `npm ci` in a folder if its lock file has changed since the last time. Throws when something is missing then. */
export function install(folder) {
  if (isInstalled(folder)) return;
  const cwd = join(root, folder);
  const lock = lockOf(folder);

  console.log(`Installing ${folder}`);
  const options = { cwd, stdio: ['ignore', 'inherit', 'pipe'], encoding: 'utf8' };
  const npm = process.env.npm_execpath; // set where npm itself runs this script
  const { status, stderr, error } = npm?.endsWith('.js')
    ? spawnSync(process.execPath, [npm, ...npmArguments], options)
    : spawnSync('npm', npmArguments, { ...options, shell: process.platform === 'win32' });
  if (status !== 0) throw new Error(`npm ci failed in ${folder}: ${error?.message ?? causeIn(stderr)}`);

  // npm passes over an optional package that it cannot download and reports success.
  const { packages } = JSON.parse(lock);
  const wanted = Object.keys({ ...packages[''].dependencies, ...packages[''].optionalDependencies });
  const missing = wanted.filter((name) => {
    const { os, cpu } = packages[`node_modules/${name}`];
    const isForThisMachine = allows(os, process.platform) && allows(cpu, process.arch);
    return isForThisMachine && !existsSync(join(cwd, 'node_modules', name));
  });
  if (missing.length > 0) throw new Error(`npm could not install ${missing.join(', ')} in ${folder}`);
  if (existsSync(join(cwd, 'node_modules'))) writeFileSync(recordOf(folder), lock);
}

/** A copy of the lock file that was installed last. */
function recordOf(folder) {
  return join(root, folder, 'node_modules/.installed-lock.json');
}

function lockOf(folder) {
  return readFileSync(join(root, folder, 'package-lock.json'), 'utf8');
}

/** Whether a package's `os` or `cpu` field admits a value. */
function allows(field, value) {
  const list = [field ?? []].flat();
  if (list.includes(`!${value}`)) return false;
  return list.includes(value) || list.every((entry) => entry.startsWith('!'));
}

/** The line of npm's output that names the cause. */
function causeIn(stderr) {
  const lines = stderr.split('\n').flatMap((line) => /^npm err\S* +(.+)/i.exec(line)?.[1] ?? []);
  return lines.find((line) => !/^(code|errno|syscall) /.test(line)) ?? stderr.trim();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    for (const folder of process.argv.slice(2)) install(folder);
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
