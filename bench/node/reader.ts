/**
 * Reads URLs, each over a single connection into a buffer that it uses over and over, and forgets the bytes. This is the
 * least work of a client, in a process of its own, so the client is not measured.
 *
 * `node reader.ts WISH` takes a {@link ReaderWish} and prints a {@link ReaderResult}, both as JSON. With a digest the bytes
 * are hashed, which is slower, and another digest ends it with exit code 1.
 */
import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import { argv } from 'node:process';
import { KIB, SECOND } from '../../src/util/clock.ts';
import { inParallel } from '../support/parallel.ts';

export interface ReaderWish {
  readonly targets: readonly ReaderTarget[];
  /** How often each is read. */
  readonly times: number;
  /** Targets that are read at a time. */
  readonly atOnce: number;
}

export interface ReaderTarget {
  readonly url: string;
  /** That the bytes must have; undefined: they are not hashed. */
  readonly digest?: string;
}

export interface ReaderResult {
  readonly bytes: number;
  /** Seconds from the first request of any target to the last byte. */
  readonly seconds: number;
  /** CPU seconds of this process in that time. */
  readonly cpuSeconds: number;
}

/** What one reader read, by performance.now(). */
interface Read {
  readonly bytes: number;
  readonly started: number;
  readonly ended: number;
}

/** Bytes of the buffer; a larger one brings no more throughput on loopback. */
const BUFFER_BYTES = 512 * KIB;

const END_OF_HEADER = '\r\n\r\n';

class Reader {
  readonly #url: URL;
  readonly #times: number;
  readonly #digest: string | undefined;
  readonly #done: PromiseWithResolvers<Read> = Promise.withResolvers();
  readonly #socket: ReturnType<typeof connect>;
  /** Missing bytes of the present body; undefined while its header is awaited. */
  #missing: number | undefined;
  #hash = createHash('sha256');
  #bodies = 0;
  #bytes = 0;
  #started = 0;

  constructor(url: URL, times: number, digest: string | undefined) {
    this.#url = url;
    this.#times = times;
    this.#digest = digest;
    this.#socket = connect({
      host: url.hostname,
      port: Number(url.port),
      onread: {
        buffer: Buffer.allocUnsafeSlow(BUFFER_BYTES),
        callback: (length, buffer) => {
          try {
            this.#take(Buffer.from(buffer.buffer, buffer.byteOffset, length));
          } catch (error) {
            this.#socket.destroy(error as Error);
          }
          return true;
        },
      },
    });
    this.#socket.once('connect', () => {
      this.#started = performance.now();
      this.#ask();
    });
    this.#socket.once('error', this.#done.reject);
    this.#socket.once('close', () => this.#done.reject(new Error(`${url.href}: the body was cut`)));
  }

  get result(): Promise<Read> {
    return this.#done.promise;
  }

  #ask(): void {
    const { pathname, search, host } = this.#url;
    this.#socket.write(`GET ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  }

  #take(bytes: Buffer): void {
    const body = this.#missing === undefined ? this.#readHeader(bytes) : bytes;
    if (this.#digest !== undefined) this.#hash.update(body);
    this.#bytes += body.length;
    this.#missing = (this.#missing ?? 0) - body.length;
    if (this.#missing < 0) throw new Error(`${this.#url.href}: more bytes than announced`);
    if (this.#missing === 0) this.#endBody();
  }

  /** On loopback a header comes at once, with the first bytes of the body or before them. */
  #readHeader(bytes: Buffer): Buffer {
    const end = bytes.indexOf(END_OF_HEADER);
    const header = bytes.toString('latin1', 0, Math.max(0, end));
    const length = /^content-length: (\d+)$/im.exec(header)?.[1];
    if (!header.startsWith('HTTP/1.1 200 ') || length === undefined) {
      throw new Error(`${this.#url.href}: ${bytes.toString('latin1', 0, 500)}`);
    }
    this.#missing = Number(length);
    return bytes.subarray(end + END_OF_HEADER.length);
  }

  #endBody(): void {
    if (this.#digest !== undefined) {
      const found = `sha256:${this.#hash.digest('hex')}`;
      if (found !== this.#digest) throw new Error(`${this.#url.href}: ${found} was received`);
      this.#hash = createHash('sha256');
    }
    this.#bodies += 1;
    this.#missing = undefined;
    if (this.#bodies < this.#times) return this.#ask();
    this.#done.resolve({ bytes: this.#bytes, started: this.#started, ended: performance.now() });
    this.#socket.destroy();
  }
}

async function readAll({ targets, times, atOnce }: ReaderWish): Promise<ReaderResult> {
  const before = process.cpuUsage();
  const reads = await inParallel(
    targets,
    atOnce,
    ({ url, digest }) => new Reader(new URL(url), times, digest).result,
  );
  const { user, system } = process.cpuUsage(before);
  const started = Math.min(...reads.map((read) => read.started));
  const ended = Math.max(...reads.map((read) => read.ended));
  const bytes = reads.reduce((sum, read) => sum + read.bytes, 0);
  return { bytes, seconds: (ended - started) / SECOND, cpuSeconds: (user + system) / 1e6 };
}

const [, , wish = '{}'] = argv;
console.log(JSON.stringify(await readAll(JSON.parse(wish) as ReaderWish)));
