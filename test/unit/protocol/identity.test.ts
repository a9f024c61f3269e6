/** Peer IDs, and the node's own key. */
import assert from 'node:assert/strict';
import { readFile, stat, writeFile } from 'node:fs/promises';
import * as fc from 'fast-check';
import { isWeirError } from '../../../src/util/errors.ts';
import { Identity, isSignedBy } from '../../../src/protocol/identity.ts';
import { parsePeerId, peerIdOf, publicKeyOf, tryParsePeerId } from '../../../src/protocol/peer-id.ts';
import { TempDir } from '../../support/temp.ts';

describe('peer IDs', () => {
  it('are those of libp2p', () => {
    // From the libp2p specs, peer-ids/peer-ids.md, "Test vectors": the Ed25519 key.
    const key = Buffer.from('1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e', 'hex');
    assert.equal(peerIdOf(key), '12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq');
  });

  it('contain the whole public key', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (key) => {
        const name = peerIdOf(key);
        assert.deepEqual(new Uint8Array(publicKeyOf(parsePeerId(name))), new Uint8Array(key));
      }),
    );
  });

  it('are distinguished from any other text', () => {
    const { peer } = Identity.generate();
    for (const text of [
      '',
      'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N',
      `${peer}x`,
      peer.slice(1),
      `${peer.slice(0, -1)}0`,
    ]) {
      assert.equal(tryParsePeerId(text), undefined, text);
    }
    fc.assert(fc.property(fc.string(), (text) => assert.equal(tryParsePeerId(text), undefined)));
    assert.throws(
      () => parsePeerId('nobody'),
      (error) => isWeirError(error, 'bad_request'),
    );
  });
});

describe('Identity', () => {
  it('is kept in a file that only its owner may read', async () => {
    await using dir = await TempDir.create('identity');
    const path = dir.join('identity.key');
    const made = await Identity.load(path);
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.equal((await Identity.load(path)).peer, made.peer);
    assert.match(await readFile(path, 'utf8'), /^-----BEGIN PRIVATE KEY-----/);
  });

  it('reports how to repair a damaged file, and does not replace it', async () => {
    await using dir = await TempDir.create('identity');
    const path = dir.join('identity.key');
    await writeFile(path, 'nonsense');
    await assert.rejects(Identity.load(path), (error) => {
      assert.ok(isWeirError(error, 'store_unusable'));
      assert.match(error.message, /remove it to begin with a new identity/);
      return true;
    });
    assert.equal(await readFile(path, 'utf8'), 'nonsense');
  });

  it('makes signatures that others can verify with only its peer ID', () => {
    const [one, other] = [Identity.generate(), Identity.generate()];
    const bytes = Buffer.from('a statement');
    const signature = one.sign(bytes);
    assert.ok(isSignedBy(one.peer, bytes, signature));
    assert.ok(!isSignedBy(other.peer, bytes, signature));
    assert.ok(!isSignedBy(one.peer, Buffer.from('another'), signature));
    assert.ok(!isSignedBy(one.peer, bytes, signature.subarray(1)));
    signature[0] = (signature[0] ?? 0) ^ 1;
    assert.ok(!isSignedBy(one.peer, bytes, signature));
  });
});
