// The worker of one peer: peer-worker.js?peer=NAME. What child.mjs is among processes.

import { answering } from '../peers/answer.mjs';

// One thread for each: jax-js would start workers of its own.
Reflect.deleteProperty(globalThis, 'Worker');

const name = new URL(location.href).searchParams.get('peer');
const peer = new URL(`./peers/${name}.js`, import.meta.url).href;
const answer = import(peer).then((module) => answering(module.default));

self.onmessage = async ({ data }) => {
  try {
    postMessage(await (await answer)(data));
  } catch (thrown) {
    postMessage({ error: `cannot be loaded: ${thrown instanceof Error ? thrown.message : thrown}` });
  }
};
