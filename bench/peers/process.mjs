// A peer in a process of its own.

import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('child.mjs', import.meta.url));

/**
 * @param {string} url of the peer's module
 * @returns {import('./remote.mjs').Connect}
 */
export const inProcess = (url) => (onAnswer, onEnd) => {
  const child = fork(program, [url], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
  let lastWords = '';
  child.stderr?.setEncoding('utf8').on('data', (text) => {
    lastWords = (lastWords + text).slice(-4000);
  });
  const end = (/** @type {string} */ how) => {
    const cause = lastWords.match(/^\s*(?:\w*Error|FATAL ERROR|.*failed).*$/m)?.[0].trim();
    onEnd(cause ? `${how}: ${cause}` : how);
  };
  child.on('message', onAnswer);
  child.on('close', (code, signal) => end(signal ? `ended by ${signal}` : `ended with code ${code}`));
  child.on('error', ({ message }) => end(message));
  return { send: (question) => void child.send(question), stop: () => void child.kill('SIGKILL') };
};
