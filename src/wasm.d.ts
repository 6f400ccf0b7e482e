// What imports of other files are after bundling.

/** A compiled module; left to the engine. */
declare module '*.wasm' {
  const module: WebAssembly.Module;
  export default module;
}

/** A file as a string, without its comments. */
declare module '*?raw' {
  const text: string;
  export default text;
}
