/** Shared by the tests of the registry client. */
import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { parseRegistryHost, parseRepository, type Repository } from '../../../src/oci/repository.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import { isWeirError, type ErrorCode, type WeirError } from '../../../src/util/errors.ts';
import type { UpstreamOptions } from '../../../src/upstream/upstream-options.ts';
import { callerOf, type Caller } from '../../../src/upstream/caller.ts';
import type { Credential } from '../../../src/upstream/credential.ts';
import { Upstream } from '../../../src/upstream/upstream.ts';
import type { BlobStream } from '../../../src/upstream/upstream-blob.ts';
import type { ByteWorkers } from '../../../src/bytes/byte-workers.ts';
import { UpstreamClient } from '../../../src/bytes/upstream-client.ts';
import { workersInside } from '../../support/byte-workers.ts';
import type { Handler, HttpServer } from '../../support/http-server.ts';
import { TempDir } from '../../support/temp.ts';

/** An {@link Upstream} that is closed at the end of its block. */
export class TestUpstream extends Upstream implements AsyncDisposable {
  readonly #workers: ByteWorkers;

  constructor(options: Partial<UpstreamOptions> = {}) {
    const workers = workersInside();
    const blobs = new UpstreamClient(workers);
    super({ blobs, userAgent: 'weir/test', environment: {}, retries: 3, ...options });
    this.#workers = workers;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    await this.#workers[Symbol.asyncDispose]();
  }
}

export function repositoryAt(host: string, name = 'team/app'): Repository {
  return parseRepository(parseRegistryHost(host), name);
}

/** A caller that presents this credential for the registry. */
export function as(host: string, credential?: Credential): { readonly caller: Caller } {
  return { caller: callerOf(parseRegistryHost(host), credential) };
}

export interface Blob {
  readonly bytes: Buffer;
  readonly digest: Digest;
}

/** Bytes that differ everywhere, so that a wrong offset shows. */
export function makeBlob(length: number, seed = 1): Blob {
  const bytes = Buffer.alloc(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return { bytes, digest: digestOf(bytes) };
}

/** The bytes of a stream that begins at `start`: a byte worker writes them into a file. */
export async function collect(stream: BlobStream, start = 0): Promise<Buffer> {
  await using temp = await TempDir.create('stream');
  await using file = await open(temp.join('blob'), 'w+');
  await file.truncate(stream.size); // a chunk that began before `start` is hashed from its beginning
  let end = start;
  await stream.readInto(
    {
      kind: 'file',
      file: { fd: file.fd, size: stream.size },
      reserve: () => Promise.resolve(),
      wrote: () => undefined,
    },
    (position) => (end = Math.max(end, position)),
  );
  const bytes = Buffer.alloc(end - start);
  await file.read(bytes, 0, bytes.length, start);
  return bytes;
}

export async function failure(work: Promise<unknown>): Promise<WeirError> {
  try {
    await work;
  } catch (error) {
    assert.ok(isWeirError(error), `not a WeirError: ${String(error)}`);
    return error;
  }
  throw new assert.AssertionError({ message: 'it did not fail' });
}

export async function failsWith(code: ErrorCode, work: Promise<unknown>): Promise<WeirError> {
  const error = await failure(work);
  assert.equal(error.code, code, error.message);
  return error;
}

/** Serves `bytes` with Range, as registries do. */
export function serveBytes(range: string | undefined, response: ServerResponse, bytes: Buffer): void {
  const match = /^bytes=([0-9]+)-([0-9]*)$/.exec(range ?? '');
  if (match === null) {
    response.writeHead(200, { 'content-length': bytes.length }).end(bytes);
    return;
  }
  const start = Number(match[1]);
  const end = Math.min(bytes.length, match[2] ? Number(match[2]) + 1 : bytes.length);
  if (start >= bytes.length) {
    response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end();
    return;
  }
  const headers = {
    'content-length': end - start,
    'content-range': `bytes ${start}-${end - 1}/${bytes.length}`,
  };
  response.writeHead(206, headers).end(bytes.subarray(start, end));
}

export function ranges(server: HttpServer): readonly (string | undefined)[] {
  return server.requests.map(({ headers }) => headers['range'] as string | undefined);
}

/** Answers of a registry that has one blob. */
export function answersOf(bytes: Buffer): {
  /** Answers request number n (from 0) with `faults[n]`, further ones correctly. */
  readonly faulty: (...faults: readonly Handler[]) => Handler;
  /** Sends the first requested bytes, then runs `then`. */
  readonly partial: (length: number, then: (response: ServerResponse) => void) => Handler;
  /** Of a registry that ignores Range. */
  readonly whole: Handler;
} {
  return {
    faulty: (...faults) => {
      let count = 0;
      return (request, response) => {
        const fault = faults[count++];
        if (fault) return fault(request, response);
        return serveBytes(request.headers.range, response, bytes);
      };
    },
    partial: (length, then) => (request, response) => {
      const start = Number(/=([0-9]+)/.exec(request.headers.range ?? '')?.[1] ?? 0);
      const total = bytes.length;
      const range = { 'content-range': `bytes ${start}-${total - 1}/${total}` };
      const isPart = request.headers.range !== undefined;
      response.writeHead(isPart ? 206 : 200, { 'content-length': total - start, ...(isPart && range) });
      response.write(bytes.subarray(start, start + length), () => then(response));
    },
    whole: (_, response) => serveBytes(undefined, response, bytes),
  };
}

export const cut = (response: ServerResponse): void => void response.socket?.end();
