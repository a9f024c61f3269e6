/**
 * Serves members: chunks of blobs that are here or arriving, and whole manifests. The uploader decides which peer gets
 * a slot. This class finds the bytes, and hands them out only in the name of a registry that is known to have
 * delivered them.
 */
import { LRUCache } from 'lru-cache';
import { MIB } from '../util/clock.ts';
import type { FileContent } from '../util/content.ts';
import { WeirError } from '../util/errors.ts';
import { Progress } from '../util/progress.ts';
import { MAX_MANIFEST_BYTES } from '../oci/manifest.ts';
import type { Digest } from '../oci/digest.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { ChunkLayout } from '../protocol/chunk-layout.ts';
import type { ByteFiles } from '../store/byte-files.ts';
import type { Blob, BlobProvider } from '../store/store.ts';
import type { UploadDecision } from '../swarm/uploader.ts';
import type { SwarmKey } from '../protocol/messages.ts';
import { HASH_BYTES, type Attestation } from '../protocol/attestation.ts';
import type { SwarmManager } from '../swarm/swarm-manager.ts';
import type { ChunkFetch, ChunkSource, ServedBody, ServedChunk } from '../transfer/chunk-exchange.ts';
import type { ArrivingBlob } from './download-target.ts';
import type { DocumentRoom } from '../upstream/document-room.ts';

/** Bytes of chunk hashes that are kept of blobs that were served. */
const MAX_HASH_BYTES = 4 * MIB;

export interface ChunkServerOptions {
  readonly swarms: SwarmManager;
  readonly providers: readonly BlobProvider[];
  /** A blob that is arriving in this swarm. */
  readonly arriving: (swarm: SwarmKey) => ArrivingBlob | undefined;
  /** Hashes chunks of the runtime's blobs. */
  readonly files: Pick<ByteFiles, 'hash'>;
  readonly isProven: (swarm: SwarmKey) => boolean;
  readonly attest: (swarm: SwarmKey, size: number, index: number, hash: Uint8Array) => Attestation;
  /** As the manifest's owner, gets it from upstream for `from`, or names the peers that have it; undefined: neither. */
  readonly fetchManifest: (
    from: PeerId,
    request: ChunkFetch,
  ) => Promise<Uint8Array | readonly PeerId[] | undefined>;
  /** Counts the memory of manifests that are fetched for members, until they are sent. */
  readonly documents: DocumentRoom;
  readonly sent: (swarm: SwarmKey, to: PeerId, bytes: number) => void;
}

/** Bytes that can be sent, stored or arriving. */
interface Held {
  readonly size: number;
  readonly content: FileContent;
  readonly presentIn?: number | undefined;
  readonly stop?: AbortSignal | undefined;
  readonly corrupt?: (() => Promise<void>) | undefined;
  attestation(index: number): Promise<Attestation>;
  close(): Promise<void>;
}

export class ChunkServer implements ChunkSource {
  readonly #options: ChunkServerOptions;
  readonly #hashes: LRUCache<Digest, Uint8Array> = new LRUCache({
    maxSize: MAX_HASH_BYTES,
    sizeCalculation: (hashes) => hashes.length,
  });

  constructor(options: ChunkServerOptions) {
    this.#options = options;
  }

  /** Size in bytes of a whole blob that can be handed out in this swarm. */
  async sizeOf(swarm: SwarmKey): Promise<number | undefined> {
    if (!this.#options.isProven(swarm)) return undefined;
    for (const provider of this.#options.providers) {
      const found = await provider.stat(swarm.digest);
      if (found !== undefined) return found.size;
    }
    return undefined;
  }

  async serve(
    from: PeerId,
    request: ChunkFetch,
    acknowledge: () => void,
    signal: AbortSignal,
  ): Promise<ServedChunk> {
    const { range, swarm } = request;
    if (range === undefined) return this.#whole(from, request);
    const held = await this.#stored(swarm);
    const state = this.#options.swarms.get(swarm)?.state;
    const size = held?.size ?? state?.layout.size ?? request.owner?.size;
    const layout = new ChunkLayout(size ?? 0);
    const index = layout.indexOf(range.start);
    if (layout.start(index) !== range.start || layout.end(index) !== range.end) {
      await held?.close();
      return { kind: 'absent' };
    }
    try {
      const isHeld = held !== undefined || state?.isShareable(index) === true;
      const asOwner = request.owner !== undefined;
      const uploadRequest = { from, swarm, index, isHeld, asOwner, token: request.owner?.token };
      const decision = await this.#decide(uploadRequest, acknowledge, signal);
      if (decision.kind !== 'granted') {
        await held?.close();
        return decision;
      }
      return await this.#granted(from, request, index, held);
    } catch (error) {
      await held?.close();
      throw error;
    }
  }

  #decide(
    query: Parameters<SwarmManager['uploader']['ask']>[0],
    acknowledge: () => void,
    signal: AbortSignal,
  ): Promise<UploadDecision> {
    const { uploader } = this.#options.swarms;
    // The signal's event has passed: the request would never leave the queue.
    if (signal.aborted) return Promise.reject(signal.reason as Error);
    const { promise, resolve, reject } = Promise.withResolvers<UploadDecision>();
    let over = false;
    const leave = uploader.ask(query, acknowledge, (decision) => {
      if (over && decision.kind === 'granted') uploader.slots.give(); // it left in the moment in which it got the slot
      over = true;
      resolve(decision);
    });
    const onAbort = (): void => {
      if (over) return;
      over = true;
      leave();
      reject(signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    return promise.finally(() => signal.removeEventListener('abort', onAbort));
  }

  /** Serves a request that has been given a slot. */
  async #granted(
    from: PeerId,
    { swarm, range }: ChunkFetch,
    index: number,
    stored: Held | undefined,
  ): Promise<ServedChunk> {
    const { swarms, sent } = this.#options;
    try {
      const held = stored ?? this.#arriving(swarm, index) ?? (await this.#stored(swarm));
      if (held === undefined || range === undefined) {
        swarms.uploader.slots.give();
        return { kind: 'absent' };
      }
      const attestation = await this.#attestationOf(held, index);
      const { start, end } = range;
      const close = (wasSent: boolean): void => {
        swarms.uploader.slots.give();
        if (wasSent) sent(swarm, from, end - start);
        held.close().catch(() => undefined); // a file that was read: nothing is lost
      };
      return { kind: 'chunk', ...bodyOf(held), start, end, attestation, close };
    } catch (error) {
      swarms.uploader.slots.give();
      throw error;
    }
  }

  #arriving(swarm: SwarmKey, wanted: number): Held | undefined {
    const joined = this.#options.swarms.get(swarm);
    const arriving = this.#options.arriving(swarm);
    if (joined === undefined || arriving === undefined || joined.state.isVoid) return undefined;
    const { ingest, sends } = arriving;
    if (!ingest.has(wanted)) return undefined; // it has just been dropped, as the whole digest is wrong
    const { content } = ingest;
    const stop = new AbortController();
    const sent = sends.begin(() => stop.abort());
    return {
      size: ingest.layout.size,
      content,
      presentIn: new Progress(content.progress).generation,
      stop: stop.signal,
      attestation: (index) => {
        const attestation = joined.state.attestations[index];
        if (attestation === undefined) throw new WeirError('internal', `nobody has attested chunk ${index}`);
        return Promise.resolve(attestation);
      },
      close: async () => sent(),
    };
  }

  async #stored(swarm: SwarmKey): Promise<Held | undefined> {
    const { isProven, providers } = this.#options;
    if (!isProven(swarm)) return undefined;
    for (const provider of providers) {
      const blob = await provider.open(swarm.digest);
      if (blob === undefined) continue;
      return {
        size: blob.size,
        content: blob.content,
        corrupt: () => blob.corrupt(),
        attestation: (index) => this.#attestStored(swarm, blob, index),
        close: async () => blob[Symbol.asyncDispose](),
      };
    }
    return undefined;
  }

  /** This node has verified the whole blob, so it attests the chunks itself. */
  async #attestStored(swarm: SwarmKey, blob: Blob, index: number): Promise<Attestation> {
    const layout = new ChunkLayout(blob.size);
    let hashes = this.#hashes.get(blob.digest);
    if (hashes === undefined) {
      hashes = (await blob.chunkHashes?.()) ?? new Uint8Array(layout.count * HASH_BYTES);
      this.#hashes.set(blob.digest, hashes);
      // A blob's last byte can be read only after the whole digest was found right.
      await blob.read(new Uint8Array(1), blob.size - 1);
    }
    const known = hashes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES);
    if (known.every((byte) => byte === 0)) {
      // The runtime keeps no chunk hashes.
      known.set(await this.#options.files.hash(blob.content, layout.start(index), layout.end(index)));
    }
    return this.#options.attest(swarm, blob.size, index, new Uint8Array(known));
  }

  async #whole(from: PeerId, request: ChunkFetch): Promise<ServedChunk> {
    const { swarm, owner } = request;
    const { sent, fetchManifest, documents } = this.#options;
    const held = await this.#stored(swarm);
    if (held !== undefined && held.size <= MAX_MANIFEST_BYTES) {
      const close = (wasSent: boolean): void => {
        if (wasSent) sent(swarm, from, held.size);
        held.close().catch(() => undefined); // a file that was read: nothing is lost
      };
      return { kind: 'chunk', ...bodyOf(held), start: 0, end: held.size, attestation: undefined, close };
    }
    await held?.close();
    if (held !== undefined || owner === undefined) return { kind: 'absent' };
    const found = await fetchManifest(from, request);
    if (found === undefined) return { kind: 'unable' };
    if (!(found instanceof Uint8Array)) return { kind: 'redirect', holders: found };
    const document = documents.hold();
    if (!document.tryGrow(found.length)) return { kind: 'unable' };
    const close = (wasSent: boolean): void => {
      document[Symbol.dispose]();
      if (wasSent) sent(swarm, from, found.length);
    };
    const end = found.length;
    return { kind: 'chunk', size: end, start: 0, end, attestation: undefined, body: found, close };
  }

  /** The file is released if there is none. */
  async #attestationOf(held: Held, index: number): Promise<Attestation> {
    try {
      return await held.attestation(index);
    } catch (error) {
      await held.close();
      throw error;
    }
  }
}

function bodyOf({ size, content, presentIn, stop, corrupt }: Held): ServedBody {
  return { size, body: content, presentIn, stop, corrupt };
}
