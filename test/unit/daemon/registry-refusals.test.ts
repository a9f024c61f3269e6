import assert from 'node:assert/strict';
import { RegistryRefusals } from '../../../src/daemon/registry-refusals.ts';
import { parseRegistryHost } from '../../../src/oci/repository.ts';
import { HOUR, MINUTE } from '../../../src/util/clock.ts';
import { VirtualClock } from '../network/virtual-clock.ts';

const HOST = parseRegistryHost('registry.example:5000');

function scene() {
  const clock = new VirtualClock();
  const said: string[] = [];
  const refusals = new RegistryRefusals({ clock, logger: { warn: (_, message) => said.push(message) } });
  /** So many requests, one every `pause` milliseconds. */
  const refuse = async (count: number, pause = 0): Promise<void> => {
    for (let i = 0; i < count; i += 1) {
      refusals.request(HOST, i % 2 === 0 ? 'manifest' : 'blob', i % 3 === 0 ? 403 : 401, 0);
      if (pause > 0) await clock.advance(pause);
    }
  };
  return { clock, said, refusals, refuse };
}

describe('RegistryRefusals', () => {
  it('names a registry that refuses all of twenty requests, once an hour', async () => {
    const { clock, said, refuse } = scene();
    await refuse(19);
    assert.deepEqual(said, []);
    await refuse(1);
    assert.match(said[0] ?? '', /^registry\.example:5000 has refused each request .*give Weir a credential/);
    await refuse(100);
    assert.equal(said.length, 1);
    await clock.advance(HOUR);
    await refuse(20);
    assert.equal(said.length, 2);
  });

  it('says nothing of a registry that grants anything: each first request of a client is refused', async () => {
    const { clock, said, refusals, refuse } = scene();
    const grant = (): void => refusals.request(HOST, 'manifest', 200, 0);
    for (let turn = 0; turn < 90; turn += 1) {
      grant();
      await refuse(20);
      await clock.advance(MINUTE);
    }
    await clock.advance(8 * MINUTE);
    await refuse(30);
    assert.deepEqual(said, [], 'within ten minutes of a grant');
    await clock.advance(2 * MINUTE);
    await refuse(1);
    assert.equal(said.length, 1);
  });

  it('takes a token for no grant, and a failure for no refusal', async () => {
    const { said, refusals, refuse } = scene();
    for (let turn = 0; turn < 40; turn += 1) refusals.request(HOST, 'blob', 'upstream_timeout', 0);
    assert.deepEqual(said, []);
    for (let turn = 0; turn < 20; turn += 1) {
      refusals.request(HOST, 'token', 200, 0);
      await refuse(1);
    }
    assert.equal(said.length, 1);
  });

  it('counts ten minutes only', async () => {
    const { said, refuse } = scene();
    await refuse(100, MINUTE);
    assert.deepEqual(said, []);
  });
});
