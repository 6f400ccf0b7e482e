// What an import of a .wasm file is after bundling: a function that compiles the embedded bytes.

declare module '*.wasm' {
  const load: () => Promise<WebAssembly.Module>;
  export default load;
}
