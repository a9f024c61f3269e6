/** One node of the simulated cluster: its blobs, and what happened to it. */
import type { WeirError } from '../../src/util/errors.ts';
import type { SuspicionReason } from '../../src/cluster/membership.ts';
import type { Member } from '../../src/protocol/member.ts';
import type { Digest } from '../../src/oci/digest.ts';
import type { PeerId } from '../../src/protocol/peer-id.ts';
import type { SwarmMessage } from '../../src/protocol/messages.ts';
import type { SwarmManager } from '../../src/swarm/swarm-manager.ts';
import { Connections } from './connections.ts';
import type { Processors } from './processors.ts';
import type { Link } from './simulated-network.ts';

/** The messages of one turn of the event loop for one peer: they leave in one write, and come in one read. */
export interface Letter {
  readonly to: SimulatedNode;
  /** Milliseconds. */
  readonly at: number;
  readonly messages: SwarmMessage[];
}

export class SimulatedNode {
  readonly member: Member;
  readonly up: Link;
  readonly down: Link;
  /** Undefined: CPU time is free. */
  readonly processors: Processors | undefined;
  swarms: SwarmManager;
  readonly blamed: { peer: PeerId; reason: SuspicionReason }[] = [];
  /** When each blob was complete, in milliseconds. */
  readonly complete: Map<Digest, number> = new Map();
  readonly failed: Map<Digest, WeirError> = new Map();
  /** Blobs that it keeps, and their sizes. */
  readonly kept: Map<Digest, number> = new Map();
  readonly connections: Connections;
  isAlive = true;
  /** Frozen at once and for ever, as by SIGSTOP. */
  isFrozen = false;
  firstByteAt: number | undefined;
  /** The last one that it has sent. */
  letter: Letter | undefined;
  /** Bytes. */
  fromPeers = 0;
  fromRegistry = 0;
  fromOtherZones = 0;
  sent = 0;

  readonly #make: (node: SimulatedNode) => SwarmManager;

  /** @param number unique for each node */
  constructor(
    number: number,
    member: Member,
    { up, down, processors }: { up: Link; down: Link; processors: Processors | undefined },
    make: (node: SimulatedNode) => SwarmManager,
  ) {
    this.connections = new Connections(number);
    this.member = member;
    this.up = up;
    this.down = down;
    this.processors = processors;
    this.#make = make;
    this.swarms = make(this);
  }

  /** It has come back, with the blobs on its disk and nothing else. */
  revive(): void {
    this.isAlive = true;
    this.swarms = this.#make(this);
  }

  get isWell(): boolean {
    return this.isAlive && !this.isFrozen;
  }
}
