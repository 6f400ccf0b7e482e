// Programs with a time limit that takes their children down with them.

import { spawn } from 'node:child_process';

/**
 * Starts a program in a process group of its own.
 *
 * @returns `done`, what it printed, which is rejected if it fails or lasts too long; and `stop`, which ends it and waits.
 */
export function start(command, args, { cwd, env, seconds = 60 } = {}) {
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, ...env },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  let late = false;
  child.stdout.on('data', (chunk) => (stdout += chunk));
  child.stderr.on('data', (chunk) => (stderr += chunk));

  const kill = () => {
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It has ended already, with all its children.
    }
  };
  const timer = setTimeout(() => {
    late = true;
    kill();
  }, seconds * 1000);
  const done = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => {
      clearTimeout(timer);
      if (status === 0) return resolve(stdout);
      const why = late ? `not done after ${seconds} s` : `exit status ${status}`;
      reject(new Error(`${why}: ${lastLines(stderr || stdout)}`));
    });
  });
  const stop = () => {
    kill();
    return done.catch(() => {});
  };
  return { done, stop };
}

/** Runs a program to its end and returns what it printed. */
export const run = (command, args, options) => start(command, args, options).done;

/** The lines that tell the cause are the first to name an error, else the last. */
function lastLines(text) {
  const lines = text.split('\n').filter((line) => line.trim());
  const error = lines.findIndex((line) => /error/i.test(line));
  return (error < 0 ? lines.slice(-4) : lines.slice(error, error + 4)).join(' | ').slice(0, 600);
}
