// The one error type of the package, and short descriptions of values for its messages.
// Touch: codes, wording, `describe`. Nothing here may import from anywhere else in the package.

/**
 * What went wrong, for programs to branch on. Codes are stable; messages are for people and may change.
 *
 * - `INVALID_ARGUMENT`: an argument or option has a value that makes no sense, or an option a name that is not known.
 * - `INVALID_SHAPE`: a shape, length or stride does not fit.
 * - `INVALID_DTYPE`: data of a kind that cannot be read, such as integers where floats belong.
 * - `INVALID_STATE`: the call is fine, but not now.
 * - `DISPOSED`: a tensor, layer or runtime was used after its disposal.
 * - `OUT_OF_MEMORY`: the memory limit was reached, or the engine refused to grow.
 * - `INVALID_FILE`: a file breaks the rules of its format.
 * - `READ_FAILED`: a file could not be read to its end: no connection, an answer other than the file, a file that changed.
 * - `WORKER_LOST`: a worker or worker threads stopped in the middle of a call; its result is undefined.
 * - `UNSUPPORTED`: well-formed, but not something this build or this package can do.
 */
export type AttentionErrorCode =
  | 'INVALID_ARGUMENT'
  | 'INVALID_SHAPE'
  | 'INVALID_DTYPE'
  | 'INVALID_STATE'
  | 'DISPOSED'
  | 'OUT_OF_MEMORY'
  | 'INVALID_FILE'
  | 'READ_FAILED'
  | 'WORKER_LOST'
  | 'UNSUPPORTED';

/** The parts an {@link AttentionError} is made of. Only `code` is required. */
export interface AttentionErrorOptions {
  /** What went wrong, for programs. */
  readonly code: AttentionErrorCode;
  /** What is at fault: an argument, an option or a tensor, by the name the caller knows it by. */
  readonly argument?: string | undefined;
  /** What would have been accepted. */
  readonly expected?: string | undefined;
  /** What came instead, in short. */
  readonly received?: string | undefined;
  /** Replaces the sentence otherwise composed of the parts above. */
  readonly message?: string | undefined;
  /** The error that led to this one. */
  readonly cause?: unknown;
}

/** Marks errors of every copy of this package: that of a CommonJS or worker entry beside the main one. */
const brand = Symbol.for('wasm-attention.AttentionError');

/**
 * Every error this package throws on purpose. The message reads `argument: expected X, got Y`, leaving out
 * the parts that were not given; the parts are there as properties too.
 *
 * @example
 * ```js
 * try {
 *   softmax(runtime.tensor([1, 2]), { axis: 5 });
 * } catch (error) {
 *   error instanceof AttentionError; // true
 *   error.code; // 'INVALID_ARGUMENT'
 *   error.argument; // 'axis'
 * }
 * ```
 */
export class AttentionError extends Error {
  /** What went wrong, for programs. */
  readonly code: AttentionErrorCode;
  /** What is at fault, by the name the caller knows it by. */
  readonly argument?: string | undefined;
  /** What would have been accepted. */
  readonly expected?: string | undefined;
  /** What came instead, in short. */
  readonly received?: string | undefined;

  static {
    // On the prototype, as the built-in errors have it: engines read the name while they capture the stack,
    // before any field is set, and minifiers rename the class.
    Object.defineProperty(this.prototype, 'name', {
      value: 'AttentionError',
      writable: true,
      configurable: true,
    });
    Object.defineProperty(this.prototype, brand, { value: true });
  }

  /** `instanceof` holds across the copies of the class that entries have. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === 'object' && value !== null && brand in value;
  }

  constructor(options: AttentionErrorOptions) {
    super(
      options.message ?? composeMessage(options),
      'cause' in options ? { cause: options.cause } : undefined,
    );
    this.code = options.code;
    this.argument = options.argument;
    this.expected = options.expected;
    this.received = options.received;
  }
}

function composeMessage({ code, argument, expected, received }: AttentionErrorOptions): string {
  const clauses: string[] = [];
  if (expected !== undefined) clauses.push(`expected ${expected}`);
  if (received !== undefined) clauses.push(`got ${received}`);
  const sentence = clauses.length > 0 ? clauses.join(', ') : code.toLowerCase().replaceAll('_', ' ');
  return argument === undefined ? sentence : `${argument}: ${sentence}`;
}

const longestString = 60;
const mostItems = 8;

/**
 * A short, one-line description of any value for an error message; it never throws.
 *
 * Arrays of numbers read like shapes (`[2, 3]`), typed arrays and buffers by kind and length
 * (`Float32Array(12)`), strings are quoted and cut after 60 characters, plain objects list their first keys
 * (`{ data, shape }`).
 */
export function describe(value: unknown): string {
  try {
    return describeUnguarded(value);
  } catch {
    // Proxies and getters of strangers may throw; an error message must still be possible.
    return 'an unreadable object';
  }
}

function describeUnguarded(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return describeString(value);
    case 'bigint':
      return `${value}n`;
    case 'number':
      return Object.is(value, -0) ? '-0' : String(value);
    case 'function':
      return value.name === '' ? 'a function' : `function ${value.name}`;
    case 'object':
      return value === null ? 'null' : describeObject(value);
    default:
      return String(value);
  }
}

function describeString(value: string): string {
  if (value.length <= longestString) return JSON.stringify(value);
  return `${JSON.stringify(value.slice(0, longestString))}... (${value.length} characters)`;
}

function describeObject(value: object): string {
  if (Array.isArray(value)) return describeArray(value);
  // The tag works for objects of other realms too, where instanceof does not.
  const tag = Object.prototype.toString.call(value).slice('[object '.length, -1);
  if (ArrayBuffer.isView(value)) {
    return 'length' in value ? `${tag}(${String(value.length)})` : `${tag}(${value.byteLength} bytes)`;
  }
  if (tag === 'ArrayBuffer' || tag === 'SharedArrayBuffer') {
    return `${tag}(${(value as ArrayBufferLike).byteLength} bytes)`;
  }
  const name = constructorName(value);
  return name === 'Object' || name === '' ? describeKeys(value) : name;
}

function describeArray(items: readonly unknown[]): string {
  const shown = items.slice(0, mostItems);
  if (!shown.every((item) => typeof item === 'number')) return `Array(${items.length})`;
  const list = shown.map(describeUnguarded).join(', ');
  return items.length > mostItems ? `[${list}, ...] (${items.length} items)` : `[${list}]`;
}

function constructorName(value: object): string {
  const { constructor } = value;
  return typeof constructor === 'function' ? constructor.name : '';
}

function describeKeys(value: object): string {
  const keys = Object.keys(value);
  if (keys.length === 0) return '{}';
  const shown = keys
    .slice(0, mostItems)
    .map((key) => (key.length > longestString ? describeString(key) : key));
  return `{ ${shown.join(', ')}${keys.length > mostItems ? ', ...' : ''} }`;
}

/** The error of an argument that makes no sense. */
export function invalidArgument(argument: string, expected: string, received: unknown): AttentionError {
  return new AttentionError({ code: 'INVALID_ARGUMENT', argument, expected, received: describe(received) });
}

/** The error of data of a kind that cannot be read. */
export function dataTypeError(argument: string, expected: string, received: unknown): AttentionError {
  return new AttentionError({ code: 'INVALID_DTYPE', argument, expected, received: describe(received) });
}

/** The error of an argument whose sizes do not fit. */
export function shapeError(argument: string, expected: string, received: unknown): AttentionError {
  return new AttentionError({ code: 'INVALID_SHAPE', argument, expected, received: describe(received) });
}

/** The error of a file that breaks the rules of its format. */
export function invalidFile(
  argument: string,
  expected: string,
  received: string,
  cause?: unknown,
): AttentionError {
  return new AttentionError({
    code: 'INVALID_FILE',
    argument,
    expected,
    received,
    ...(cause === undefined ? {} : { cause }),
  });
}
