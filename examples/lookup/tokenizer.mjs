// Text as the sentence encoder reads it: numbers of 8,000 pieces of words, by a unigram model (Kudo 2018).
//
// Gives the very ids that the encoder's own tokenizer gives, its ways with rare text included. Imports nothing, for pages too.

/** What stands for a space, and before the text. */
const SPACE = '\u2581';

/** The first pieces of a vocabulary are marks, never found in text; the very first stands for what no piece begins with. */
const MARKS = 6;
const UNKNOWN = 0;

/** A piece that ends here, and what may follow. */
class Node {
  id = -1;
  /** @type {Map<string, Node>} */
  next = new Map();
}

export class Tokenizer {
  /** @param {[piece: string, score: number][]} vocabulary  scores are logarithms of probabilities */
  constructor(vocabulary) {
    this.vocabulary = vocabulary;
    this.root = new Node();
    for (let id = MARKS; id < vocabulary.length; id++) this.#add(vocabulary[id][0], id);
  }

  #add(piece, id) {
    let node = this.root;
    for (const character of piece) {
      if (!node.next.has(character)) node.next.set(character, new Node());
      node = node.next.get(character);
    }
    node.id = id;
  }

  /**
   * The likeliest pieces of a text.
   *
   * @param {string} text
   * @returns {number[]} ids; none of an empty text
   */
  encode(text) {
    const normalized = text.normalize('NFKC');
    if (normalized === '') return [];
    const characters = [...(SPACE + normalized.replaceAll(' ', SPACE))];
    return joinUnknown(this.#trace(this.#lastPieces(characters)));
  }

  /** The best last piece of each beginning of the text. @param {string[]} characters */
  #lastPieces(characters) {
    const score = new Float64Array(characters.length + 1);
    const last = new Int32Array(characters.length + 1).fill(UNKNOWN);
    for (let start = 0; start < characters.length; start++) {
      for (const { id, end } of this.#piecesFrom(characters, start)) {
        const total = score[start] + this.vocabulary[id][1];
        // 0 stands for a place not reached so far; where unknown characters alone lead, it may be reached and 0 all the same.
        if (score[end] === 0 || total >= score[end]) {
          score[end] = total;
          last[end] = id;
        }
      }
    }
    return last;
  }

  /** Every piece that begins at `start`, or one unknown character. @param {string[]} characters @param {number} start */
  #piecesFrom(characters, start) {
    const found = [];
    let node = this.root.next.get(characters[start]);
    for (let end = start + 1; node; end++) {
      if (node.id >= 0) found.push({ id: node.id, end });
      node = node.next.get(characters[end]);
    }
    return found.length > 0 ? found : [{ id: UNKNOWN, end: start + 1 }];
  }

  /** From the end of the text to its beginning. @param {Int32Array} last */
  #trace(last) {
    const ids = [];
    for (let end = last.length - 1; end > 0; end -= this.vocabulary[last[end]][0].length) ids.push(last[end]);
    return ids.reverse();
  }

  /** The piece as it is written, with spaces as spaces. @param {number} id */
  piece(id) {
    return this.vocabulary[id][0].replaceAll(SPACE, ' ');
  }
}

/** Unknown characters side by side are one token. @param {number[]} ids */
function joinUnknown(ids) {
  return ids.filter((id, i) => id !== UNKNOWN || ids[i - 1] !== UNKNOWN);
}
