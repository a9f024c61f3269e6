/** Those who speak to the data plane byte by byte: askers by hand, and peers that answer what a test wants. */
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
  /** Whose certificate is presented; undefined: none. */
  readonly node?: Node | undefined;
  readonly isSecure?: boolean;
  readonly tls?: ConnectionOptions;
  readonly localAddress?: string;
}

/** A connection whose errors are of no interest. */
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

/** What comes back until the other side closes, or nothing more has come for `patience` milliseconds. */
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

/** A right request, as text. */
export function requestText(more = '', start = 0, end = 100): string {
  const { target, headers } = formatRequest(requestFor(start, end));
  return `GET ${target} HTTP/1.1\r\nHost: weir\r\n${headers}${more}\r\n`;
}

export type Script = (socket: Socket, request: string, connection: number) => void;

/** A peer that does with each request what the test says. */
export class RawPeer implements AsyncDisposable {
  readonly member: Member;
  readonly requests: string[] = [];
  /** Connections that it has taken. */
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
