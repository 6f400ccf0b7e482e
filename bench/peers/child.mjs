// The process of one peer. Run as: node child.mjs URL, of the peer's module.

import { answering } from './answer.mjs';

/** @type {import('./peer.mjs').Peer} */
const peer = (await import(process.argv[2])).default;
const answer = answering(peer);

process.on('message', async (/** @type {{ method: string, given: unknown[] }} */ question) => {
  process.send?.(await answer(question));
});
process.on('disconnect', () => process.exit());
