/**
 * A user with the role `view` reads everything in a namespace but Secrets. There must be no password that the chart was
 * given, nor anything that tells whether a guess at it is right.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { arch } from 'node:process';
import * as fc from 'fast-check';
import { parseManifests, template, type Manifest } from '../../deploy/helm.ts';
import { SECOND } from '../../src/util/clock.ts';
import { TempDir } from '../support/temp.ts';

/** Helm's package has a binary for this platform only. */
const describeChart = arch === 'x64' ? describe : describe.skip;

interface Given {
  readonly password: string;
  readonly token: string;
}

describeChart('a password that the chart was given', function () {
  this.timeout(60 * SECOND);

  const render = async (given: Given): Promise<readonly Manifest[]> => {
    await using dir = await TempDir.create('values');
    const registries = {
      'a.example': { username: 'puller', password: given.password },
      'b.example': { token: given.token },
    };
    const values = { config: { registries }, metrics: { enabled: true, dashboard: { enabled: true } } };
    await writeFile(dir.join('values.json'), JSON.stringify(values)); // is YAML
    return parseManifests(await template('--values', dir.join('values.json')));
  };

  /** The text that the role `view` reads. */
  const visible = async (given: Given): Promise<string> =>
    JSON.stringify((await render(given)).filter(({ kind }) => kind !== 'Secret'));

  it('is readable only in a Secret, and so is its hash', async () => {
    const given = { password: 'correct-horse-battery', token: 'a-token-that-is-secret' };
    const text = await visible(given);
    for (const secret of Object.values(given)) {
      const forms = [
        secret,
        Buffer.from(secret).toString('base64'),
        createHash('sha256').update(secret).digest('hex'),
      ];
      for (const form of forms) assert.ok(!text.includes(form), form);
    }
    const all = JSON.stringify(await render(given));
    assert.ok(
      Object.values(given).every((secret) => all.includes(secret)),
      'the node would not get them',
    );
  });

  it('cannot be guessed: all readable text is the same with another password', async () => {
    const word = fc.stringMatching(/^[A-Za-z0-9+/=]{8,40}$/);
    const expected = await visible({ password: 'correct-horse-battery', token: 'a-token-that-is-secret' });
    const property = fc.asyncProperty(word, word, async (password, token) => {
      assert.equal(await visible({ password, token }), expected);
    });
    await fc.assert(property, { numRuns: 5 });
  });

  it('is refused in values that everybody can read, with the remedy', async () => {
    const refused = async (set: string, what: RegExp): Promise<void> =>
      assert.rejects(template('--set-string', set), what);
    for (const name of ['password', 'token', 'identitytoken', 'registrytoken', 'auth', 'clientSecret']) {
      await refused(`podAnnotations.${name}=x`, /in a Secret: whoever may see pods reads it here/);
      await refused(`config.upstream.${name}=x`, /below registries, as password-file, or in the Secret/);
      await refused(`config.${name}=x`, /below registries, as password-file, or in the Secret/);
    }
    for (const name of ['REGISTRY_PASSWORD', 'NPM_TOKEN', 'DOCKER_AUTH']) {
      await refused(`extraEnv[0].name=${name},extraEnv[0].value=x`, /valueFrom\.secretKeyRef/);
    }
    await refused(
      'extraEnv[0].name=HTTPS_PROXY,extraEnv[0].value=http://user:password@proxy.example:3128',
      /valueFrom\.secretKeyRef/,
    );
  });
});
