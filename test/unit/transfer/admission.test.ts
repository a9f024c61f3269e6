/** The number of connections that strangers may hold at the data port. */
import assert from 'node:assert/strict';
import { Admission, type Connection, type KnownMembers } from '../../../src/transfer/admission.ts';

/** A connection that a test can close. */
interface TestConnection extends Connection {
  close(): void;
}

function from(remoteAddress: string): TestConnection {
  const closed: (() => void)[] = [];
  return {
    remoteAddress,
    onClose: (callback) => void closed.push(callback),
    destroy: () => undefined,
    close: () => closed.forEach((callback) => callback()),
  };
}

function admission(known: readonly string[] = []): Admission {
  const members: KnownMembers = {
    get: () => undefined,
    isBanned: () => false,
    names: (host) => known.includes(host),
    onChange: () => () => undefined,
  };
  return new Admission(members, true);
}

describe('connections whose member is not known yet', () => {
  const take = (admits: Admission, count: number, host: (i: number) => string): number =>
    Array.from({ length: count }, (_, i) => admits.begin(from(host(i)))).filter(Boolean).length;

  it('are bounded for each place, which is a whole /64 of IPv6', () => {
    const admits = admission();
    assert.equal(
      take(admits, 1000, (i) => `fd00::${i.toString(16)}`),
      256,
    );
    assert.ok(admits.begin(from('fd00:0:0:1::1')));
  });

  it('give their places back when they end', () => {
    const admits = admission();
    const first = from('fd00::1');
    admits.begin(first);
    take(admits, 1000, (i) => `fd00::${(i + 2).toString(16)}`);
    assert.ok(!admits.begin(from('fd00::ffff')));
    first.close();
    assert.ok(admits.begin(from('fd00::ffff')));
  });

  it("leave some to addresses in members' records, however many strangers come", () => {
    const admits = admission(['10.1.0.1']);
    assert.equal(
      take(admits, 2000, (i) => `10.2.${i >> 8}.${i & 255}`),
      512,
    );
    assert.ok(!admits.begin(from('10.3.0.1')));
    assert.ok(admits.begin(from('10.1.0.1')));
    assert.equal(
      take(admits, 1000, () => '10.1.0.1'),
      255,
      'a stranger at the address of a member takes no more than others',
    );
  });

  it('keep no member out because of a stranger in the same /64', () => {
    const admits = admission(['fd00::1']);
    take(admits, 1000, (i) => `fd00::${(i + 2).toString(16)}`);
    assert.ok(admits.begin(from('fd00::1')));
  });
});
