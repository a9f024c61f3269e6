/** A plain HTTP client that shows more than a runtime: headers, and the byte at which an answer broke off. */
import { errorMessage } from '../../src/util/errors.ts';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { ACCEPT_MANIFESTS } from '../../src/oci/manifest.ts';

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Buffer;
  readonly digest: Digest;
  /** The reason why the body ended short of its length; undefined if it is whole. */
  readonly broken: string | undefined;
  /** Milliseconds to the headers, and to the end. */
  readonly firstByte: number;
  readonly duration: number;
}

export interface RequestOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** Called with the count of bytes so far. */
  readonly onProgress?: (bytes: number) => void;
}

/** One request, read to its end or until it breaks off. Rejects if no answer came at all. */
export async function request(url: string, options: RequestOptions = {}): Promise<Answer> {
  const { onProgress, headers, ...init } = options;
  const start = performance.now();
  const response = await fetch(url, { ...init, headers: { accept: `${ACCEPT_MANIFESTS}, */*`, ...headers } });
  const firstByte = performance.now() - start;
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  let broken: string | undefined;
  try {
    for await (const chunk of response.body ?? []) {
      chunks.push(chunk);
      bytes += chunk.length;
      onProgress?.(bytes);
    }
  } catch (error) {
    broken = errorMessage(error);
  }
  const body = Buffer.concat(chunks);
  const duration = performance.now() - start;
  return {
    status: response.status,
    headers: response.headers,
    body,
    digest: digestOf(body),
    broken,
    firstByte,
    duration,
  };
}

/** `Authorization: Basic …` */
export function basic(user: string, password: string): Record<string, string> {
  return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
}

export function bearer(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}` };
}
