/** Both ends of the data plane, byte by byte: hand-written requests, and peers whose answers a test chooses. */
import { once } from 'node:events';
import {
  connect as connectTcp,
  createServer as createTcp,
  type AddressInfo,
  type Server,
  type Socket,
} from 'node:net';
import { connect as connectTls, createServer as createTls, type ConnectionOptions } from 'node:tls';
import type { Address } from '../../../src/protocol/member.ts';
import { LOOPBACK, memberOf, requestFor, type Node } from './fixture.ts';
import type { Member } from '../../../src/protocol/member.ts';
import { formatRequest } from '../../../src/transfer/chunk-requests.ts';

export interface RawOptions {
  /** The node whose certificate is presented; undefined: none. */
  readonly node?: Node | undefined;
  readonly isSecure?: boolean;
  readonly tls?: ConnectionOptions;
  readonly localAddress?: string;
}

/** A connection whose errors are ignored. */
export function rawSocket(
  { host, port }: Address,
  { node, isSecure = true, tls, localAddress }: RawOptions,
): Socket {
  const to = { host, port, ...(localAddress !== undefined && { localAddress }) };
  const socket = isSecure
    ? connectTls({ ...to, rejectUnauthorized: false, ...node?.tls, ...tls })
    : connectTcp(to);
  socket.on('error', () => {});
  return socket;
}

/** The bytes that come back until the peer closes, or sends none for `patience` milliseconds. */
export async function exchangeRaw(
  address: Address,
  request: string | Buffer,
  { patience = 2000, ...options }: RawOptions & { readonly patience?: number } = {},
): Promise<string> {
  const socket = rawSocket(address, options);
  let answer = '';
  socket.on('data', (bytes: Buffer) => (answer += bytes.toString('latin1')));
  socket.setTimeout(patience, () => socket.destroy());
  socket.write(request);
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
  return answer;
}

/** A valid request, as text. */
export function requestText(more = '', start = 0, end = 100): string {
  const { target, headers } = formatRequest(requestFor(start, end));
  return `GET ${target} HTTP/1.1\r\nHost: weir\r\n${headers}${more}\r\n`;
}

export type Script = (socket: Socket, request: string, connection: number) => void;

/** A peer whose answer to each request a test chooses. */
export class RawPeer implements AsyncDisposable {
  readonly member: Member;
  readonly requests: string[] = [];
  /** Number of connections that it has accepted. */
  connections = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, member: Member) {
    this.#server = server;
    this.member = member;
  }

  static async start(node: Node, script: Script, { isSecure = true, claims = node } = {}): Promise<RawPeer> {
    const server = isSecure
      ? createTls({ ...node.tls, requestCert: true, rejectUnauthorized: false, minVersion: 'TLSv1.3' })
      : createTcp();
    server.listen(0, LOOPBACK);
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const peer = new RawPeer(server, memberOf(claims, [{ host: LOOPBACK, port }], { isSecure }));
    server.on(isSecure ? 'secureConnection' : 'connection', (socket: Socket) =>
      peer.#onConnection(socket, script),
    );
    server.on('connection', (socket: Socket) => peer.#sockets.add(socket));
    return peer;
  }

  #onConnection(socket: Socket, script: Script): void {
    this.connections += 1;
    const connection = this.connections;
    socket.on('error', () => {});
    let text = '';
    socket.on('data', (bytes: Buffer) => {
      text += bytes.toString('latin1');
      for (let end = text.indexOf('\r\n\r\n'); end !== -1; end = text.indexOf('\r\n\r\n')) {
        const request = text.slice(0, end);
        text = text.slice(end + 4);
        this.requests.push(request);
        script(socket, request, connection);
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server, 'close');
  }
}
