import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { Network, type Flow, type Link } from '../../simulator/simulated-network.ts';
import { VirtualTime } from '../../simulator/virtual-time.ts';

/** Rates are told apart up to what the network neglects. */
const TOLERANCE = 0.01;

function assertNear(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) <= TOLERANCE * expected, `${actual}, not ${expected}`);
}

function scene(): { readonly time: VirtualTime; readonly network: Network; readonly nothing: () => void } {
  const time = new VirtualTime();
  return { time, network: new Network(time), nothing: () => undefined };
}

describe('Simulated network', () => {
  it('gives a lone flow the rate of its narrower link, but not more than its cap', () => {
    const { network, nothing } = scene();
    assert.equal(network.send(network.link(100), network.link(30), 1000, nothing).rate, 30);
    assert.equal(network.send(network.link(100), network.link(30), 1000, nothing, 7).rate, 7);
  });

  it('shares a link equally, and gives a flow’s unused share to the others', () => {
    const { network, nothing } = scene();
    const up = network.link(90);
    const narrow = network.send(up, network.link(10), 1000, nothing);
    const one = network.send(up, network.link(100), 1000, nothing);
    const other = network.send(up, network.link(100), 1000, nothing);
    assertNear(narrow.rate, 10);
    assertNear(one.rate, 40);
    assertNear(other.rate, 40);
  });

  it('is max-min fair over several links', () => {
    const { network, nothing } = scene();
    const [a, b] = [network.link(100), network.link(100)];
    const [c, d] = [network.link(100), network.link(100)];
    // Three flows into c leave each a third; a's other flow gets the rest of a, b's likewise, less what d lacks.
    const ac = network.send(a, c, 1e6, nothing);
    const bc = network.send(b, c, 1e6, nothing);
    const bc2 = network.send(b, c, 1e6, nothing);
    const ad = network.send(a, d, 1e6, nothing);
    const bd = network.send(b, d, 1e6, nothing);
    for (const flow of [ac, bc, bc2, bd]) assertNear(flow.rate, 100 / 3);
    assertNear(ad.rate, 200 / 3);
  });

  it('ends a flow when its bytes have arrived, although its rate changed', () => {
    const { time, network, nothing } = scene();
    const up = network.link(10);
    let endedAt = 0;
    network.send(up, network.link(100), 1000, () => (endedAt = time.now));
    time.after(50, () => network.send(up, network.link(100), 100, nothing)); // half the rate for 20 ms
    time.run(() => false, 1e6);
    assertNear(endedAt, 110);
  });

  it('gives the share of a cancelled flow to the others, and does not call back for it', () => {
    const { time, network } = scene();
    const up = network.link(10);
    let endedAt = 0;
    network.send(up, network.link(100), 1000, () => (endedAt = time.now));
    const second = network.send(up, network.link(100), 1000, () => assert.fail('it was cancelled'));
    time.after(40, () => network.cancel(second)); // 200 bytes have come
    time.run(() => false, 1e6);
    assertNear(endedAt, 120);
    assertNear(network.left(second), 800);
  });

  it('never exceeds a link’s capacity, and leaves no flow slower than it could be', () => {
    const index = fc.integer({ min: 0, max: 5 });
    fc.assert(
      fc.property(fc.array(fc.tuple(index, index), { minLength: 1, maxLength: 40 }), (pairs) => {
        const { network, nothing } = scene();
        const ups = [10, 20, 30, 40, 50, 60].map((capacity) => network.link(capacity));
        const downs = [15, 15, 25, 25, 100, 100].map((capacity) => network.link(capacity));
        const flows = pairs.map(([a, b]) => network.send(ups[a] as Link, downs[b] as Link, 1e9, nothing));
        for (const link of [...ups, ...downs]) {
          assert.ok(sum(link) <= link.capacity * (1 + TOLERANCE), `${sum(link)} of ${link.capacity}`);
        }
        for (const flow of flows) assert.ok([flow.up, flow.down].some((link) => isBottleneck(link, flow)));
      }),
      { seed: 1, numRuns: 200 },
    );
  });
});

function sum({ flows }: Link): number {
  return flows.reduce((total, { rate }) => total + rate, 0);
}

/** The definition of max-min: the link is full, and nobody on it has more. */
function isBottleneck(link: Link, flow: Flow): boolean {
  const isFull = sum(link) >= link.capacity * (1 - 2 * TOLERANCE);
  return isFull && link.flows.every(({ rate }) => rate <= flow.rate * (1 + 2 * TOLERANCE));
}
