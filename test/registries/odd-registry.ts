/** A registry with one image that answers as a {@link Behaviour} says, byte for byte. */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { digestOf } from '../../src/oci/digest.ts';
import { MEDIA_TYPES } from '../../src/oci/manifest.ts';
import { seededBytes } from '../support/bytes.ts';
import type { Behaviour } from './behaviour.ts';

const SIZES = { '1 KiB': 1024, '300 KiB': 300 * 1024, '5 MiB': 5 * 1024 * 1024 } as const;

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
  /** First byte of a Range. */
  readonly from: number | undefined;
}

export class OddRegistry implements AsyncDisposable {
  readonly manifest: string;
  readonly #behaviour: Behaviour;
  readonly #contents: ReadonlyMap<string, Buffer>;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #begun = new Set<string>();
  readonly #stood = new Set<string>();

  private constructor(behaviour: Behaviour, seed: number, server: Server) {
    this.#behaviour = behaviour;
    this.#server = server;
    const layer = seededBytes(SIZES[behaviour.layer], `odd ${seed}`);
    const config = Buffer.from(JSON.stringify({ seed }));
    const descriptor = (mediaType: string, bytes: Buffer): object => ({
      mediaType,
      digest: digestOf(bytes),
      size: bytes.length,
    });
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MEDIA_TYPES.ociManifest,
        config: descriptor(MEDIA_TYPES.ociConfig, config),
        layers: [descriptor(MEDIA_TYPES.ociLayerGzip, layer)],
      }),
    );
    this.manifest = digestOf(manifest);
    this.#contents = new Map([manifest, config, layer].map((bytes) => [digestOf(bytes), bytes]));
  }

  static async start(behaviour: Behaviour, seed: number): Promise<OddRegistry> {
    const server = createServer();
    const self = new OddRegistry(behaviour, seed, server);
    server.on('connection', (socket: Socket) => self.#connected(socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return self;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  #connected(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => undefined); // clients may leave
    let text = '';
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1');
      if (!text.endsWith('\r\n\r\n')) return;
      const [method = '', path = ''] = text.split(' ');
      const authorization = /^authorization: *([^\r]+)/im.exec(text)?.[1];
      const from = /^range: *bytes=([0-9]+)-/im.exec(text)?.[1];
      text = '';
      const range = from === undefined ? undefined : Number(from);
      void this.#answer(socket, { method, path, authorization, from: range });
    });
  }

  async #answer(socket: Socket, asked: Asked): Promise<void> {
    const { token } = this.#behaviour;
    const { path, authorization } = asked;
    if (path.startsWith('/token')) return this.#send(socket, 200, [], Buffer.from(tokenAnswer(token)));
    if (!path.startsWith('/storage') && token !== 'none' && authorization !== 'Bearer t') {
      const challenge = `Bearer realm="http://${this.host}/token",service="r",scope="repository:a/b:pull"`;
      return this.#send(socket, 401, [['WWW-Authenticate', challenge]], Buffer.of());
    }
    const name = path.split('?')[0]?.split('/').at(-1) ?? '';
    const bytes = this.#contents.get(name === '1' ? this.manifest : name);
    if (path === '/v2/') return this.#send(socket, 200, [], Buffer.from('{}'));
    if (bytes === undefined) return this.#send(socket, 404, [], Buffer.of());
    if (path.includes('/manifests/')) return this.#manifest(socket, asked, bytes);
    return this.#redirects(socket, path, name) ? undefined : this.#blob(socket, asked, name, bytes);
  }

  #manifest(socket: Socket, { method }: Asked, bytes: Buffer): void {
    const { manifestHead, manifestType, digestHeader, manifestFraming } = this.#behaviour;
    const isHead = method === 'HEAD';
    if (isHead && manifestHead !== '200') return this.#send(socket, Number(manifestHead), [], Buffer.of());
    const type = ['Content-Type', MEDIA_TYPES.ociManifest] as const;
    const headers: (readonly [string, string])[] =
      manifestType === 'with charset' ? [['Content-Type', `${type[1]}; charset=utf-8`]] : [type];
    if (manifestType === 'two equal lines') headers.push(type);
    if (manifestType === 'a second, other line') headers.push(['Content-Type', 'application/json']);
    const lines = { none: 0, 'one line': 1, 'two equal lines': 2 }[digestHeader];
    for (let line = 0; line < lines; line++) headers.push(['Docker-Content-Digest', this.manifest]);
    this.#send(socket, 200, headers, bytes, { framing: manifestFraming, isHead });
  }

  #redirects(socket: Socket, path: string, digest: string): boolean {
    const { redirect } = this.#behaviour;
    const step = Number(/^\/storage\/([0-9])\//.exec(path)?.[1] ?? 0);
    if (redirect === 'none' || step >= (redirect === 'nine' ? 9 : 1)) return false;
    const next = `/storage/${step + 1}/${digest}`;
    const location = ['Location', redirect === 'relative' ? next : `http://${this.host}${next}`] as const;
    const lines = redirect === 'two equal lines' ? [location, location] : [location];
    this.#send(socket, redirect.startsWith('3') ? Number(redirect) : 307, lines, Buffer.of());
    return true;
  }

  async #blob(socket: Socket, asked: Asked, digest: string, whole: Buffer): Promise<void> {
    const { blobFraming, range, cut, delay, encoding } = this.#behaviour;
    const { method, from } = asked;
    const isHead = method === 'HEAD';
    if (from !== undefined && ['416', '400', '501'].includes(range)) {
      return this.#send(socket, Number(range), [], Buffer.of());
    }
    const seconds = /begins after ([0-9])/.exec(delay)?.[1];
    if (seconds !== undefined && !isHead) await sleep(Number(seconds) * 1000);
    const isPart = from !== undefined && range !== '200';
    const start = isPart ? from : 0;
    const headers: (readonly [string, string])[] = [];
    const first = start + (range === 'wrong Content-Range' ? 1 : 0);
    if (isPart) headers.push(['Content-Range', `bytes ${first}-${whole.length - 1}/${whole.length}`]);
    const name = encoding === 'identity twice' ? 'identity' : encoding.replace(' named', '');
    if (encoding !== 'none') headers.push(['Content-Encoding', name]);
    if (encoding === 'identity twice') headers.push(['Content-Encoding', name]);
    const plain = whole.subarray(start);
    const body = encoding === 'gzip' && !isPart ? gzipSync(plain) : plain;
    const isFirst = !isHead && !this.#begun.has(digest);
    if (!isHead) this.#begun.add(digest);
    let limit = body.length;
    if (cut === 'each at 60 %') limit = Math.ceil(body.length * 0.6);
    if (isFirst && cut === 'first at half') limit = body.length >> 1;
    if (isFirst && cut === 'first at 0') limit = 0;
    const stands = delay === 'blob stands still for 7 s' && !isHead && !this.#stood.has(digest);
    this.#stood.add(digest);
    const options = { framing: blobFraming, isHead, limit, stands };
    this.#send(socket, isPart ? 206 : 200, headers, body, options);
  }

  #send(
    socket: Socket,
    status: number,
    headers: readonly (readonly [string, string])[],
    body: Buffer,
    options: { framing?: string; isHead?: boolean; limit?: number; stands?: boolean } = {},
  ): void {
    const { framing = 'length', isHead = false, limit = body.length, stands = false } = options;
    const { lineEnd, extraHeaders } = this.#behaviour;
    const lines = headers.map(([name, value]) => `${name}: ${value}`);
    const hasChunks = framing === 'chunked' || framing === 'length and chunked';
    const lengths = { length: 1, 'two lengths': 2, 'length and chunked': 1 }[framing] ?? 0;
    for (let line = 0; line < lengths; line++) lines.push(`Content-Length: ${body.length}`);
    if (hasChunks) lines.push('Transfer-Encoding: chunked');
    const [count, length] = { none: [0, 0], '150 lines': [150, 10], '70 KiB': [70, 1024] }[extraHeaders];
    for (let line = 0; line < (count ?? 0); line++) lines.push(`X-${line}: ${'a'.repeat(length ?? 0)}`);
    const end = lineEnd === 'LF' ? '\n' : '\r\n';
    socket.write([`HTTP/1.1 ${status} X`, ...lines, 'Connection: close', '', ''].join(end));
    if (isHead) return void socket.end();
    const sent = body.subarray(0, limit);
    const half = stands ? sent.length >> 1 : 0;
    if (hasChunks && body.length > 0) socket.write(`${body.length.toString(16)}\r\n`);
    socket.write(sent.subarray(0, half));
    const rest = (): void => {
      socket.write(sent.subarray(half));
      if (hasChunks && limit === body.length) socket.write(`${body.length > 0 ? '\r\n' : ''}0\r\n\r\n`);
      socket.end();
    };
    if (stands) void sleep(7_000).then(rest);
    else rest();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    if (this.#server.listening) await once(this.#server, 'close');
  }
}

function tokenAnswer(token: Behaviour['token']): string {
  if (token === 'access_token') return '{"access_token":"t"}';
  return token === 'null expires_in' ? '{"token":"t","expires_in":null}' : '{"token":"t"}';
}
