/** Makes and signs this node's own record, newer each time. */
import type { Clock } from '../util/clock.ts';
import type { Address, Member } from '../protocol/member.ts';
import type { MemberTable } from '../cluster/member-table.ts';
import type { Identity } from '../protocol/identity.ts';
import { RECORD_LIMITS, signMember, type SignedMember } from '../protocol/signed-record.ts';

/** What the rest of the node supplies for the record; see {@link Member}. */
export interface SelfInfo {
  readonly name: string;
  readonly zone: string;
  readonly version: string;
  readonly dataAddresses: readonly Address[];
  readonly fingerprint: Uint8Array;
}

export class SelfRecord {
  readonly #identity: Identity;
  readonly #table: MemberTable;
  readonly #clock: Clock;
  #info: SelfInfo;
  #controlAddresses: readonly string[] = [];
  #leaving = false;
  #current: SignedMember;

  constructor(identity: Identity, table: MemberTable, clock: Clock, info: SelfInfo) {
    this.#identity = identity;
    this.#table = table;
    this.#clock = clock;
    this.#info = info;
    this.#current = this.renew();
  }

  get current(): SignedMember {
    return this.#current;
  }

  change(
    info: Partial<SelfInfo>,
    controlAddresses: readonly string[] = this.#controlAddresses,
  ): SignedMember {
    this.#info = { ...this.#info, ...info };
    this.#controlAddresses = controlAddresses;
    return this.renew();
  }

  /** Marks this node as leaving, in this record and all later ones: a renewal must not take it back. */
  leave(): SignedMember {
    this.#leaving = true;
    return this.renew();
  }

  /** @param above a sequence that others have seen: the clock of an earlier run may have been ahead */
  renew({ above = 0 }: { readonly above?: number } = {}): SignedMember {
    const { name, zone, version, dataAddresses, fingerprint } = this.#info;
    const member: Member = {
      peer: this.#identity.peer,
      sequence: Math.max(this.#clock.now(), above + 1, this.#table.self.sequence + 1),
      name: printable(name, RECORD_LIMITS.name),
      zone: printable(zone, RECORD_LIMITS.zone),
      version: printable(version, RECORD_LIMITS.version),
      controlAddresses: this.#controlAddresses.slice(0, RECORD_LIMITS.addresses),
      dataAddresses: dataAddresses.slice(0, RECORD_LIMITS.addresses),
      fingerprint,
      leaving: this.#leaving,
    };
    this.#current = signMember(this.#identity, member);
    this.#table.setSelf(this.#current);
    return this.#current;
  }
}

/** Replaces and cuts what the codec of other members would refuse. */
function printable(text: string, max: number): string {
  return text.replaceAll(/[^ -~]/g, '?').slice(0, max);
}
