/**
 * Reads the heads of HTTP/1.1 answers (RFC 9112) as the data port writes them, and refuses all others: a head that can
 * be read in two ways can hide an answer within another.
 */
import { WeirError } from '../util/errors.ts';
import { LIMITS } from './wire-format.ts';

export interface AnswerHead {
  readonly status: number;
  /** By name in lower case; a name occurs once. */
  readonly headers: ReadonlyMap<string, string>;
}

const END: Buffer = Buffer.from('\r\n\r\n');
const STATUS_LINE = /^HTTP\/1\.1 ([1-5][0-9]{2})(?: [\x20-\x7e]*)?$/;
/** Leaves the spaces around the value to trim(): three parts that match spaces would take the cube of their number. */
const HEADER_LINE = /^([A-Za-z0-9!#$%&'*+.^_`|~-]+):([\t\x20-\x7e]*)$/;

export class HeadReader {
  #pending: Buffer | undefined;

  /**
   * @param bytes copied if they are kept
   * @returns a head, and the bytes after it; undefined while the head is not whole
   * @throws WeirError `peer_protocol`
   */
  read(bytes: Buffer): { readonly head: AnswerHead; readonly rest: Buffer } | undefined {
    const all = this.#pending === undefined ? bytes : Buffer.concat([this.#pending, bytes]);
    const end = all.indexOf(END);
    if (end > LIMITS.answerHead || (end === -1 && all.length > LIMITS.answerHead)) {
      throw new WeirError('peer_protocol', `the head of an answer is longer than ${LIMITS.answerHead} bytes`);
    }
    this.#pending = end === -1 ? Buffer.from(all) : undefined;
    if (end === -1) return undefined;
    return { head: parseHead(all.toString('latin1', 0, end)), rest: all.subarray(end + END.length) };
  }
}

function parseHead(text: string): AnswerHead {
  const [first = '', ...lines] = text.split('\r\n');
  const status = STATUS_LINE.exec(first)?.[1];
  if (status === undefined) throw new WeirError('peer_protocol', 'the bytes are no HTTP/1.1 answer');
  const headers = new Map<string, string>();
  for (const line of lines) {
    const [, name = '', padded = ''] = HEADER_LINE.exec(line) ?? [];
    const key = name.toLowerCase();
    const value = padded.trim();
    if (key === '' || value.includes('\t') || headers.has(key)) {
      throw new WeirError('peer_protocol', 'an answer has a header that is malformed or occurs twice');
    }
    headers.set(key, value);
  }
  return { status: Number(status), headers };
}
