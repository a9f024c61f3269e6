/** Which handshakes may begin, and how many. */
import assert from 'node:assert/strict';
import type { MultiaddrConnection } from '@libp2p/interface';
import { makeGater } from '../../../src/network/connection-gater.ts';
import { MAX_PENDING_PER_PLACE, MAX_PENDING_STRANGERS } from '../../../src/network/limits.ts';

interface Dialled extends MultiaddrConnection {
  close(): Promise<void>;
}

function from(host: string): Dialled {
  const events = new EventTarget();
  const connection = {
    remoteAddr: { getComponents: () => [{ value: host }] },
    addEventListener: events.addEventListener.bind(events),
    close: async () => void events.dispatchEvent(new Event('close')),
  };
  return connection as unknown as Dialled;
}

describe('incoming handshakes', () => {
  const makeTaker = (known: readonly string[] = []): ((connection: Dialled) => boolean) => {
    const gater = makeGater(
      () => false,
      (host) => known.includes(host),
    );
    return (connection) => gater.denyInboundConnection?.(connection) === false;
  };
  const take = (
    takes: (connection: Dialled) => boolean,
    count: number,
    host: (i: number) => string,
  ): number => Array.from({ length: count }, (_, i) => takes(from(host(i)))).filter(Boolean).length;

  it('are limited per place, which is a whole /64 of IPv6', () => {
    const takes = makeTaker();
    assert.equal(
      take(takes, 1000, (i) => `fd00::${i.toString(16)}`),
      MAX_PENDING_PER_PLACE,
    );
    assert.equal(
      take(takes, 1000, () => '10.0.0.1'),
      MAX_PENDING_PER_PLACE,
    );
    assert.ok(takes(from('fd00:0:0:1::1')));
  });

  it('free their slots when they end', () => {
    const takes = makeTaker();
    const first = from('fd00::1');
    takes(first);
    take(takes, 1000, (i) => `fd00::${(i + 2).toString(16)}`);
    assert.ok(!takes(from('fd00::ffff')));
    void first.close();
    assert.ok(takes(from('fd00::ffff')));
  });

  it("leave some slots to addresses in members' records, whatever strangers take", () => {
    const takes = makeTaker(['10.1.0.1', 'fd00::1']);
    assert.equal(
      take(takes, 2000, (i) => `10.2.${i >> 8}.${i & 255}`),
      MAX_PENDING_STRANGERS,
    );
    assert.ok(!takes(from('10.3.0.1')));
    assert.ok(takes(from('10.1.0.1')));
    assert.ok(takes(from('fd00::1')));
    assert.equal(
      take(takes, 1000, () => '10.1.0.1'),
      MAX_PENDING_PER_PLACE - 1,
      'who shares the address of a member takes no more than others',
    );
  });

  it('keep no member out because of a stranger in the same /64', () => {
    const takes = makeTaker(['fd00::1']);
    take(takes, 1000, (i) => `fd00::${(i + 2).toString(16)}`);
    assert.ok(takes(from('fd00::1')));
  });
});
