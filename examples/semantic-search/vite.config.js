// Everything beside the defaults has to do with files outside this folder, or with the worker.

/** The weights have no ending, and a name that ends in a dot is none on some servers. */
const assetFileNames = ({ names: [name] }) =>
  `assets/[name]-[hash]${name?.includes('.') ? '[extname]' : '.bin'}`;

export default {
  // The encoder of ../lookup imports the package by its name: it is to find the copy of this folder.
  resolve: { dedupe: ['wasm-attention'] },
  server: { fs: { allow: ['../..'] } },
  // A module, which may import when it needs something.
  worker: { format: 'es', rolldownOptions: { output: { assetFileNames } } },
};
