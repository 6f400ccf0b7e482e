// Everything beside the defaults has to do with files outside this folder, or with the worker.

export default {
  // The task of ../../learned imports the package by its name: it is to find the copy of this folder.
  resolve: { dedupe: ['wasm-attention'] },
  server: { fs: { allow: ['../..'] } },
  // A module, which may import when it needs something.
  worker: { format: 'es' },
};
