import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { isWeirError } from '../../../src/util/errors.ts';
import { credentialKey, formatAuthorization, parseAuthorization } from '../../../src/upstream/credential.ts';

describe('upstream: credential', () => {
  it('reads a missing header, Basic and Bearer', () => {
    assert.equal(parseAuthorization(undefined), undefined);
    assert.deepEqual(parseAuthorization('basic YTpiOmM='), { kind: 'basic', username: 'a', password: 'b:c' });
    assert.deepEqual(parseAuthorization('Bearer abc.def-_'), { kind: 'bearer', token: 'abc.def-_' });
  });

  it('refuses malformed headers instead of going on without a credential', () => {
    const wrong = [
      '',
      'Basic',
      'Basic !!!',
      'Basic YQ==',
      'Digest a=b',
      'Bearer a b',
      'Bearer ä',
      'Basic YToKYg==',
      'Basic //466Q==', // no UTF-8: what is read as text would be another password
    ];
    for (const header of [...wrong, `Bearer ${'a'.repeat(20_000)}`]) {
      assert.throws(() => parseAuthorization(header), { code: 'bad_request' }, header.slice(0, 30));
    }
  });

  it('reads back what it formatted', () => {
    const text = fc.string().map((s) => s.replaceAll(/[\p{Cc}\ud800-\udfff]/gu, ''));
    const basic = fc.record({
      kind: fc.constant('basic' as const),
      username: text.map((name) => name.replaceAll(':', '')),
      password: text,
    });
    fc.assert(
      fc.property(basic, (credential) => {
        assert.deepEqual(parseAuthorization(formatAuthorization(credential)), { ...credential });
      }),
    );
  });

  it('throws only WeirError', () => {
    fc.assert(
      fc.property(fc.string(), (header) => {
        try {
          parseAuthorization(header);
        } catch (error) {
          assert.ok(isWeirError(error, 'bad_request'));
        }
      }),
    );
  });

  it('makes keys that do not contain the credential', () => {
    const key = credentialKey({ kind: 'basic', username: 'ann', password: 'secret' });
    assert.ok(!key.includes('secret') && !key.includes('ann'));
    assert.notEqual(key, credentialKey({ kind: 'basic', username: 'ann', password: 'other' }));
    assert.equal(credentialKey(undefined), 'anonymous');
  });
});
