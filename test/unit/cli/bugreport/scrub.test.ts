import assert from 'node:assert/strict';
import { assert as check, pre, property, string } from 'fast-check';
import { Scrubber } from '../../../../src/cli/bugreport/scrub.ts';

const JWT = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl';
/** Stands in each line below, and in none after it was scrubbed. */
const SECRET = 'Zq7-hunter_2';

const lines: Readonly<Record<string, string>> = {
  'a header': `Authorization: Basic ${SECRET}`,
  'a header in JSON': `{"headers":{"authorization":"Bearer ${SECRET}","accept":"*/*"}}`,
  'a header in JSON within JSON': String.raw`{"line":"{\"authorization\":\"Bearer ${SECRET}\"}"}`,
  'a header as a list': `'proxy-authorization', 'Basic ${SECRET}'`,
  'a header of curl': `curl -H "Authorization: token ${SECRET}" https://h/v2/`,
  'a digest header': `Authorization: Digest username="ada", response="${SECRET}"`,
  'a cookie': `set-cookie: session=${SECRET}; Path=/`,
  'a bare token': `sent Bearer ${SECRET} to ghcr.io`,
  'a URL': `HTTPS_PROXY=http://ada:${SECRET}@proxy.example:3128/`,
  'a URL with a strange password': `https://ada:p@s/${SECRET}@registry.example/v2/`,
  'a URL with a token alone': `https://${SECRET}@registry.example/v2/`,
  'a parameter': `GET /v2/?access_token=${SECRET}&n=5 401`,
  'a signed URL': `https://s3.example/blob?X-Amz-Security-Token=${SECRET}&X-Amz-Signature=${SECRET}`,
  'a field': `{"password":"${SECRET}","user":"ada"}`,
  'a field with a quotation mark': String.raw`{"password":"a\"${SECRET}","user":"ada"}`,
  'a field with blanks': `password: "correct ${SECRET} horse"`,
  'a field of a docker config': `{"auths":{"ghcr.io":{"auth":"${SECRET}","identitytoken":"${SECRET}"}}}`,
  YAML: `      password: ${SECRET}`,
  'a variable': `WEIR_REGISTRY_TOKEN=${SECRET}`,
  'a private key': `-----BEGIN EC PRIVATE KEY-----\n${SECRET}\n-----END EC PRIVATE KEY-----`,
  'the beginning of a private key': `-----BEGIN PRIVATE KEY-----\n${SECRET}`,
};

describe('the scrubber of bug reports', () => {
  const scrubber = new Scrubber([]);

  for (const [name, line] of Object.entries(lines)) {
    it(`takes the secret out of ${name}`, () => {
      const clean = scrubber.text(line);
      assert.ok(!clean.includes(SECRET), clean);
      assert.ok(clean.includes('***'), clean);
    });
  }

  it('takes out tokens of a known form', () => {
    for (const token of [
      JWT,
      `ghp_${'a1'.repeat(18)}`,
      `glpat-${'a1'.repeat(10)}`,
      `AKIA${'A1'.repeat(8)}`,
    ]) {
      assert.equal(scrubber.text(`it said ${token}.`).includes(token), false, token);
    }
  });

  it('takes a known secret out in each form that a log may have it in', () => {
    const known = new Scrubber(['p@ss "word"', 'ada:p@ss "word"']);
    const forms = [
      'p@ss "word"',
      encodeURIComponent('p@ss "word"'),
      JSON.stringify('p@ss "word"'),
      btoa('ada:p@ss "word"'),
    ];
    for (const form of forms) {
      const clean = known.text(`x ${form} y`);
      assert.ok(!clean.includes(form.replaceAll(/^"|"$/g, '')), clean);
    }
  });

  it('leaves what helps', () => {
    for (const line of [
      '{"level":"info","msg":"blob not pulled","err":{"code":"upstream_unauthorized"}}',
      'GET https://registry.example:5000/v2/team/app/blobs/sha256:00aa?ns=docker.io 404',
      'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"',
      'weir_upstream_requests_total{registry="docker.io",kind="token",code="401"} 3',
      '/ip4/10.0.0.7/tcp/4772/p2p/12D3KooWAbCdEf',
      'docker.io/library/alpine@sha256:00aa',
      '/etc/weir/cluster.key holds a secret and is open to other users',
    ]) {
      assert.equal(scrubber.text(line), line);
    }
  });

  it('keeps JSON what it is, and blanks fields by their names', () => {
    const value = {
      a: [1, null, true, { token: SECRET, count: 3 }],
      password: SECRET,
      text: `Bearer ${SECRET}`,
    };
    assert.deepEqual(scrubber.json(value), {
      a: [1, null, true, { token: '***', count: 3 }],
      password: '***',
      text: 'Bearer ***',
    });
  });

  it('lets no known secret pass, whatever stands around it', () => {
    const secret = string({ minLength: 6, maxLength: 40 }).filter(
      (text) => text.trim() !== '' && !text.includes('*'),
    );
    check(
      property(secret, string(), string(), (known, before, after) => {
        pre(!'***'.includes(known) && !`${before}${after}`.includes(known));
        const clean = new Scrubber([known]).text(before + known + after);
        assert.ok(!clean.includes(known));
      }),
    );
  });

  it('takes no longer for text that is made to be hard', () => {
    const hard = [
      '://a:'.repeat(20_000),
      'authorization:"\\'.repeat(10_000),
      '-----BEGIN PRIVATE KEY-----'.repeat(5000),
      'a-'.repeat(50_000),
      'eyJaaaaaaaa.'.repeat(10_000),
    ];
    for (const text of hard) {
      const start = performance.now();
      scrubber.text(text);
      const took = performance.now() - start;
      assert.ok(took < 2000, `${text.slice(0, 30)}: ${took} ms`);
    }
  });
});
