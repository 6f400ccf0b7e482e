// The peers, by the names of their modules.

export const peerNames = /** @type {const} */ ([
  'onnxruntime-web',
  'jax-js',
  'tfjs-wasm',
  'plain-javascript',
  'onnxruntime-node',
]);

/** Those that run in a page, too. */
export const pagePeers = peerNames.filter((name) => name !== 'onnxruntime-node');
