import { afterEach, expect, it, vi } from 'vitest';
import { nextTurn } from '../../src/platform/turns.js';

afterEach(() => vi.unstubAllGlobals());

it.each(['as in Node', 'as in browsers'])('lets timers and messages have their turn, %s', async (where) => {
  if (where === 'as in browsers') vi.stubGlobal('setImmediate', undefined);
  const seen: string[] = [];
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => seen.push('message');
  port2.postMessage(0);
  setTimeout(() => seen.push('timer'));
  for (let turns = 0; seen.length < 2; turns++) {
    expect(turns).toBeLessThan(100_000);
    await nextTurn();
  }
  expect(seen.sort()).toEqual(['message', 'timer']);
  port1.close();
});
