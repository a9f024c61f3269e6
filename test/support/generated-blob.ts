/** A registry with one blob that is far too large to be kept: its bytes are made as they are sent. */
import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { MIB } from '../../src/util/clock.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { parseRangeHeader } from '../../src/oci/range.ts';
import { seededBytes } from './bytes.ts';
import { HttpServer } from './http-server.ts';

/** Each MiB is the same, except for its number in front. */
const BLOCK = MIB;
const NUMBER_BYTES = 8;

export class GeneratedBlob implements AsyncDisposable {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /** Bytes that were sent. */
  sent = 0;
  readonly #server: HttpServer;

  private constructor(server: HttpServer, size: number) {
    this.#server = server;
    this.size = size;
    const hash = createHash('sha256');
    for (const part of parts(0, size)) hash.update(part);
    this.digest = `sha256:${hash.digest('hex')}` as Digest;
    server.handler = this.#answer;
  }

  static async start(size: number): Promise<GeneratedBlob> {
    return new GeneratedBlob(await HttpServer.start((_, response) => void response.end()), size);
  }

  get host(): string {
    return this.#server.host;
  }

  readonly #answer: HttpServer['handler'] = async (request, response) => {
    if (request.url?.includes(this.digest) !== true) {
      response.writeHead(404).end();
      return;
    }
    const range = parseRangeHeader(request.headers.range, this.size);
    const { start, end } = range.kind === 'part' ? range.range : { start: 0, end: this.size };
    response.writeHead(range.kind === 'part' ? 206 : 200, {
      'content-length': end - start,
      ...(range.kind === 'part' && { 'content-range': `bytes ${start}-${end - 1}/${this.size}` }),
    });
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    try {
      await pipeline(this.#counted(start, end), response);
    } catch {
      // The node has all that it wants of the blob.
    }
  };

  *#counted(start: number, end: number): Generator<Buffer> {
    for (const part of parts(start, end)) {
      this.sent += part.length;
      yield part;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#server[Symbol.asyncDispose]();
  }
}

const FILLING = seededBytes(BLOCK - NUMBER_BYTES, 'a generated blob');

/** Bytes `start` to `end`. */
function* parts(start: number, end: number): Generator<Buffer> {
  for (let at = start; at < end;) {
    const within = at % BLOCK;
    const number = Buffer.alloc(NUMBER_BYTES);
    number.writeDoubleBE(Math.floor(at / BLOCK));
    const part = within < NUMBER_BYTES ? number.subarray(within) : FILLING.subarray(within - NUMBER_BYTES);
    yield part.subarray(0, end - at);
    at += Math.min(part.length, end - at);
  }
}
