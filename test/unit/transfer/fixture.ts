/** Members that talk over the data plane on loopback. */
import assert from 'node:assert/strict';
import { systemClock } from '../../../src/util/clock.ts';
import { isWeirError, type ErrorCode, type WeirError } from '../../../src/util/errors.ts';
import type { SuspicionReason } from '../../../src/cluster/membership.ts';
import type { Address, Member } from '../../../src/protocol/member.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import { parseRegistryHost } from '../../../src/oci/repository.ts';
import { Identity } from '../../../src/protocol/identity.ts';
import type { PeerId } from '../../../src/protocol/peer-id.ts';
import { attest } from '../../../src/protocol/attestation.ts';
import type { Refusal } from '../../../src/transfer/admission.ts';
import { makeCertificate, type Certificate } from '../../../src/transfer/certificate.ts';
import type { KeyPair } from '../../../src/transfer/data-port.ts';
import type {
  ChunkAnswer,
  ChunkClient,
  ChunkFetch,
  ChunkSource,
  ServedChunk,
} from '../../../src/transfer/chunk-exchange.ts';
import { httpInside } from '../../support/byte-workers.ts';
import { fileOf } from '../../support/file-content.ts';
import { DataServer, type DataServerOptions, type ServedReport } from '../../../src/transfer/https-server.ts';
import { TestClient, type TestClientOptions } from '../../support/peer-client.ts';

export const REGISTRY = parseRegistryHost('registry.example:5000');
export const LOOPBACK = '127.0.0.1';

export interface Node {
  readonly identity: Identity;
  readonly peer: PeerId;
  readonly certificate: Certificate;
  readonly tls: KeyPair;
}

export function makeNode(): Node {
  const identity = Identity.generate();
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

/** Members that are known, and those that are banned. */
export class Members {
  readonly known: Map<PeerId, Member> = new Map();
  readonly banned: Set<PeerId> = new Set();
  readonly #listeners = new Set<() => void>();

  add(member: Member): void {
    this.known.set(member.peer, member);
    this.#changed();
  }

  remove(peer: PeerId): void {
    this.known.delete(peer);
    this.#changed();
  }

  get(peer: PeerId): Member | undefined {
    return this.known.get(peer);
  }

  names(host: string): boolean {
    return [...this.known.values()].some(({ controlAddresses }) =>
      controlAddresses.some((each) => each.includes(`/${host}/`)),
    );
  }

  ban(peer: PeerId, _reason?: SuspicionReason): void {
    this.banned.add(peer);
    this.#changed();
  }

  isBanned(peer: PeerId): boolean {
    return this.banned.has(peer);
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}

type Serve = ChunkSource['serve'];

export interface SceneOptions extends Partial<
  Pick<DataServerOptions, 'http' | 'maxUpload' | 'readerTimeout'>
> {
  readonly isSecure?: boolean;
  readonly client?: Partial<TestClientOptions>;
  readonly serve?: Serve;
}

/** A node that serves, a node that asks, and a blob. */
export class Scene implements AsyncDisposable {
  readonly server: DataServer;
  readonly client: TestClient;
  readonly serving: Node;
  readonly asking: Node;
  /** The members, as the serving node sees them. */
  readonly members: Members;
  /** The serving node, as the asking one sees it. */
  readonly member: Member;
  readonly refusals: Refusal[];
  readonly reports: ServedReport[];

  private constructor(fields: Omit<Scene, typeof Symbol.asyncDispose>) {
    this.server = fields.server;
    this.client = fields.client;
    this.serving = fields.serving;
    this.asking = fields.asking;
    this.members = fields.members;
    this.member = fields.member;
    this.refusals = fields.refusals;
    this.reports = fields.reports;
  }

  static async start({ isSecure = true, client, serve, ...options }: SceneOptions = {}): Promise<Scene> {
    const [serving, asking] = [makeNode(), makeNode()];
    const members = new Members();
    members.add(memberOf(asking, [{ host: LOOPBACK, port: 1 }], { isSecure }));
    const refusals: Refusal[] = [];
    const reports: ServedReport[] = [];
    const server = await DataServer.start({
      http: httpInside(),
      listen: [{ host: LOOPBACK, port: 0 }],
      tls: isSecure ? serving.tls : undefined,
      membership: members,
      server: { serve: serve ?? serveBlob(makeBytes(), serving.identity) },
      maxUpload: undefined,
      clock: systemClock,
      observer: { refused: (reason) => refusals.push(reason), served: (report) => reports.push(report) },
      ...options,
    });
    const asker = new TestClient({
      self: asking.peer,
      tls: isSecure ? asking.tls : undefined,
      maxDownload: undefined,
      ...client,
    });
    const member = memberOf(serving, server.addresses, { isSecure });
    return new Scene({ server, client: asker, serving, asking, members, member, refusals, reports });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
  }
}

const BLOB_BYTES = 3_000_000;

/** Bytes that differ everywhere, so that a wrong offset shows. */
export function makeBytes(length = BLOB_BYTES): Buffer {
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i, 2_654_435_761);
  return Buffer.from(words.buffer).subarray(0, length);
}

const ANY_DIGEST: Digest = digestOf(Buffer.from('blob'));

export function requestFor(start?: number, end?: number, more: Partial<ChunkFetch> = {}): ChunkFetch {
  const range = start === undefined || end === undefined ? undefined : { start, end };
  return { swarm: { registry: REGISTRY, digest: ANY_DIGEST }, range, owner: undefined, ...more };
}

/** Serves each range of `bytes` at once. */
export function serveBlob(bytes: Buffer, identity: Identity, closed: boolean[] = []): Serve {
  return async (_from, request) => serveChunk(bytes, request, identity, closed);
}

export function serveChunk(
  bytes: Buffer,
  { range, swarm }: ChunkFetch,
  identity: Identity,
  closed: boolean[] = [],
): ServedChunk {
  const { start, end } = range ?? { start: 0, end: bytes.length };
  const hash = new Uint8Array(32).fill(7);
  return {
    kind: 'chunk',
    size: bytes.length,
    start,
    end,
    attestation: range && attest(identity, swarm, bytes.length, { index: 3, hash, verified: true }),
    body: range === undefined ? bytes : fileOf(bytes),
    close: (sent) => closed.push(sent),
  };
}

export interface Outcome {
  readonly answer: ChunkAnswer | undefined;
  readonly error: WeirError | undefined;
  /** The events, in order; `progressed` once. */
  readonly events: readonly string[];
  readonly bytes: number;
}

/** Sends a request and waits for its end. */
export function ask(client: ChunkClient, member: Member, request: ChunkFetch): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const events: string[] = [];
  let bytes = 0;
  const end = (answer: ChunkAnswer | undefined, error: WeirError | undefined): void => {
    events.push(answer?.kind ?? 'failed');
    resolve({ answer, error, events, bytes });
  };
  client.fetch(member, request, {
    connecting: () => undefined,
    sent: () => undefined,
    acknowledged: () => events.push('acknowledged'),
    progressed: (length) => {
      assert.ok(length > 0);
      bytes += length;
      if (!events.includes('progressed')) events.push('progressed');
    },
    answered: (answer) => end(answer, undefined),
    failed: (error) => end(undefined, error),
  });
  return promise;
}

/** Sends a request that must bring a chunk. */
export async function askChunk(client: ChunkClient, member: Member, request: ChunkFetch) {
  const { answer, error } = await ask(client, member, request);
  assert.ok(answer?.kind === 'chunk', `${answer?.kind ?? error?.message}`);
  return answer;
}

export async function askFails(
  code: ErrorCode,
  client: ChunkClient,
  member: Member,
  request: ChunkFetch,
): Promise<WeirError> {
  const { answer, error } = await ask(client, member, request);
  assert.ok(isWeirError(error), `answered: ${answer?.kind}`);
  assert.equal(error.code, code, error.message);
  return error;
}
