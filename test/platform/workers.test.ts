// Workers of both kinds, as one thing: the web's are imitated here, and real in threads-browser and worker/browser.

import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { listenTo, makeWorker } from '../../src/platform/start-worker.js';
import { isWorkerSource } from '../../src/platform/workers.js';

const ECHO = `require('node:worker_threads').parentPort.on('message', (message) => {
  if (message === 'end') process.exit(3);
  if (message === 'throw') throw new Error('as told');
  require('node:worker_threads').parentPort.postMessage(message);
})`;

afterEach(() => vi.unstubAllGlobals());

/** What a worker tells, in order. */
function notes(worker: unknown) {
  const told: unknown[][] = [];
  const isWorker = listenTo(worker, {
    message: (message) => told.push(['message', message]),
    failed: (reason, cause) => told.push(['failed', reason, cause]),
    ended: (code) => told.push(['ended', code]),
  });
  return { told, isWorker };
}

describe("a worker of Node's", () => {
  it('is made of a script, and tells of messages and its end', async () => {
    const worker = await makeWorker(undefined, ECHO, 'classic');
    const { told, isWorker } = notes(worker);
    expect(isWorker).toBe(true);
    worker.postMessage([1, 2], []);
    worker.postMessage('end', []);
    await expect
      .poll(() => told)
      .toEqual([
        ['message', [1, 2]],
        ['ended', 3],
      ]);
  });

  it('tells why it fails', async () => {
    const worker = await makeWorker(() => new Worker(ECHO, { eval: true }), '', 'classic');
    const { told } = notes(worker);
    worker.postMessage('throw', []);
    await expect
      .poll(() => told)
      .toEqual([
        ['failed', 'as told', expect.any(Error)],
        ['ended', 1],
      ]);
  });
});

describe('a worker of the web', () => {
  class WebWorker extends EventTarget {
    static made: { address: string | URL; options: WorkerOptions }[] = [];
    constructor(address: string | URL, options: WorkerOptions) {
      super();
      WebWorker.made.push({ address, options });
    }
    postMessage(data: unknown) {
      this.dispatchEvent(new MessageEvent('message', { data }));
    }
  }

  it('is made of a script at an address that ends later, or of a file of its type', async () => {
    vi.useFakeTimers();
    vi.stubGlobal('process', { ...process, getBuiltinModule: undefined });
    vi.stubGlobal('Worker', WebWorker);
    const revoke = vi.spyOn(URL, 'revokeObjectURL');
    await makeWorker(undefined, 'script', 'module');
    await makeWorker('/worker.mjs', 'script', 'module');
    const [own, file] = WebWorker.made;
    expect(own!.address).toMatch(/^blob:/);
    expect(own!.options.name).toBe('wasm-attention');
    expect(own!.options.type).toBeUndefined();
    expect(file).toMatchObject({ address: '/worker.mjs', options: { type: 'module' } });
    expect(revoke).not.toHaveBeenCalled();
    vi.runAllTimers();
    expect(revoke.mock.calls).toEqual([[own!.address]]);
    vi.useRealTimers();
  });

  it('tells of messages and failures', () => {
    const worker = new WebWorker('', {});
    const { told, isWorker } = notes(worker);
    expect(isWorker).toBe(true);
    worker.postMessage([1, 2]);
    const event = Object.assign(new Event('error', { cancelable: true }), { message: '', error: null });
    worker.dispatchEvent(event);
    worker.dispatchEvent(new Event('messageerror'));
    expect(told).toEqual([
      ['message', [1, 2]],
      ['failed', expect.stringContaining('Content-Security-Policy'), null],
      ['failed', 'a message could not be read', undefined],
    ]);
    expect(event.defaultPrevented).toBe(true);
  });
});

describe('what is no worker', () => {
  it.each([undefined, null, 7, {}, { postMessage() {} }])('%o', (value) => {
    expect(notes(value)).toEqual({ told: [], isWorker: false });
  });

  it('comes of no source, or where there are none', () => {
    expect(['/a', new URL('file:///a'), () => {}].map(isWorkerSource)).toEqual([true, true, true]);
    expect([undefined, null, 7, {}].map(isWorkerSource)).toEqual([false, false, false, false]);
  });
});
