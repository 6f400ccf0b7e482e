// What results and layers have in common. They inherit the method with the computed name instead of each having its own:
// bundlers leave out an unused class only if nothing in it is computed.

/** The engine's Symbol.dispose, or a stand-in of the same name where it has none yet. */
export const disposeSymbol: typeof Symbol.dispose = Symbol.dispose ?? Symbol.for('Symbol.dispose');

export abstract class Disposable {
  /** Frees what is held. Safe to repeat. */
  abstract dispose(): void;

  /** What `using` calls: `dispose`. */
  [disposeSymbol](): void {
    this.dispose();
  }
}
