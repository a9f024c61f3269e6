/**
 * GET and HEAD as Go's net/http answers them to runtimes: what its parser takes (net/http/transfer.go: chunked goes before
 * Content-Length, equal lengths are one; net/textproto: lines may end with LF), nine redirects without Authorization at
 * another host (client.go), and gzip decoded.
 */
import { connect, type Socket } from 'node:net';
import { gunzipSync } from 'node:zlib';

export interface GoResponse {
  readonly status: number;
  /** The first line of each header. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
  /** The body ended before its framing did. */
  readonly isCut: boolean;
}

/** Milliseconds until a request is taken for one that hangs. */
const HANGS = 60_000;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

export async function goRequest(
  method: 'GET' | 'HEAD',
  address: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<GoResponse> {
  let url = new URL(address);
  let sent = headers;
  for (let hops = 0; hops < 10; hops++) {
    const response = parse(await exchange(method, url, sent), method);
    if (!REDIRECTS.has(response.status)) return response;
    const next = new URL(response.headers.get('location') ?? '', url);
    const { authorization: _, ...rest } = sent;
    if (next.host !== url.host) sent = rest;
    url = next;
  }
  throw new Error('stopped after 10 redirects');
}

function exchange(method: string, url: URL, headers: Readonly<Record<string, string>>): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(Number(url.port), url.hostname);
    const parts: Buffer[] = [];
    const timer = setTimeout(() => socket.destroy(new Error('hangs')), HANGS);
    socket.on('data', (bytes) => parts.push(Buffer.from(bytes)));
    socket.on('error', (error) => (parts.length === 0 ? reject(error) : undefined));
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(Buffer.concat(parts));
    });
    const lines = Object.entries({ host: url.host, connection: 'close', ...headers });
    const text = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('');
    socket.write(`${method} ${url.pathname}${url.search} HTTP/1.1\r\n${text}\r\n`);
  });
}

function parse(bytes: Buffer, method: string): GoResponse {
  const head = /^HTTP\/1\.[01] ([0-9]{3})[^\n]*\n((?:[^\r\n][^\n]*\n)*)\r?\n/.exec(bytes.toString('latin1'));
  if (head === null) throw new Error('malformed HTTP response');
  const headers = new Map<string, string>();
  for (const line of (head[2] ?? '').split(/\r?\n/).filter((text) => text !== '')) {
    const [name = '', value = ''] = line.split(/:\s*(.*)/, 2);
    const before = headers.get(name.toLowerCase());
    if (name.toLowerCase() === 'content-length' && before !== undefined && before !== value)
      throw new Error('two lengths');
    if (before === undefined) headers.set(name.toLowerCase(), value);
  }
  const status = Number(head[1]);
  if (method === 'HEAD') return { status, headers, body: Buffer.of(), isCut: false };
  const { body, isCut } = framed(bytes.subarray(head[0].length), headers);
  const isGzip = headers.get('content-encoding') === 'gzip' && status === 200;
  return { status, headers, body: isGzip ? gunzipSync(body) : body, isCut };
}

function framed(rest: Buffer, headers: ReadonlyMap<string, string>): Pick<GoResponse, 'body' | 'isCut'> {
  if (headers.get('transfer-encoding') === 'chunked') return dechunked(rest);
  const length = headers.get('content-length');
  if (length === undefined) return { body: rest, isCut: false };
  return { body: rest.subarray(0, Number(length)), isCut: rest.length < Number(length) };
}

function dechunked(rest: Buffer): Pick<GoResponse, 'body' | 'isCut'> {
  const parts: Buffer[] = [];
  for (let at = 0; ;) {
    const end = rest.indexOf('\r\n', at);
    const length = end < 0 ? Number.NaN : Number.parseInt(rest.toString('latin1', at, end), 16);
    if (length === 0) return { body: Buffer.concat(parts), isCut: false };
    const data = Number.isNaN(length) ? Buffer.of() : rest.subarray(end + 2, end + 2 + length);
    parts.push(data);
    if (Number.isNaN(length) || data.length < length) return { body: Buffer.concat(parts), isCut: true };
    at = end + 2 + length + 2;
  }
}
