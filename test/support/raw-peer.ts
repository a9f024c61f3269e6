/** Both ends of the peer wire, frame by frame: connections that a test writes into, and a peer whose answers it chooses. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  connect as connectTcp,
  createServer as createTcp,
  type AddressInfo,
  type Server,
  type Socket,
} from 'node:net';
import { connect as connectTls, createServer as createTls, type ConnectionOptions } from 'node:tls';
import { systemClock } from '../../src/util/clock.ts';
import { Identity } from '../../src/protocol/identity.ts';
import type { Address, Member } from '../../src/protocol/member.ts';
import type { PeerId } from '../../src/protocol/peer-id.ts';
import { makeCertificate, type Certificate } from '../../src/transfer/certificate.ts';
import { dataHead, encodeFrame, FrameReader, KIND } from '../../src/transfer/frames.ts';
import { ALPN, type KeyPair } from '../../src/transfer/limits.ts';
import {
  encodeAnswer,
  encodeConcerning,
  encodeHello,
  type AnswerHead,
} from '../../src/transfer/wire-codec.ts';

export const LOOPBACK = '127.0.0.1';

export interface Node {
  readonly identity: Identity;
  readonly peer: PeerId;
  readonly certificate: Certificate;
  readonly tls: KeyPair;
}

/** @param identity default: a new one */
export function makeNode(identity: Identity = Identity.generate()): Node {
  const certificate = makeCertificate(identity.peer, systemClock);
  const tls = { cert: certificate.certPem, key: certificate.keyPem };
  return { identity, peer: identity.peer, certificate, tls };
}

export function memberOf(node: Node, addresses: readonly Address[], { isSecure = true } = {}): Member {
  return {
    peer: node.peer,
    sequence: 1,
    name: 'node',
    zone: '',
    controlAddresses: ['/ip4/127.0.0.1/tcp/4001'],
    dataAddresses: addresses,
    fingerprint: isSecure ? node.certificate.fingerprint : new Uint8Array(),
    version: '0.0.0',
    leaving: false,
  };
}

export function helloFrame(peer: PeerId, minor = 0): Uint8Array {
  return encodeFrame(KIND.hello, encodeHello({ peer, minor }));
}

export function answerFrame(id: number, answer: AnswerHead): Uint8Array {
  return encodeFrame(KIND.answer, encodeAnswer(id, answer));
}

export function acknowledgedFrame(id: number): Uint8Array {
  return encodeFrame(KIND.acknowledged, encodeConcerning(id));
}

export function cancelFrame(id: number): Uint8Array {
  return encodeFrame(KIND.cancel, encodeConcerning(id));
}

export function dataFrame(id: number, bytes: Uint8Array): Buffer {
  return Buffer.concat([dataHead(id, bytes.length), bytes]);
}

/** A frame that no encoder would make. */
export function frameOf(kind: number, body: Uint8Array | string, length = Buffer.from(body).length): Buffer {
  const head = Buffer.from([kind, 0, 0, 0]);
  head.writeUIntBE(length, 1, 3);
  return Buffer.concat([head, Buffer.from(body)]);
}

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
    ? connectTls({ ...to, rejectUnauthorized: false, ALPNProtocols: [ALPN], ...node?.tls, ...tls })
    : connectTcp(to);
  socket.on('error', () => undefined);
  return socket;
}

/** The bytes that come back until the peer closes, which it must do. */
export async function exchangeRaw(
  address: Address,
  sent: string | Uint8Array,
  options: RawOptions = {},
): Promise<Buffer> {
  const socket = rawSocket(address, options);
  const parts: Buffer[] = [];
  socket.on('data', (bytes: Buffer) => void parts.push(bytes));
  socket.write(sent);
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
  return Buffer.concat(parts);
}

export interface RawFrame {
  readonly kind: number;
  /** The whole body; of data also the number of its request. */
  readonly body: Buffer;
}

/** A connection, with the frames that came over it. */
export class RawConnection {
  readonly socket: Socket;
  readonly frames: RawFrame[] = [];
  /** Settles when it is closed. */
  readonly closed: Promise<void>;
  #read = 0;
  #wake: (() => void) | undefined;
  #isClosed = false;

  constructor(socket: Socket, onFrame: (frame: RawFrame) => void = () => undefined) {
    this.socket = socket;
    const take = (kind: number, body: Buffer): void => {
      const frame = { kind, body };
      if (kind === KIND.mark) this.send(encodeFrame(KIND.returned, body)); // or nothing more would come
      this.frames.push(frame);
      onFrame(frame);
      this.#wake?.();
    };
    const reader = new FrameReader({
      frame: (kind, body) => take(kind, Buffer.from(body)),
      data: (id, bytes) => take(KIND.data, dataFrame(id, bytes).subarray(4)),
    });
    socket.on('data', (bytes: Buffer) => reader.push(bytes));
    socket.on('error', () => undefined);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    socket.once('close', () => {
      this.#isClosed = true;
      this.#wake?.();
      resolve();
    });
  }

  /** Greets, and waits until the peer greets back. */
  static async open(address: Address, options: RawOptions & { readonly node: Node }): Promise<RawConnection> {
    const connection = new RawConnection(rawSocket(address, options));
    connection.send(helloFrame(options.node.peer));
    await connection.next(KIND.hello);
    return connection;
  }

  send(...frames: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(frames));
  }

  /** The next frame of this kind; those before it are passed over. */
  async next(kind: number): Promise<RawFrame> {
    for (;;) {
      for (; this.#read < this.frames.length; this.#read++) {
        const frame = this.frames[this.#read];
        if (frame?.kind !== kind) continue;
        this.#read++;
        return frame;
      }
      assert.ok(!this.#isClosed, `closed before a frame of kind ${kind}`);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
  }

  /** Frames of this kind that have come. */
  count(kind: number): number {
    return this.frames.filter((frame) => frame.kind === kind).length;
  }
}

export type Script = (connection: RawConnection, frame: RawFrame, number: number) => void;

/** A peer whose answer to each frame a test chooses. The first connection is number 1. */
export class RawPeer implements AsyncDisposable {
  readonly member: Member;
  readonly node: Node;
  readonly connections: RawConnection[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, node: Node, member: Member) {
    this.#server = server;
    this.node = node;
    this.member = member;
  }

  static async start(node: Node, script: Script, { isSecure = true, claims = node } = {}): Promise<RawPeer> {
    const server = isSecure
      ? createTls({
          ...node.tls,
          requestCert: true,
          rejectUnauthorized: false,
          minVersion: 'TLSv1.3',
          ALPNProtocols: [ALPN],
        })
      : createTcp();
    server.listen(0, LOOPBACK);
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const peer = new RawPeer(server, node, memberOf(claims, [{ host: LOOPBACK, port }], { isSecure }));
    server.on(isSecure ? 'secureConnection' : 'connection', (socket: Socket) => {
      const number = peer.connections.length + 1;
      const connection: RawConnection = new RawConnection(socket, (frame) =>
        script(connection, frame, number),
      );
      peer.connections.push(connection);
    });
    server.on('connection', (socket: Socket) => peer.#sockets.add(socket));
    return peer;
  }

  /** A peer that greets, and then answers as chosen. */
  static greeting(
    node: Node,
    script: Script,
    options?: Parameters<typeof RawPeer.start>[2],
  ): Promise<RawPeer> {
    const greets: Script = (connection, frame, number) => {
      if (frame.kind === KIND.hello) connection.send(helloFrame(node.peer));
      else script(connection, frame, number);
    };
    return RawPeer.start(node, greets, options);
  }

  /** Frames of this kind that have come over all connections. */
  count(kind: number): number {
    return this.connections.reduce((sum, connection) => sum + connection.count(kind), 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server, 'close');
  }
}
