import assert from 'node:assert/strict';
import { SelfRecord } from '../../../src/network/self-record.ts';
import { MemberTable } from '../../../src/cluster/member-table.ts';
import { Identity } from '../../../src/protocol/identity.ts';
import { VirtualClock } from './virtual-clock.ts';

const INFO = { name: 'a', zone: 'z1', version: '1', dataAddresses: [], fingerprint: new Uint8Array() };

describe('SelfRecord', () => {
  const identity = Identity.generate();
  const clock = new VirtualClock();
  let table: MemberTable;
  let self: SelfRecord;

  beforeEach(() => {
    table = new MemberTable({ self: identity.peer, clock });
    self = new SelfRecord(identity, table, clock, INFO);
  });

  it('is newer each time, and newer than a record that others have seen', () => {
    const first = self.current.member.sequence;
    const second = self.renew().member.sequence;
    assert.ok(second > first);
    assert.ok(self.renew({ above: second + 1000 }).member.sequence > second + 1000);
  });

  it('stays marked as leaving, whatever renews it', () => {
    self.leave();
    assert.equal(table.self.leaving, true);
    const renewals = [
      self.renew(),
      self.renew({ above: table.self.sequence + 10 }),
      self.change({ zone: 'z2' }),
    ];
    for (const { member } of renewals) assert.equal(member.leaving, true);
    assert.equal(table.self.leaving, true);
    assert.equal(table.self.zone, 'z2');
  });
});
