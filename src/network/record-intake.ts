/** Records that arrive, by whichever way: the one place where they reach the table. */
import type { Connection } from '@libp2p/interface';
import { WeirError } from '../util/errors.ts';
import { strangerAt } from '../cluster/record-sources.ts';
import type { MemberTable } from '../cluster/member-table.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { addressOf, endpointsOf } from '../util/ip-address.ts';
import type { AgedRecord } from '../protocol/sync-messages.ts';
import type { SignedMember } from '../protocol/signed-record.ts';
import { weirPeerIdOf } from './connection-gater.ts';
import type { SelfRecord } from './self-record.ts';

/** Who cannot be named has brought it: no member has such a key. */
const NOBODY = '';

export class RecordIntake {
  readonly #table: MemberTable;
  readonly #self: SelfRecord;
  readonly #onOutbid: (record: SignedMember) => void;

  /** @param onOutbid called with the own record when an earlier run of this node had to be outbid */
  constructor(table: MemberTable, self: SelfRecord, onOutbid: (record: SignedMember) => void) {
    this.#table = table;
    this.#self = self;
    this.#onOutbid = onOutbid;
  }

  /**
   * What the peer at the other end says of itself. It is met where the connection goes to an address that it names, or
   * comes from one; else it is one of those who come from there.
   * @throws WeirError `peer_protocol`
   */
  hello(record: SignedMember, { remotePeer, remoteAddr }: Connection): void {
    const from = weirPeerIdOf(remotePeer);
    if (from === undefined || record.member.peer !== from) {
      throw new WeirError('peer_protocol', `a hello with the record of ${record.member.peer}`);
    }
    const host = addressOf(remoteAddr.getComponents()[0]?.value ?? '');
    const isThere = endpointsOf(record.member.controlAddresses).some(({ address }) => address === host);
    const by = isThere ? undefined : strangerAt(host);
    if (this.#table.apply(record, { by, isFirstHand: true }) === 'forged') {
      throw new WeirError('peer_protocol', 'a hello with a forged record');
    }
    // Who speaks can be reached, at least by itself.
    if (this.#table.suspicion(from) === 'unreachable') this.#table.clear(from);
  }

  /** What a neighbour knows of others. @throws WeirError `peer_protocol` where it passes forged ones on */
  page(records: readonly AgedRecord[], by: PeerId | undefined): void {
    const { forged, own } = this.#table.applyAll(records, by ?? NOBODY);
    if (own > 0) this.#outbid(records.map(({ record }) => record));
    if (forged > 0) throw new WeirError('peer_protocol', `${forged} forged records`);
  }

  /** @returns whether others may still need it; undefined for a forged one */
  gossip(record: SignedMember, by: PeerId | undefined): boolean | undefined {
    const applied = this.#table.apply(record, { by: by ?? NOBODY });
    if (applied === 'own') this.#outbid([record]);
    // One that came by another way a moment ago is on its way still: its first receivers all know it by a hello.
    return applied === 'forged' ? undefined : applied === 'news' || applied === 'same';
  }

  #outbid(records: readonly SignedMember[]): void {
    const { peer } = this.#table.self;
    const sequences = records
      .filter(({ member }) => member.peer === peer)
      .map(({ member }) => member.sequence);
    this.#onOutbid(this.#self.renew({ above: Math.max(...sequences) }));
  }
}
