// Peer: onnxruntime-web's WebAssembly build, one thread.

import { onnxPeer } from './onnx/peer.mjs';

async function importLibrary() {
  const library = await import('onnxruntime-web/wasm');
  library.env.wasm.numThreads = 1;
  library.env.logLevel = 'error';
  return library;
}

export default onnxPeer({
  name: 'onnxruntime-web',
  native: false,
  importLibrary,
  sessionOptions: { executionProviders: ['wasm'], graphOptimizationLevel: 'all', logSeverityLevel: 3 },
});
