/** One chunk on its way between two simulated nodes: requested, decided on by the other's uploader, sent. */
import { MILLISECOND } from '../../src/util/clock.ts';
import { WeirError } from '../../src/util/errors.ts';
import { ChunkLayout } from '../../src/protocol/chunk-layout.ts';
import type { Uploader, UploadDecision } from '../../src/swarm/uploader.ts';
import type { ChunkFetchEvents, ChunkFetch } from '../../src/transfer/chunk-exchange.ts';
import { COSTS } from './costs.ts';
import type { Loss } from './loss.ts';
import type { Flow, Network } from './simulated-network.ts';
import type { SimulatedNode } from './simulated-node.ts';
import type { Tally } from './tally.ts';
import type { VirtualTime } from './virtual-time.ts';

/** Milliseconds between two reports of a transfer's progress. */
export const PROGRESS: number = 100 * MILLISECOND;
export const NO_BYTES: Uint8Array = new Uint8Array(0);
export const HASH: Uint8Array = new Uint8Array(32);
export const SIGNATURE: Uint8Array = new Uint8Array(64);

/** The surroundings that transfers share. */
export interface Carrier {
  readonly time: VirtualTime;
  readonly network: Network;
  readonly loss: Loss;
  readonly tally: Tally;
  delivered(from: SimulatedNode, to: SimulatedNode, bytes: number): void;
  /** Milliseconds that a message from one to the other waits behind bulk data. */
  waits(from: SimulatedNode, to: SimulatedNode): number;
  /** Milliseconds until a request from one to the other has a connection. */
  opening(from: SimulatedNode, to: SimulatedNode): number;
}

export class Transfer {
  readonly #carrier: Carrier;
  /** The asking node, and the asked one. */
  readonly #from: SimulatedNode;
  readonly #to: SimulatedNode;
  readonly #request: ChunkFetch;
  readonly #events: ChunkFetchEvents;
  /** Milliseconds of one way. */
  readonly #latency: number;
  readonly #bytes: number;
  /** Size of the blob as the asked node had it when it was asked. */
  #size = 0;
  #index = 0;
  #leave: (() => void) | undefined;
  #over = false;
  #flow: Flow | undefined;
  /** The uploader that was asked: its node may have come back with a new one since. */
  #uploader: Uploader | undefined;
  #holdsSlot = false;
  #told = 0;

  constructor(
    carrier: Carrier,
    [from, to]: readonly [SimulatedNode, SimulatedNode],
    request: ChunkFetch,
    events: ChunkFetchEvents,
    latency: number,
  ) {
    this.#carrier = carrier;
    this.#from = from;
    this.#to = to;
    this.#request = request;
    this.#events = events;
    this.#latency = latency;
    const { start = 0, end = 0 } = request.range ?? {};
    this.#bytes = end - start;
    events.connecting();
    const opening = (from.processors?.main.charge(COSTS.main.request) ?? 0) + carrier.opening(from, to);
    if (opening === 0) this.#depart();
    else this.#later(opening, () => this.#depart());
  }

  cancel(): void {
    this.#over = true;
    if (this.#holdsSlot) this.#carrier.time.post(this.#latency, () => this.#giveBack());
    else this.#leave?.();
  }

  #depart(): void {
    const { loss } = this.#carrier;
    this.#events.sent();
    this.#later(this.#latency + loss.delay() + this.#carrier.waits(this.#from, this.#to), () =>
      this.#arrive(),
    );
  }

  /** Milliseconds of a short answer's way. */
  get #back(): number {
    return this.#latency + this.#carrier.loss.delay() + this.#carrier.waits(this.#to, this.#from);
  }

  #later(ms: number, run: () => void): void {
    this.#carrier.time.post(ms, () => {
      if (!this.#over && this.#from.isWell) run();
    });
  }

  #arrive(): void {
    const [to, events] = [this.#to, this.#events];
    if (!to.isAlive) {
      this.#over = true;
      events.failed(new WeirError('peer_unreachable', 'it is dead'));
      return;
    }
    if (to.isFrozen) return;
    if (to.processors === undefined) this.#ask();
    else to.processors.main.begin(COSTS.main.answer, () => to.isWell && !this.#over && this.#ask());
  }

  #ask(): void {
    const [to, events] = [this.#to, this.#events];
    const { swarm, owner, range } = this.#request;
    const kept = to.kept.get(swarm.digest);
    const state = to.swarms.get(swarm)?.state;
    this.#size = kept ?? state?.layout.size ?? owner?.size ?? range?.end ?? 0;
    this.#index = new ChunkLayout(this.#size).indexOf(range?.start ?? 0);
    this.#uploader = to.swarms.uploader;
    this.#leave = this.#uploader.ask(
      {
        from: this.#from.member.peer,
        swarm,
        index: this.#index,
        isHeld: state?.isShareable(this.#index) ?? kept !== undefined,
        asOwner: owner !== undefined,
        token: undefined,
      },
      () => this.#later(this.#back, () => events.acknowledged()),
      (decision) => this.#ruled(decision),
    );
  }

  #ruled(decision: UploadDecision): void {
    this.#carrier.tally.ruled(decision.kind);
    if (decision.kind === 'granted') {
      this.#holdsSlot = true;
      this.#send();
      return;
    }
    this.#later(this.#back, () => {
      this.#over = true;
      this.#events.answered(decision);
    });
  }

  #send(): void {
    const [from, to] = [this.#from, this.#to];
    if (this.#over || !from.isWell) {
      this.#giveBack();
      return;
    }
    if (to.processors === undefined) this.#flowOut();
    else to.processors.workers.after(COSTS.workers.send, this.#bytes, () => this.#flowOut());
  }

  #flowOut(): void {
    const [from, to] = [this.#from, this.#to];
    const { network, loss } = this.#carrier;
    if (this.#over || !from.isWell || !to.isWell) {
      this.#giveBack();
      return;
    }
    this.#flow = network.send(to.up, from.down, this.#bytes, () => this.#sent(), loss.cap(this.#latency));
    this.#later(this.#latency + this.#carrier.waits(to, from), () => this.#tell());
  }

  /** At the first byte, and then as long as it takes. */
  #tell(): void {
    const [from, to, events] = [this.#from, this.#to, this.#events];
    const { network, time } = this.#carrier;
    if (this.#flow === undefined || this.#flow.isOver) return;
    if (!to.isWell) {
      this.#giveBack();
      if (to.isAlive) return;
      this.#over = true;
      events.failed(new WeirError('peer_cut', 'it died'));
      return;
    }
    from.firstByteAt ??= time.now;
    const arrived = Math.max(1, Math.floor(this.#bytes - network.left(this.#flow)));
    events.progressed(arrived - this.#told);
    this.#told = arrived;
    this.#later(PROGRESS, () => this.#tell());
  }

  #sent(): void {
    const to = this.#to;
    if (!to.isWell) return;
    this.#giveBack();
    if (this.#over) return;
    this.#carrier.delivered(this.#from, to, this.#bytes);
    this.#later(this.#latency + this.#carrier.waits(to, this.#from), () => this.#came());
  }

  #came(): void {
    const { processors } = this.#from;
    if (processors === undefined) return this.#received();
    processors.workers.after(COSTS.workers.receive, this.#bytes, () => {
      if (!this.#over && this.#from.isWell) this.#received();
    });
  }

  #received(): void {
    const [to, events] = [this.#to, this.#events];
    this.#over = true;
    events.progressed(this.#bytes - this.#told);
    const attestation = {
      index: this.#index,
      hash: HASH,
      verified: false,
      by: to.member.peer,
      signature: SIGNATURE,
    };
    events.answered({ kind: 'chunk', bytes: NO_BYTES, size: this.#size, attestation });
  }

  #giveBack(): void {
    if (!this.#holdsSlot) return;
    this.#holdsSlot = false;
    if (this.#flow !== undefined) this.#carrier.network.cancel(this.#flow);
    if (this.#to.isWell) this.#uploader?.slots.give();
  }
}
