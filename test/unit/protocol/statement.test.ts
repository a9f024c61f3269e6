/** Signed statements of chunk hashes. */
import assert from 'node:assert/strict';
import { Identity } from '../../../src/peer/identity.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { isGenuine, makeStatement } from '../../../src/protocol/statement.ts';

describe('a statement', () => {
  const identity = Identity.generate();
  const digest = digestOf(Buffer.from('blob'));
  const hash = new Uint8Array(32).fill(7);
  const statement = makeStatement(identity, digest, 1000, 3, hash);

  it('is genuine as it was made', () => {
    assert.equal(statement.by, identity.peer);
    assert.ok(isGenuine(statement, digest, 1000));
  });

  it('holds for one blob of one size, one chunk, one hash and one maker', () => {
    const other = Identity.generate().peer;
    assert.ok(!isGenuine(statement, digestOf(Buffer.from('another')), 1000));
    assert.ok(!isGenuine(statement, digest, 1001));
    assert.ok(!isGenuine({ ...statement, index: 4 }, digest, 1000));
    assert.ok(!isGenuine({ ...statement, hash: new Uint8Array(32) }, digest, 1000));
    assert.ok(!isGenuine({ ...statement, by: other }, digest, 1000));
    assert.ok(!isGenuine({ ...statement, hash: new Uint8Array(31) }, digest, 1000));
    assert.ok(!isGenuine({ ...statement, signature: new Uint8Array(64) }, digest, 1000));
  });
});
