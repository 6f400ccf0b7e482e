// What an import with `?inline` is after bundling: the source of a classic script that holds the module and all it imports.

declare module '*?inline' {
  const source: string;
  export default source;
}
