/** Takes in member records from hellos, member sync and gossip. It is the only way into the table. */
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

/** The sender of a record that has no valid peer ID: no member has such a key. */
const NOBODY = '';

export class RecordIntake {
  readonly #table: MemberTable;
  readonly #self: SelfRecord;
  readonly #onOutbid: (record: SignedMember) => void;

  /** @param onOutbid called with this node's new record, after a record of an earlier run had to be outbid */
  constructor(table: MemberTable, self: SelfRecord, onOutbid: (record: SignedMember) => void) {
    this.#table = table;
    this.#self = self;
    this.#onOutbid = onOutbid;
  }

  /**
   * Applies the record that a connected peer sent of itself. If the address of the connection is in the record, the
   * peer is really there. Otherwise it is a stranger from that address.
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
    // A peer that speaks can be reached, at least by its own connection.
    if (this.#table.suspicion(from) === 'unreachable') this.#table.clear(from);
  }

  /** Applies the records of others that a neighbour sent. @throws WeirError `peer_protocol` if any is forged */
  page(records: readonly AgedRecord[], by: PeerId | undefined): void {
    const { forged, own } = this.#table.applyAll(records, by ?? NOBODY);
    if (own > 0) this.#outbid(records.map(({ record }) => record));
    if (forged > 0) throw new WeirError('peer_protocol', `${forged} forged records`);
  }

  /** @returns whether others may still need it; undefined if it is forged */
  gossip(record: SignedMember, by: PeerId | undefined): boolean | undefined {
    const applied = this.#table.apply(record, { by: by ?? NOBODY });
    if (applied === 'own') this.#outbid([record]);
    // A record that just arrived by another way is passed on: the peers that got it first all know it from a hello.
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
