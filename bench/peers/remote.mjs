// A candidate in a process or worker of its own: a peer that crashes, hangs or fills the memory takes nobody with it.

/** Milliseconds until an answer counts as never coming. */
const PATIENCE = 60_000;

/**
 * @typedef {import('../suite/candidate.mjs').Candidate & {
 *   describe: () => Promise<{ available: true | string, version: string }>, stop: () => void }} RemoteCandidate
 */

/**
 * @typedef {object} Connection
 * @property {(question: { method: string, given: unknown[] }) => void} send
 * @property {() => void} stop
 */

/**
 * Starts a process or worker.
 *
 * @typedef {(onAnswer: (answer: any) => void, onEnd: (how: string) => void) => Connection} Connect
 */

/**
 * @param {string} peer its name
 * @param {Connect} connect
 * @param {number} [patience]
 * @returns {RemoteCandidate}
 */
export function remoteCandidate(peer, connect, patience = PATIENCE) {
  /** @type {Child | undefined} */
  let child;
  const ask = async (/** @type {string} */ method, /** @type {unknown[]} */ ...given) => {
    if (!child?.isAlive) child = new Child(connect);
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

/** One process or worker, asked one thing at a time. */
class Child {
  isAlive = true;
  #connection;
  /** @type {((failure: Error) => void) | undefined} */
  #fail;
  /** @type {((answer: any) => void) | undefined} */
  #answer;

  /** @param {Connect} connect */
  constructor(connect) {
    this.#connection = connect(
      (answer) => this.#answer?.(answer),
      (how) => {
        this.isAlive = false;
        this.#fail?.(new Error(how));
      },
    );
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
      this.#connection.send({ method, given });
    });
  }

  stop() {
    this.isAlive = false;
    this.#connection.stop();
  }
}

/**
 * Asks each whether it can run here.
 *
 * @param {readonly RemoteCandidate[]} candidates
 * @returns {Promise<{ peers: RemoteCandidate[], versions: Record<string, string>, absent: Record<string, string> }>}
 */
export async function openPeers(candidates) {
  const peers = [];
  /** @type {Record<string, string>} */
  const versions = {};
  /** @type {Record<string, string>} */
  const absent = {};
  for (const candidate of candidates) {
    const { available, version } = await candidate
      .describe()
      .catch(({ message }) => ({ available: message, version: '' }));
    if (available === true) {
      peers.push(candidate);
      versions[candidate.peer] = version;
    } else {
      candidate.stop();
      absent[candidate.peer] = available;
    }
  }
  return { peers, versions, absent };
}
