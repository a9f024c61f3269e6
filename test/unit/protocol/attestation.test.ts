/** Attestations of chunk hashes. */
import assert from 'node:assert/strict';
import { Identity } from '../../../src/protocol/identity.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { parseRegistryHost } from '../../../src/oci/repository.ts';
import { isGenuine, attest } from '../../../src/protocol/attestation.ts';

describe('attestation', () => {
  const identity = Identity.generate();
  const swarm = { registry: parseRegistryHost('registry.test'), digest: digestOf(Buffer.from('blob')) };
  const hash = new Uint8Array(32).fill(7);
  const attestation = attest(identity, swarm, 1000, { index: 3, hash, verified: false });

  it('is genuine as it was made', () => {
    assert.equal(attestation.by, identity.peer);
    assert.ok(isGenuine(attestation, swarm, 1000));
  });

  it('is valid for one blob of one registry and size, one chunk, hash, maker and kind', () => {
    const other = Identity.generate().peer;
    assert.ok(!isGenuine(attestation, { ...swarm, digest: digestOf(Buffer.from('another')) }, 1000));
    assert.ok(!isGenuine(attestation, { ...swarm, registry: parseRegistryHost('other.test') }, 1000));
    assert.ok(!isGenuine(attestation, swarm, 1001));
    assert.ok(!isGenuine({ ...attestation, verified: true }, swarm, 1000));
    assert.ok(!isGenuine({ ...attestation, index: 4 }, swarm, 1000));
    assert.ok(!isGenuine({ ...attestation, hash: new Uint8Array(32) }, swarm, 1000));
    assert.ok(!isGenuine({ ...attestation, by: other }, swarm, 1000));
    assert.ok(!isGenuine({ ...attestation, hash: new Uint8Array(31) }, swarm, 1000));
    assert.ok(!isGenuine({ ...attestation, signature: new Uint8Array(64) }, swarm, 1000));
  });
});
