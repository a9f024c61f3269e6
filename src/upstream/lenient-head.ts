/**
 * Response heads that undici's parser refuses, made into ones that it takes, as Go's net/http reads them (net/textproto
 * reader.go: lines may end with LF, lines may be continued; net/http transfer.go: chunks go before Content-Length, equal
 * lengths are one). A connection serves one response only, so that a head which is read in two ways can mislead nobody
 * about where the next one begins.
 */
import { Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import { KIB } from '../util/clock.ts';

/** Bytes. Longer heads go on as they are, and undici refuses them. */
const MAX_HEAD = 256 * KIB;
const LF = 0x0a;
const CR = 0x0d;

/** The head at the beginning of `bytes`, in strict form, and the bytes behind it; undefined if it is not whole yet. */
export function strictHead(bytes: Buffer): { readonly head: Buffer; readonly rest: Buffer } | undefined {
  const end = headEnd(bytes);
  if (end === undefined) return undefined;
  const [status = '', ...lines] = bytes.toString('latin1', 0, end).split(/\r?\n/);
  const fields = unfold(lines.filter((line) => line.trim() !== ''));
  const isChunked = fields.some(([name]) => name === 'transfer-encoding');
  const seen = new Set<string>();
  const kept = fields.filter(([name, value]) => {
    if (name !== 'content-length' && name !== 'transfer-encoding') return true;
    if (name === 'content-length' && isChunked) return false;
    const isNew = !seen.has(`${name}:${value}`);
    seen.add(`${name}:${value}`);
    return isNew;
  });
  const text = [status, ...kept.map(([name, value]) => `${name}: ${value}`), '', ''].join('\r\n');
  return { head: Buffer.from(text, 'latin1'), rest: bytes.subarray(end) };
}

/** Where the body begins: behind the first empty line. */
function headEnd(bytes: Buffer): number | undefined {
  for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, at + 1)) {
    if (bytes[at + 1] === LF) return at + 2;
    if (bytes[at + 1] === CR && bytes[at + 2] === LF) return at + 3;
  }
  return undefined;
}

/** Lines as names in lower case and values, a continued line (RFC 9112, section 5.2) as a part of the one before it. */
function unfold(lines: readonly string[]): (readonly [string, string])[] {
  const fields: [string, string][] = [];
  for (const line of lines) {
    const last = fields.at(-1);
    const colon = line.indexOf(':');
    if (/^[ \t]/.test(line) && last !== undefined) last[1] = `${last[1]} ${printable(line)}`.trim();
    else fields.push([line.slice(0, Math.max(colon, 0)).toLowerCase(), printable(line.slice(colon + 1))]);
  }
  return fields;
}

function printable(value: string): string {
  // eslint-disable-next-line no-control-regex -- undici refuses a head for them, and no value needs them
  return value.replaceAll(/[\0-\x08\x0a-\x1f\x7f]/g, ' ').trim();
}

/** A connection for one request, whose response's head is made strict. */
export class LenientConnection extends Duplex {
  readonly #socket: Socket;
  /** The bytes of a head that is not whole; undefined in the body. */
  #begun: Buffer | undefined = Buffer.of();
  #hasEnded = false;

  constructor(socket: Socket) {
    super({ allowHalfOpen: true });
    this.#socket = socket;
    socket.on('data', (bytes: Buffer) => this.#receive(bytes));
    socket.once('end', () => this.#end());
    socket.once('error', (error) => this.destroy(error));
    socket.once('close', () => this.#end());
  }

  #receive(bytes: Buffer): void {
    let rest = bytes;
    while (this.#begun !== undefined) {
      const begun: Buffer = Buffer.concat([this.#begun, rest]);
      const strict = begun.length > MAX_HEAD ? { head: Buffer.of(), rest: begun } : strictHead(begun);
      if (strict === undefined) {
        this.#begun = begun;
        return;
      }
      this.push(strict.head);
      // Another head follows one of an interim response (RFC 9110, section 15.2).
      const isInterim = /^HTTP\/1\.[01] 1/.test(strict.head.toString('latin1', 0, 10));
      this.#begun = isInterim ? Buffer.of() : undefined;
      rest = strict.rest;
    }
    if (rest.length > 0 && !this.push(rest)) this.#socket.pause();
  }

  /** What came is read to its end, although the connection may be closed by then. */
  #end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    if (this.#begun !== undefined && this.#begun.length > 0) this.push(this.#begun);
    this.push(null);
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(bytes: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(bytes, encoding, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }
}
