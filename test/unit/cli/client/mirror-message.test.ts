import assert from 'node:assert/strict';
import { mirrorMessage } from '../../../../src/cli/client/mirror-message.ts';
import { WeirError } from '../../../../src/util/errors.ts';

const said = (body: string): Promise<string | undefined> =>
  mirrorMessage({ read: () => Promise.resolve(Buffer.from(body)) });

describe("a mirror's message", () => {
  it('is that of its error, with its code', async () => {
    const error = { code: 'UNSUPPORTED', message: 'no first byte', detail: { weir: 'upstream_timeout' } };
    assert.equal(await said(JSON.stringify({ errors: [error] })), 'no first byte (upstream_timeout)');
    const foreign = { code: 'X', message: 'denied', detail: [{ Type: 'repository' }] };
    assert.equal(await said(JSON.stringify({ errors: [foreign] })), 'denied');
  });

  it('cannot move the cursor, nor fill the screen', async () => {
    const shown = await said(JSON.stringify({ errors: [{ message: `a\u001B[2Jb\n${'x'.repeat(9_000)}` }] }));
    assert.match(shown ?? '', /^ab x+…$/);
    assert.equal(shown?.length, 600);
  });

  it('is missing if the body is none of a mirror, or cannot be read', async () => {
    for (const body of ['', 'Not Found', '{}', '{"errors":[]}', '{"errors":[{"message":7}]}', 'null']) {
      assert.equal(await said(body), undefined, body);
    }
    const cut = { read: () => Promise.reject(new WeirError('upstream_too_large', 'too large')) };
    assert.equal(await mirrorMessage(cut), undefined);
  });
});
