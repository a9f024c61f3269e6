/** One node of a {@link SwarmWorld}, and one piece on its way between two of them. */
import { WeirError } from '../../src/errors.ts';
import type { Member, SuspicionReason } from '../../src/membership/member.ts';
import type { Digest } from '../../src/oci/digest.ts';
import type { PeerName } from '../../src/peer/peer-name.ts';
import { ChunkLayout } from '../../src/store/chunk-layout.ts';
import type { Ruling } from '../../src/swarm/desk.ts';
import type { Swarms } from '../../src/swarm/swarms.ts';
import type { PieceEvents, PieceRequest } from '../../src/transfer/exchange.ts';
import type { VirtualTime } from './virtual-time.ts';

/** Bytes in which a transfer tells of its progress. */
export const STEP: number = 256 * 1024;
export const NO_BYTES: Uint8Array = new Uint8Array(0);
export const HASH: Uint8Array = new Uint8Array(32);
export const SIGNATURE: Uint8Array = new Uint8Array(64);

export class WorldNode {
  readonly member: Member;
  readonly swarms: Swarms;
  readonly blamed: { peer: PeerName; reason: SuspicionReason }[] = [];
  readonly complete: Map<Digest, number> = new Map();
  readonly failed: Map<Digest, WeirError> = new Map();
  /** Chunks that it has for good, by digest. */
  readonly kept: Map<Digest, number> = new Map();
  readonly peers: Set<PeerName> = new Set();
  /** Called when it has all of a blob. */
  onComplete: () => void = () => undefined;
  isAlive = true;
  uploading = 0;
  /** Frozen at once and for ever, as by SIGSTOP. */
  isFrozen = false;
  fromPeers = 0;
  fromRegistry = 0;

  constructor(member: Member, make: (node: WorldNode) => Swarms) {
    this.member = member;
    this.swarms = make(this);
  }
}

export interface WorldTransferOptions {
  readonly time: VirtualTime;
  readonly from: WorldNode;
  readonly to: WorldNode;
  readonly request: PieceRequest;
  readonly events: PieceEvents;
  readonly latency: number;
  readonly uplink: number;
  readonly done: (bytes: number) => void;
}

export class WorldTransfer {
  readonly #options: WorldTransferOptions;
  readonly #layout: ChunkLayout;
  readonly #index: number;
  #leave: (() => void) | undefined;
  #over = false;
  #sending = false;
  #left = 0;

  constructor(options: WorldTransferOptions) {
    this.#options = options;
    const { to, request, latency } = options;
    const { start = 0, end = 0 } = request.range ?? {};
    const { swarm, home } = request;
    const size =
      to.kept.get(swarm.digest) ?? to.swarms.session(swarm)?.state.layout.size ?? home?.size ?? end;
    this.#layout = new ChunkLayout(size);
    this.#index = this.#layout.indexOf(start);
    this.#left = end - start;
    this.#later(latency, () => this.#arrive());
  }

  cancel(): void {
    this.#over = true;
    if (!this.#sending) this.#leave?.();
  }

  #later(ms: number, run: () => void): void {
    this.#options.time.after(ms, () => {
      if (!this.#over) run();
    });
  }

  #arrive(): void {
    const { from, to, request, events, latency } = this.#options;
    if (!to.isAlive) {
      this.#over = true;
      events.failed(new WeirError('peer_unreachable', 'it is dead'));
      return;
    }
    if (to.isFrozen) return;
    const { swarm, home } = request;
    const isKept = to.kept.has(swarm.digest);
    this.#leave = to.swarms.desk.ask(
      {
        from: from.member.peer,
        swarm,
        index: this.#index,
        isHere: to.swarms.session(swarm)?.state.isShareable(this.#index) ?? isKept,
        asHome: home !== undefined,
        token: undefined,
      },
      () => this.#later(latency, () => events.acknowledged()),
      (ruling) => this.#ruled(ruling),
    );
  }

  #ruled(ruling: Ruling): void {
    const { to, events, latency } = this.#options;
    if (ruling.kind === 'granted') {
      this.#sending = true;
      to.uploading++;
      this.#send();
      return;
    }
    this.#later(latency, () => {
      this.#over = true;
      events.answered(ruling);
    });
  }

  /** One step of the body, at this node's share of the uplink. */
  #send(): void {
    const { time, to, uplink } = this.#options;
    const bytes = Math.min(STEP, this.#left);
    time.after((bytes * to.uploading) / uplink, () => this.#sent(bytes));
  }

  #sent(bytes: number): void {
    const { to, events, latency, done, request } = this.#options;
    if (to.isFrozen) return;
    if (this.#over || !to.isAlive) {
      this.#finish();
      return;
    }
    this.#left -= bytes;
    this.#later(latency, () => events.progressed(bytes));
    if (this.#left > 0) {
      this.#send();
      return;
    }
    this.#finish();
    const { start = 0, end = 0 } = request.range ?? {};
    done(end - start);
    this.#later(latency, () => {
      this.#over = true;
      const statement = { index: this.#index, hash: HASH, by: to.member.peer, signature: SIGNATURE };
      events.answered({ kind: 'piece', bytes: NO_BYTES, size: this.#layout.size, statement });
    });
  }

  #finish(): void {
    if (!this.#sending) return;
    this.#sending = false;
    const { to } = this.#options;
    to.uploading--;
    to.swarms.desk.slots.give();
  }
}
