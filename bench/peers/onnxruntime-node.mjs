// Outside line: native onnxruntime, one thread. It uses whatever vector width the processor has, which
// WebAssembly cannot.

import { onnxPeer } from './onnx/peer.mjs';

async function importLibrary() {
  const library = (await import('onnxruntime-node')).default;
  library.env.logLevel = 'error';
  return library;
}

export default onnxPeer({
  name: 'onnxruntime-node',
  native: true,
  importLibrary,
  sessionOptions: {
    executionProviders: ['cpu'],
    graphOptimizationLevel: 'all',
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    logSeverityLevel: 3,
  },
});
