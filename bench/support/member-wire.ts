/** One side of the peer wire, as a node runs it, between members that a measurement has made. */
import type { ByteWorkers } from '../../src/bytes/byte-workers.ts';
import { PeerWire } from '../../src/bytes/peer-wire.ts';
import type { PeerWireOptions } from '../../src/bytes/peer-wire-options.ts';
import { systemClock } from '../../src/util/clock.ts';
import type { Member } from '../../src/protocol/member.ts';

export interface MemberWireOptions extends Partial<Pick<PeerWireOptions, 'source' | 'onMessage' | 'tls'>> {
  readonly self: Member;
  readonly workers: ByteWorkers;
  /** The members that it knows. */
  readonly others: readonly Member[];
}

/** It serves nothing by default. */
export function openWire({ self, workers, others, ...options }: MemberWireOptions): Promise<PeerWire> {
  const report = (what: string) => (): void => console.error(`bench: ${what}`);
  return PeerWire.open({
    workers,
    listen: [{ host: '127.0.0.1', port: 0 }],
    self: self.peer,
    tls: undefined,
    members: {
      get: (peer) => others.find((each) => each.peer === peer),
      isBanned: () => false,
      names: () => true,
      onChange: () => () => undefined,
    },
    source: { serve: async () => ({ kind: 'absent' }) },
    clock: systemClock,
    observer: { refused: (reason) => console.error(`bench: refused: ${reason}`), served: () => undefined },
    introduce: async () => undefined,
    onMessage: () => undefined,
    onQuestion: async () => new Uint8Array(),
    onReached: () => undefined,
    onUnreachable: report('a member cannot be reached'),
    onBroken: report('a member has broken the protocol'),
    onGone: () => undefined,
    onWarning: (message) => console.error(`bench: ${message}`),
    ...options,
  });
}
