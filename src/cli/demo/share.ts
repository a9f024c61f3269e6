/**
 * The parts of the image that one puller has, and their sources: one line of the demo's picture. A node's share comes
 * from its status. The share of a client without a node comes from the bytes that it has received.
 */
import type { PlannedBlob } from '../client/pull-image.ts';
import type { Cell } from '../client/terminal.ts';
import { SECOND } from '../../util/clock.ts';
import type { Digest } from '../../oci/digest.ts';
import { hasChunk, type TransferReport } from '../../status/status-report.ts';

type Source = Exclude<Cell, 'none'>;
type Weight = Record<Source, number>;
const SOURCES: readonly Source[] = ['upstream', 'local', 'peers'];

/** Parts of a blob in the picture, if no node reports its chunks. */
const PARTS = 64;
/** Milliseconds over which rates are taken: long enough to be read, short enough to be recent. */
const RATE_SPAN = 1 * SECOND;

/** The image's blobs in a row, as its bar shows them. */
export class ImageMap {
  readonly blobs: readonly { readonly digest: Digest; readonly start: number; readonly size: number }[];
  /** Bytes. */
  readonly size: number;

  constructor(blobs: readonly Pick<PlannedBlob, 'digest' | 'size'>[]) {
    let start = 0;
    this.blobs = blobs.map(({ digest, size }) => {
      start += size;
      return { digest, size, start: start - size };
    });
    this.size = start;
  }
}

/** The sources of the parts of one blob; `undefined`: not here yet. */
type Parts = (Source | undefined)[];

export class Share {
  readonly map: ImageMap;
  readonly #parts = new Map<Digest, Parts>();
  #samples: readonly { readonly at: number; readonly bytes: number }[] = [];

  constructor(map: ImageMap) {
    this.map = map;
  }

  /** Takes the transfers of a node's status. */
  applyTransfers(transfers: readonly TransferReport[]): void {
    for (const { digest } of this.map.blobs) {
      const transfer = transfers.find((candidate) => candidate.digest === digest);
      if (transfer !== undefined) this.#apply(transfer);
    }
  }

  /** Takes the number of bytes of a blob that a client without a node has received. */
  applyReceived(digest: Digest, received: number): void {
    const size = this.#sizeOf(digest);
    const until = size === 0 ? PARTS : Math.floor((received / size) * PARTS);
    this.#parts.set(
      digest,
      Array.from({ length: PARTS }, (_, index) => (index < until ? 'upstream' : undefined)),
    );
  }

  /** The client of the node has the whole blob, even if the node's status was not read in time. */
  applyFinished(digest: Digest, source: string): void {
    const known = this.#parts.get(digest) ?? [undefined];
    this.#parts.set(
      digest,
      known.map((part) => part ?? sourceOf(source)),
    );
  }

  /** Notes the time, for {@link rate}: milliseconds. */
  sample(at: number): void {
    const fresh = this.#samples.filter((sample) => at - sample.at <= RATE_SPAN);
    this.#samples = [...fresh, { at, bytes: this.present }];
  }

  /** Bytes per second of the last moments. */
  get rate(): number {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    if (first === undefined || last === undefined || last.at === first.at) return 0;
    return Math.max(0, ((last.bytes - first.bytes) / (last.at - first.at)) * SECOND);
  }

  /** Bytes that the puller has. */
  get present(): number {
    return this.#bytes((part) => part !== undefined);
  }

  /** Bytes from one source. */
  from(source: Source): number {
    return this.#bytes((part) => part === source);
  }

  #bytes(counts: (part: Source | undefined) => boolean): number {
    let bytes = 0;
    for (const { digest, size } of this.map.blobs) {
      const parts = this.#parts.get(digest) ?? [];
      // Rounded, so that a whole blob counts as whole.
      if (parts.length > 0) bytes += Math.round((parts.filter(counts).length / parts.length) * size);
    }
    return bytes;
  }

  /**
   * The image as a bar. A cell is filled once half of it is here, and shows one source of its bytes. The choice gives each
   * source its share of the whole bar: by majority alone, a rare source would never be seen.
   */
  cells(width: number): readonly Cell[] {
    const owed: Weight = { upstream: 0, peers: 0, local: 0 };
    return this.#weights(width).map((weight) => {
      const present = SOURCES.filter((source) => weight[source] > 0);
      for (const source of present) owed[source] += weight[source];
      const [first, ...others] = present;
      if (first === undefined || weight.upstream + weight.peers + weight.local < 0.5) return 'none';
      const chosen = others.reduce((best, source) => (owed[source] > owed[best] ? source : best), first);
      owed[chosen] -= 1;
      return chosen;
    });
  }

  /** The part of each cell by source: 1 is a whole cell. */
  #weights(width: number): readonly Weight[] {
    const weights = Array.from({ length: width }, (): Weight => ({ upstream: 0, peers: 0, local: 0 }));
    const scale = this.map.size === 0 ? 0 : width / this.map.size;
    for (const { digest, start, size } of this.map.blobs) {
      const parts = this.#parts.get(digest) ?? [];
      const step = (size / parts.length) * scale;
      for (const [index, part] of parts.entries()) {
        if (part !== undefined) addWeight(weights, part, start * scale + index * step, step);
      }
    }
    return weights;
  }

  #sizeOf(digest: Digest): number {
    return this.map.blobs.find((blob) => blob.digest === digest)?.size ?? 0;
  }

  #apply(transfer: TransferReport): void {
    const bits = Buffer.from(transfer.bitmap, 'base64');
    const upstream =
      transfer.upstream_bitmap === undefined ? undefined : Buffer.from(transfer.upstream_bitmap, 'base64');
    const before = this.#parts.get(transfer.digest);
    const parts: Parts = Array.from({ length: Math.max(1, transfer.chunks) }, (_, index) =>
      before?.length === transfer.chunks ? before[index] : undefined,
    );
    const present = [...parts.keys()].filter((index) => hasChunk(bits, index));
    if (upstream === undefined) {
      attribute(parts, present, transfer);
    } else {
      const other = transfer.sources.peers === 0 && transfer.sources.local > 0 ? 'local' : 'peers';
      for (const index of present) parts[index] = hasChunk(upstream, index) ? 'upstream' : other;
    }
    this.#parts.set(transfer.digest, parts);
  }
}

/** If a node reports the bytes of each source, but not the source of each chunk, new chunks are divided in that ratio. */
function attribute(parts: Parts, present: readonly number[], { sources, size }: TransferReport): void {
  const chunk = size / parts.length;
  for (const index of present) {
    if (parts[index] !== undefined) continue;
    const missing = (source: Source): number =>
      sources[source] - parts.filter((part) => part === source).length * chunk;
    parts[index] = SOURCES.reduce((best, source) => (missing(source) > missing(best) ? source : best));
  }
}

/** Spreads `length` from `from` on over the cells that it touches. */
function addWeight(weights: readonly Weight[], source: Source, from: number, length: number): void {
  const end = from + length;
  for (let at = Math.floor(from); at < Math.min(end, weights.length); at += 1) {
    const weight = weights[at];
    if (weight !== undefined) weight[source] += Math.min(at + 1, end) - Math.max(at, from);
  }
}

/** The source of a part by its Weir-Source header: most bytes of `swarm` are from peers. */
function sourceOf(header: string): Source {
  if (header === 'upstream') return 'upstream';
  return header === 'store' || header === 'runtime' ? 'local' : 'peers';
}
