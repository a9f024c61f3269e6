import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { HOUR, systemClock } from '../../../src/util/clock.ts';
import { Identity } from '../../../src/protocol/identity.ts';
import { fingerprintOf, makeCertificate } from '../../../src/transfer/certificate.ts';
import { run } from '../../support/program.ts';
import { findProgram } from '../../support/requires.ts';
import { TempDir } from '../../support/temp.ts';

describe('makeCertificate', () => {
  const { peer } = Identity.generate();
  const at = (now: number) => makeCertificate(peer, { ...systemClock, now: () => now });

  it('makes one that is signed by its own key and names the peer', () => {
    const { certPem, keyPem, fingerprint } = makeCertificate(peer, systemClock);
    const certificate = new X509Certificate(certPem);
    assert.equal(certificate.subject, `CN=${peer}`);
    assert.equal(certificate.issuer, `CN=${peer}`);
    assert.ok(certificate.verify(certificate.publicKey));
    assert.deepEqual(certificate.publicKey.asymmetricKeyDetails, { namedCurve: 'prime256v1' });
    assert.match(keyPem, /^-----BEGIN PRIVATE KEY-----\n/);
    assert.equal(fingerprint.length, 32);
    assert.deepEqual(Buffer.from(fingerprint), createHash('sha256').update(certificate.raw).digest());
    assert.deepEqual(fingerprintOf(certificate.raw), fingerprint);
  });

  it('is valid from an hour ago for seven days, also over the turn of 2050', () => {
    for (const now of [
      Date.UTC(2026, 1, 28, 23, 59, 59, 999),
      Date.UTC(2049, 11, 28),
      Date.UTC(2050, 5, 1),
    ]) {
      const { validFrom, validTo } = new X509Certificate(at(now).certPem);
      const begins = Math.floor((now - HOUR) / 1000) * 1000;
      assert.equal(Date.parse(validFrom), begins);
      assert.equal(Date.parse(validTo), begins + 7 * 24 * HOUR);
    }
  });

  it('makes another one each time', () => {
    const prints = Array.from({ length: 20 }, () => Buffer.from(at(0).fingerprint).toString('hex'));
    assert.equal(new Set(prints).size, prints.length);
  });

  it('makes one that openssl accepts as valid', async function () {
    const openssl = findProgram('openssl');
    if (openssl === undefined) this.skip(); // no openssl on this machine: no other program here checks the signature
    await using dir = await TempDir.create('certificate');
    const file = dir.join('cert.pem');
    await writeFile(file, makeCertificate(peer, systemClock).certPem);
    const { stdout, stderr } = await run(openssl, ['verify', '-check_ss_sig', '-CAfile', file, file]);
    assert.match(stdout, /: OK/, stderr);
  });
});
