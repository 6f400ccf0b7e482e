// What a page can know of the engine and the machine it runs on.

/** Browsers by how they name themselves, the most particular first. @type {[string, RegExp][]} */
const BROWSERS = [
  ['Edge', /Edg\/([\d.]+)/],
  ['Chromium', /(?:HeadlessChrome|Chromium|Chrome)\/([\d.]+)/],
  ['Firefox', /Firefox\/([\d.]+)/],
  ['WebKit', /Version\/([\d.]+).*Safari/],
];

/** @param {string} agent @returns {import('../suite/result.mjs').Facts['engine']} */
export function engineOf(agent) {
  for (const [name, pattern] of BROWSERS) {
    const version = pattern.exec(agent)?.[1];
    if (version) return { name, version };
  }
  return { name: 'browser', version: 'unknown' };
}

/** @param {string} libraryVersion @returns {import('../suite/result.mjs').Facts} */
export function pageFacts(libraryVersion) {
  const { userAgent, hardwareConcurrency, platform } = navigator;
  return {
    machine: {
      processor: null,
      cores: hardwareConcurrency ?? null,
      memoryGiB: null,
      system: platform || 'unknown',
    },
    engine: engineOf(userAgent),
    versions: { 'wasm-attention': libraryVersion },
    absent: {},
  };
}

/** Why there are no threads here, or undefined. */
export const whyNoThreads = () =>
  globalThis.crossOriginIsolated
    ? undefined
    : 'This page is not cross-origin isolated, so browsers give it no shared memory: one thread only.';
