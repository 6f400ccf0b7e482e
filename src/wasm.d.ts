// What imports of other files are after bundling.

/** A function that compiles the embedded bytes. */
declare module '*.wasm' {
  const load: () => Promise<WebAssembly.Module>;
  export default load;
}

/** A file as a string, without its comments. */
declare module '*?raw' {
  const text: string;
  export default text;
}
