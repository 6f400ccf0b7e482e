// What an import of a .wasm file is in the engines that have it: a compiled module.

declare module '*.wasm' {
  const module: WebAssembly.Module;
  export default module;
}
