// A candidate in a process of its own: a peer that crashes, hangs or fills the memory takes nobody with it.

import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('child.mjs', import.meta.url));

/** Milliseconds until an answer counts as never coming. */
const PATIENCE = 60_000;

/**
 * @typedef {import('../suite/candidate.mjs').Candidate & {
 *   describe: () => Promise<{ available: true | string, version: string }>, stop: () => void }} RemoteCandidate
 */

/**
 * @param {string} peer its name
 * @param {string} url of its module
 * @param {number} [patience]
 * @returns {RemoteCandidate}
 */
export function remoteCandidate(peer, url, patience = PATIENCE) {
  /** @type {Child | undefined} */
  let child;
  const ask = async (/** @type {string} */ method, /** @type {unknown[]} */ ...given) => {
    if (!child?.isAlive) child = new Child(url);
    return /** @type {any} */ (await child.ask(method, given, patience));
  };
  return {
    peer,
    variant: '',
    threads: 1,
    describe: () => ask('describe'),
    async open({ id }, warmupTime) {
      const opened = await ask('open', id, warmupTime);
      if (opened === null) return null;
      return {
        ...opened,
        // JSON has no infinity: what is infinitely wrong arrives as null.
        error: opened.error ?? Infinity,
        rootMeanSquareError: opened.rootMeanSquareError ?? Infinity,
        turn: (/** @type {number} */ milliseconds) => ask('turn', milliseconds),
        close: async () => void (child?.isAlive && (await ask('close'))),
      };
    },
    stop: () => child?.stop(),
  };
}

/** One process, asked one thing at a time. */
class Child {
  isAlive = true;
  #process;
  #lastWords = '';
  /** @type {((failure: Error) => void) | undefined} */
  #fail;
  /** @type {((answer: any) => void) | undefined} */
  #answer;

  /** @param {string} url */
  constructor(url) {
    this.#process = fork(program, [url], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    this.#process.stderr?.setEncoding('utf8').on('data', (text) => {
      this.#lastWords = (this.#lastWords + text).slice(-4000);
    });
    this.#process.on('message', (answer) => this.#answer?.(answer));
    this.#process.on('close', (code, signal) =>
      this.#end(signal ? `ended by ${signal}` : `ended with code ${code}`),
    );
    this.#process.on('error', ({ message }) => this.#end(message));
  }

  /** @param {string} method @param {unknown[]} given @param {number} patience @returns {Promise<unknown>} */
  ask(method, given, patience) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.stop();
        this.#fail?.(new Error(`no answer for ${patience / 1000} s`));
      }, patience);
      const settle = (/** @type {() => void} */ how) => {
        clearTimeout(timer);
        this.#fail = this.#answer = undefined;
        how();
      };
      this.#fail = (failure) => settle(() => reject(failure));
      this.#answer = ({ result, error }) =>
        settle(() => (error === undefined ? resolve(result) : reject(new Error(error))));
      this.#process.send({ method, given });
    });
  }

  stop() {
    this.isAlive = false;
    this.#process.kill('SIGKILL');
  }

  /** @param {string} how */
  #end(how) {
    this.isAlive = false;
    const cause = this.#lastWords.match(/^\s*(?:\w*Error|FATAL ERROR|.*failed).*$/m)?.[0].trim();
    this.#fail?.(new Error(cause ? `${how}: ${cause}` : how));
  }
}
