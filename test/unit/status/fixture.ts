/** Reports of a busy node, and an admin address that serves them. */
import { AdminToken } from '../../../src/daemon/admin-token.ts';
import { LogLevel } from '../../../src/daemon/log-level.ts';
import type { Logger } from '../../../src/daemon/logger.ts';
import { AdminServer } from '../../../src/daemon/admin-server.ts';
import { MIB } from '../../../src/util/clock.ts';
import { NO_WAITS } from '../../../src/util/waits.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { peerIdOf, type PeerId } from '../../../src/protocol/peer-id.ts';
import type { BlobPullReport, PullReport, PullsReport } from '../../../src/status/pull-report.ts';
import type {
  PeerReport,
  PeersReport,
  StatusReport,
  StoreReport,
  TransferReport,
} from '../../../src/status/status-report.ts';

export function peerOf(n: number): PeerId {
  return peerIdOf(Buffer.alloc(32, n));
}

/** Base64 of a bitfield in which the `set` chunks are present. */
export function bitmapOf(chunks: number, set: readonly number[]): string {
  const bits = Buffer.alloc(Math.ceil(chunks / 8));
  for (const index of set) bits[index >> 3] = (bits[index >> 3] ?? 0) | (0x80 >> (index & 7));
  return bits.toString('base64');
}

export function transferOf(name: string, more: Partial<TransferReport> = {}): TransferReport {
  return {
    digest: digestOf(Buffer.from(name)),
    registry: 'registry.example:5000',
    repository: 'team/app',
    size: 20 * MIB,
    present_bytes: 10 * MIB,
    chunks: 10,
    present_chunks: 5,
    bitmap: bitmapOf(10, [0, 1, 2, 3, 4]),
    upstream_bitmap: bitmapOf(10, [0]),
    state: 'pulling',
    seconds: 2,
    readers: 1,
    peers: 9,
    sources: { peers: 8 * MIB, upstream: 2 * MIB, local: 0 },
    ...more,
  };
}

export function storeOf(more: Partial<StoreReport> = {}): StoreReport {
  return {
    blobs: 21,
    bytes: 4096 * MIB,
    partial_bytes: 20 * MIB,
    quota: 20_480 * MIB,
    pins: 0,
    pinned_bytes: 0,
    disk_bytes: 204_800 * MIB,
    disk_free_bytes: 102_400 * MIB,
    state: 'normal',
    ...more,
  };
}

export function statusOf(more: Partial<StatusReport> = {}): StatusReport {
  return {
    version: '1.2.3',
    name: 'node-a',
    peer: peerOf(1),
    zone: 'eu-1a',
    uptime_seconds: 11_520,
    cluster: { mode: 'keyed', members: 12, connections: 9, zones: { 'eu-1a': 4, 'eu-1b': 8 } },
    store: storeOf(),
    transfers: [transferOf('running')],
    totals: {
      from_peers: 1200 * MIB,
      from_other_zones: 12 * MIB,
      from_upstream: 30 * MIB,
      to_peers: 3000 * MIB,
      to_runtimes: 1230 * MIB,
      saved: 1200 * MIB,
    },
    suspects: [],
    images: [],
    ...more,
  };
}

export function peerReportOf(n: number, more: Partial<PeerReport> = {}): PeerReport {
  return {
    peer: peerOf(n),
    name: `node-${n}`,
    zone: n % 2 === 0 ? 'eu-1a' : 'eu-1b',
    version: '1.2.3',
    addresses: [`/ip4/10.0.0.${n}/tcp/4772`],
    transfer_addresses: [`10.0.0.${n}:4773`],
    connected: true,
    direction: 'inbound',
    rtt_ms: 0.4 * n,
    swarms: n,
    from_bytes: n * MIB,
    to_bytes: 10 * n * MIB,
    leaving: false,
    ...more,
  };
}

export interface FakeNode extends AsyncDisposable {
  readonly address: URL;
  /** The next answers. */
  status: StatusReport;
  peers: PeersReport;
  metrics: string;
  pulls: PullsReport;
  readonly logger: Pick<Logger, 'level' | 'warn'>;
}

export const ADMIN_TOKEN: string = 'a'.repeat(43);

/** The real admin server with made-up reports. */
export async function fakeNode(status: StatusReport = statusOf(), port = 0): Promise<FakeNode> {
  const logger: FakeNode['logger'] = { level: 'info', warn: () => undefined };
  const admin = await AdminServer.start({
    listen: [{ host: '127.0.0.1', port }],
    hosts: [],
    onWarning: () => undefined,
    ready: () => true,
    metrics: async () => node.metrics,
    metricsType: 'text/plain',
    status: () => node.status,
    peers: () => node.peers,
    imports: { answer: async () => ({ status: 200, body: { trusted: false, imports: [] } }) },
    store: { answer: async () => ({ status: 404, body: 'this node has no store' }) },
    pulls: () => node.pulls,
    logLevel: new LogLevel(logger, 'info'),
    token: new AdminToken(ADMIN_TOKEN),
    onProblem: (error) => {
      throw error;
    },
  });
  const node: FakeNode = {
    address: new URL(admin.addresses[0] ?? ''),
    status,
    peers: { peers: [peerReportOf(2), peerReportOf(3)] },
    metrics: '',
    pulls: { pulls: [] },
    logger,
    [Symbol.asyncDispose]: () => admin[Symbol.asyncDispose](),
  };
  return node;
}

export function blobPullOf(more: Partial<BlobPullReport> = {}): BlobPullReport {
  return {
    digest: digestOf(Buffer.from('layer')),
    size: 10 * MIB,
    requests: 1,
    state: 'complete',
    seconds: 1.5,
    first_byte_seconds: 0.25,
    bytes: 10 * MIB,
    sources: { store: 0, peers: 9 * MIB, registry: MIB },
    peers: [{ peer: peerOf(2), name: 'node-2', bytes: 6 * MIB }],
    waits: { ...NO_WAITS, peers: 0.25, arriving: 1.2 },
    ...more,
  };
}

export function pullOf(more: Partial<PullReport> = {}): PullReport {
  return {
    ...blobPullOf(),
    image: 'registry.example:5000/team/app:v1',
    client: 'containerd/2.1.4',
    began: '2026-01-01T12:03:09.000Z',
    seconds: 2.5,
    manifest_seconds: 0.5,
    blobs: [blobPullOf()],
    more_blobs: 0,
    ...more,
  };
}
