/**
 * The contract with runtimes, rule by rule (docs/architecture.md, "What runtimes need"). The same rules are tried
 * with the runtimes themselves in test/e2e/misbehaviour.test.ts.
 */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { ServerResponse } from 'node:http';
import { MIB } from '../../../src/util/clock.ts';
import { isWeirError, WeirError } from '../../../src/util/errors.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { seededBytes } from '../../support/bytes.ts';
import { MirrorFixture, sendBytes } from '../../support/mirror-fixture.ts';

const LARGE = 40 * MIB;

/** The bytes of a body that arrive before it ends or breaks off. */
async function received(response: Response): Promise<{ bytes: Buffer; complete: boolean }> {
  const parts: Uint8Array[] = [];
  try {
    for await (const part of response.body ?? []) parts.push(part);
    return { bytes: Buffer.concat(parts), complete: true };
  } catch {
    return { bytes: Buffer.concat(parts), complete: false };
  }
}

/** Sends the first `count` bytes and no more. */
function sendAndStop(response: ServerResponse, bytes: Buffer, count: number, sent?: () => void): void {
  response.writeHead(200, { 'Content-Length': bytes.length });
  response.write(bytes.subarray(0, count), sent);
}

describe('Mirror: the contract with runtimes', () => {
  describe('1. never send unverified bytes', () => {
    it('holds back the end of a large blob until the whole digest is right', async () => {
      await using fixture = await MirrorFixture.start();
      const bytes = seededBytes(LARGE);
      const digest = fixture.registry.addBlob('a/b', bytes);
      const wrong = Buffer.from(bytes);
      wrong[LARGE - 1] = (wrong[LARGE - 1] ?? 0) ^ 1;
      fixture.registry.repository('a/b').blobs.set(digest, wrong);
      const { bytes: got, complete } = await received(await fixture.get(`a/b/blobs/${digest}`));
      assert.equal(complete, false);
      assert.ok(got.length < LARGE, `${got.length} bytes of ${LARGE}`);
      assert.equal(await fixture.store.stat(digest), undefined, 'never committed');
    });

    it('checks a small blob whole before its first byte', async () => {
      await using fixture = await MirrorFixture.start();
      const digest = digestOf(Buffer.from('right'));
      fixture.registry.repository('a/b').blobs.set(digest, Buffer.from('wrong'));
      const response = await fixture.get(`a/b/blobs/${digest}`);
      assert.equal(response.status, 404);
      assert.match(await response.text(), /digest_mismatch/);
      assert.equal(fixture.registry.count(/blobs/), 2, 'it was fetched once more');
    });

    it('serves the blob if only the first answer was wrong', async () => {
      await using fixture = await MirrorFixture.start();
      const bytes = seededBytes(1 * MIB);
      const digest = fixture.registry.addBlob('a/b', bytes);
      let first = true;
      fixture.registry.intercept = (request, response) => {
        if (!first) return false;
        first = false;
        sendBytes(request, response, seededBytes(1 * MIB, 'other'));
        return true;
      };
      const { bytes: got, complete } = await received(await fixture.get(`a/b/blobs/${digest}`));
      assert.ok(complete && got.equals(bytes));
    });
  });

  describe('2. never stall', () => {
    it('cuts cleanly when bytes stop, and answers 404 to the Range that follows', async () => {
      await using fixture = await MirrorFixture.start({ stallTimeout: 500 });
      const bytes = seededBytes(LARGE);
      const digest = fixture.registry.addBlob('a/b', bytes);
      fixture.registry.intercept = (request, response) => {
        if (request.headers.range === undefined) sendAndStop(response, bytes, 20 * MIB);
        return true;
      };
      const { bytes: got, complete } = await received(await fixture.get(`a/b/blobs/${digest}`));
      assert.equal(complete, false);
      assert.ok(got.length > 10 * MIB && got.equals(bytes.subarray(0, got.length)));
      const retry = await fixture.get(`a/b/blobs/${digest}`, { headers: { Range: `bytes=${got.length}-` } });
      assert.equal(retry.status, 404);
      assert.match(await retry.text(), /handed_over|upstream_/);
    });

    it('resumes when upstream cuts and comes back', async () => {
      await using fixture = await MirrorFixture.start();
      const bytes = seededBytes(LARGE);
      const digest = fixture.registry.addBlob('a/b', bytes);
      fixture.registry.intercept = (request, response) => {
        if (request.headers.range !== undefined) return false;
        sendAndStop(response, bytes, 11 * MIB + 17, () => response.socket?.end());
        return true;
      };
      const { bytes: got, complete } = await received(await fixture.get(`a/b/blobs/${digest}`));
      assert.ok(complete && got.equals(bytes));
      const resumed = fixture.registry.server.requests.filter(
        ({ headers }) => headers['range'] !== undefined,
      );
      assert.deepEqual(
        resumed.map(({ headers }) => headers['range']),
        [`bytes=${11 * MIB + 17}-`],
      );
    });
  });

  it('serves the next ranges after a client closed open-ended ones early, as containerd 2 does', async () => {
    await using fixture = await MirrorFixture.start();
    const bytes = seededBytes(LARGE);
    const digest = fixture.registry.addBlob('a/b', bytes);
    const { port } = new URL(fixture.url);
    const readSome = async (start: number): Promise<void> => {
      const socket = connect(Number(port), '127.0.0.1');
      const range = `Range: bytes=${start}-\r\n`;
      socket.write(
        `GET /v2/a/b/blobs/${digest}?ns=${fixture.registry.host} HTTP/1.1\r\nHost: localhost\r\n${range}\r\n`,
      );
      let status = '';
      let got = 0;
      for await (const part of socket as AsyncIterable<Buffer>) {
        status ||= part.subarray(0, 12).toString('latin1');
        got += part.length;
        if (got > 2 * MIB) break; // and the socket is destroyed
      }
      assert.equal(status, 'HTTP/1.1 206');
    };
    for (const start of [0, 4 * MIB, 8 * MIB, 0, 12 * MIB]) await readSome(start);
    await Promise.all([0, 16 * MIB, 20 * MIB, 24 * MIB].map(readSome));
    assert.ok(fixture.reports.every(({ error }) => error === undefined || isWeirError(error, 'aborted')));
  });

  describe('3. never cut a first response at byte 0', () => {
    it('answers 404 if upstream breaks off before the first byte', async () => {
      await using fixture = await MirrorFixture.start();
      const bytes = seededBytes(LARGE);
      const digest = fixture.registry.addBlob('a/b', bytes);
      fixture.registry.intercept = (request) => {
        request.socket.resetAndDestroy();
        return true;
      };
      assert.equal((await fixture.get(`a/b/blobs/${digest}`)).status, 404);
    });
  });

  describe('4. bound every wait before the first byte', () => {
    it('answers 404 in time if upstream does not answer', async () => {
      await using fixture = await MirrorFixture.start({ mirror: { firstByteTimeout: 300 } });
      const { manifest } = fixture.registry.addImage('a/b', 'v1', Buffer.from('layer'));
      fixture.registry.intercept = () => true;
      for (const [path, expected] of [
        ['a/b/manifests/v1', 404],
        [`a/b/manifests/${manifest}`, 404],
        [`a/b/blobs/${manifest}`, 404],
        // Who lists does not go on to the registry, and would take 404 for "there are none".
        ['a/b/tags/list', 502],
        [`a/b/referrers/${manifest}`, 502],
      ] as const) {
        const began = performance.now();
        const { status } = await fixture.get(path);
        assert.equal(status, expected, path);
        assert.ok(performance.now() - began < 1500, path);
      }
    });

    it('answers 404 for a name that no manifest can have, and relays that a registry has no referrers', async () => {
      await using fixture = await MirrorFixture.start();
      for (const method of ['GET', 'HEAD']) {
        assert.equal((await fixture.get('a/b/manifests/.INVALID_NAME', { method })).status, 404);
      }
      fixture.registry.intercept = (_request, response) => {
        response.writeHead(404, { 'Content-Type': 'application/json' }).end('{"errors":[]}');
        return true;
      };
      const digest = digestOf(Buffer.from('subject'));
      assert.equal((await fixture.get(`a/b/referrers/${digest}`)).status, 404);
    });

    it('waits less for a registry after a manifest or two blobs were waited for in vain', async () => {
      await using fixture = await MirrorFixture.start({ mirror: { firstByteTimeout: 1200 } });
      fixture.registry.addImage('a/b', 'v1', Buffer.from('layer'));
      fixture.registry.intercept = () => true;
      const [one, other] = ['one', 'other'].map((text) => digestOf(Buffer.from(text)));
      const took: number[] = [];
      for (const path of [`blobs/${one}`, `blobs/${one}`, `blobs/${other}`, 'manifests/v1']) {
        const began = performance.now();
        assert.equal((await fixture.get(`a/b/${path}`)).status, 404);
        took.push(performance.now() - began);
      }
      const [first = 0, again = 0, , third = 0] = took;
      assert.ok(again > 1000 && third < first / 2, `${took.join(' ms, then ')} ms`);
      await using second = await MirrorFixture.start({ mirror: { firstByteTimeout: 1200 } });
      second.registry.intercept = () => true;
      await second.get('a/b/manifests/v1');
      const began = performance.now();
      await second.get('a/b/manifests/v2');
      assert.ok(performance.now() - began < 1000);
    });

    it('serves ranges far ahead of what has come, as containerd 2.1 asks for them side by side', async () => {
      await using fixture = await MirrorFixture.start({ mirror: { firstByteTimeout: 400 } });
      const bytes = seededBytes(36 * MIB, 'ranges');
      const { layer } = fixture.registry.addImage('a/b', 'v1', bytes);
      fixture.registry.intercept = (request, response) => {
        if (request.url?.includes(layer) !== true || request.method === 'HEAD') return false;
        response.writeHead(200, { 'Content-Length': bytes.length });
        void (async () => {
          for (let at = 0; at < bytes.length; at += 2 * MIB) {
            response.write(bytes.subarray(at, at + 2 * MIB));
            await delay(100);
          }
          response.end();
        })();
        return true;
      };
      const parts = Array.from({ length: 9 }, (_, index) => index * 4 * MIB);
      const answers = await Promise.all(
        parts.map(async (start) => {
          const headers = { range: `bytes=${start}-${start + 4 * MIB - 1}` };
          const answer = await fixture.get(`a/b/blobs/${layer}`, { headers });
          return [answer.status, Buffer.from(await answer.arrayBuffer())] as const;
        }),
      );
      for (const [status, part] of answers) assert.equal(status, 206, part.subarray(0, 300).toString());
      assert.ok(Buffer.concat(answers.map(([, part]) => part)).equals(bytes));
    });

    for (const status of [403, 404, 429, 500, 503]) {
      it(`never answers 429 or 401 of its own: upstream's ${status}`, async () => {
        await using fixture = await MirrorFixture.start({ retries: 0 });
        fixture.registry.intercept = (_request, response) => {
          response.writeHead(status).end();
          return true;
        };
        for (const path of ['a/b/manifests/v1', `a/b/blobs/${digestOf(Buffer.from('x'))}`]) {
          assert.equal((await fixture.get(path)).status, status === 403 ? 403 : 404, path);
        }
      });
    }

    it("relays upstream's 401 with its challenge, and accepts the credential that follows", async () => {
      await using fixture = await MirrorFixture.start();
      const { manifest } = fixture.registry.addImage('p/q', 'v1', Buffer.from('layer'));
      const authorization = `Basic ${Buffer.from('user:secret').toString('base64')}`;
      fixture.registry.repository('p/q').authorization = authorization;
      for (const path of ['p/q/manifests/v1', `p/q/manifests/${manifest}`, `p/q/blobs/${manifest}`]) {
        const refused = await fixture.get(path);
        assert.equal(refused.status, 401);
        assert.equal(refused.headers.get('www-authenticate'), 'Basic realm="test"');
        const taken = await fixture.get(path, { headers: { authorization } });
        assert.equal(taken.status, 200, path);
        await taken.arrayBuffer();
      }
    });
  });

  describe('5. deliver everything that a manifest was served for', () => {
    it('waits longer for clients with the registry in the path, which cannot go upstream for a blob', async () => {
      await using fixture = await MirrorFixture.start({
        mirror: { firstByteTimeout: 100, patientTimeout: 5000 },
      });
      const bytes = seededBytes(100_000);
      const digest = fixture.registry.addBlob('a/b', bytes);
      const late = Promise.withResolvers<void>();
      fixture.registry.intercept = (request, response) => {
        void late.promise.then(() => sendBytes(request, response, bytes));
        return true;
      };
      const asked = fetch(`${fixture.url}/v2/${fixture.registry.host}/a/b/blobs/${digest}`);
      // The registry answers when others have been sent there.
      assert.equal((await fixture.get(`a/b/blobs/${digest}`)).status, 404);
      late.resolve();
      const patient = await asked;
      assert.equal(patient.status, 200);
      assert.ok(Buffer.from(await patient.arrayBuffer()).equals(bytes));
    });

    it('serves the Range that follows a cut to clients that cannot go upstream for it', async () => {
      await using fixture = await MirrorFixture.start({ stallTimeout: 2000 });
      const bytes = seededBytes(LARGE);
      const digest = fixture.registry.addBlob('a/b', bytes);
      const held: (() => void)[] = [];
      let isStill = true;
      fixture.registry.intercept = (request, response) => {
        if (!isStill) return false;
        if (request.headers.range === undefined) sendAndStop(response, bytes, 20 * MIB);
        else held.push(() => sendBytes(request, response, bytes));
        return true;
      };
      const path = `${fixture.url}/v2/${fixture.registry.host}/a/b/blobs/${digest}`;
      const { bytes: got, complete } = await received(await fetch(path));
      assert.equal(complete, false);
      isStill = false;
      for (const answer of held) answer();
      const rest = await fetch(path, { headers: { Range: `bytes=${got.length}-` } });
      assert.equal(rest.status, 206);
      assert.ok(Buffer.concat([got, Buffer.from(await rest.arrayBuffer())]).equals(bytes));
    });

    it('serves a blob that the store cannot keep, as on a disk that has become read-only', async () => {
      await using fixture = await MirrorFixture.start();
      await rm(`${fixture.folder}/partial`, { recursive: true });
      const bytes = seededBytes(MIB);
      const digest = fixture.registry.addBlob('a/b', bytes);
      for (let turn = 0; turn < 2; turn++) {
        const { bytes: got, complete } = await received(await fixture.get(`a/b/blobs/${digest}`));
        assert.ok(complete && got.equals(bytes));
      }
    });

    it('serves a blob that is larger than the quota, and keeps it for the others who pull it', async () => {
      await using fixture = await MirrorFixture.start({ quota: 2 * MIB });
      const bytes = seededBytes(LARGE);
      const digest = fixture.registry.addBlob('a/b', bytes);
      const { bytes: got, complete } = await received(await fixture.get(`a/b/blobs/${digest}`));
      assert.ok(complete && got.equals(bytes));
      assert.deepEqual(await fixture.store.stat(digest), { digest, size: LARGE });
    });

    it('goes on without storing if the disk fills up in mid-blob', async () => {
      let reserved = 0;
      await using fixture = await MirrorFixture.start({
        wrapStore: (store) =>
          new Proxy(store, {
            get: (target, name) => {
              if (name !== 'ingest')
                return Reflect.get(target, name, target)?.bind?.(target) ?? Reflect.get(target, name);
              return async (...parameters: Parameters<typeof store.ingest>) => {
                const ingest = await target.ingest(...parameters);
                const pour = ingest.pour.bind(ingest);
                ingest.pour = (start) => {
                  const made = pour(start);
                  const reserve = async (to: number): Promise<void> => {
                    reserved = Math.max(reserved, to);
                    if (to > 16 * MIB) throw new WeirError('store_full', 'no space left');
                    await made.reserve(to);
                  };
                  return { ...made, reserve };
                };
                return ingest;
              };
            },
          }),
      });
      const bytes = seededBytes(LARGE);
      const digest = fixture.registry.addBlob('a/b', bytes);
      const { bytes: got, complete } = await received(await fixture.get(`a/b/blobs/${digest}`));
      assert.ok(reserved > 16 * MIB, 'the disk did fill up');
      assert.ok(complete && got.equals(bytes));
    });
  });

  describe('6. read the registry from ns, else from the path, else docker.io', () => {
    it('prefers ns to the path', async () => {
      await using fixture = await MirrorFixture.start();
      const { bytes } = fixture.registry.addImage('a/b', 'v1', Buffer.from('layer'));
      for (const target of [
        `a/b/manifests/v1?ns=${fixture.registry.host}`,
        `${fixture.registry.host}/a/b/manifests/v1`,
      ]) {
        const response = await fetch(`${fixture.url}/v2/${target}`);
        assert.equal(response.status, 200, target);
        assert.ok(Buffer.from(await response.arrayBuffer()).equals(bytes));
      }
    });
  });

  describe('7. identity, Range, HEAD, headers', () => {
    it('answers HEAD and GET with digest, type, length and entity tag', async () => {
      await using fixture = await MirrorFixture.start();
      const { manifest, bytes, layer } = fixture.registry.addImage('a/b', 'v1', seededBytes(1000));
      for (const method of ['HEAD', 'GET', 'HEAD']) {
        const response = await fixture.get('a/b/manifests/v1', {
          method,
          headers: { 'Accept-Encoding': 'gzip' },
        });
        assert.equal(response.status, 200);
        assert.equal(response.headers.get('docker-content-digest'), manifest);
        assert.equal(response.headers.get('etag'), `"${manifest}"`);
        assert.equal(response.headers.get('content-length'), String(bytes.length));
        assert.equal(response.headers.get('content-type'), 'application/vnd.oci.image.manifest.v1+json');
        assert.equal(response.headers.get('content-encoding'), null);
        await response.arrayBuffer();
        const blob = await fixture.get(`a/b/blobs/${layer}`, { method });
        assert.equal(blob.headers.get('content-length'), '1000');
        assert.equal(blob.headers.get('docker-content-digest'), layer);
        assert.equal((await blob.arrayBuffer()).byteLength, method === 'HEAD' ? 0 : 1000);
      }
    });

    it('honours Range on blobs, cold and warm', async () => {
      await using fixture = await MirrorFixture.start();
      const bytes = seededBytes(1000);
      const digest = fixture.registry.addBlob('a/b', bytes);
      const cases: readonly [string, number, Buffer, string | null][] = [
        ['bytes=10-19', 206, bytes.subarray(10, 20), 'bytes 10-19/1000'],
        ['bytes=0-', 206, bytes, 'bytes 0-999/1000'],
        ['bytes=990-', 206, bytes.subarray(990), 'bytes 990-999/1000'],
        ['bytes=990-5000', 206, bytes.subarray(990), 'bytes 990-999/1000'],
        ['bytes=-5', 206, bytes.subarray(995), 'bytes 995-999/1000'],
        ['bytes=0-1,5-6', 200, bytes, null],
        ['bytes=nonsense', 200, bytes, null],
        ['lines=1-2', 200, bytes, null],
      ];
      for (const [range, status, expected, contentRange] of [...cases, ...cases]) {
        const response = await fixture.get(`a/b/blobs/${digest}`, { headers: { Range: range } });
        assert.equal(response.status, status, range);
        assert.equal(response.headers.get('content-range'), contentRange, range);
        assert.ok(Buffer.from(await response.arrayBuffer()).equals(expected), range);
      }
      const behind = await fixture.get(`a/b/blobs/${digest}`, { headers: { Range: 'bytes=1000-' } });
      assert.equal(behind.status, 416);
      assert.equal(behind.headers.get('content-range'), 'bytes */1000');
    });

    it('honours Range only for the representation that If-Range names', async () => {
      await using fixture = await MirrorFixture.start();
      const digest = fixture.registry.addBlob('a/b', seededBytes(1000));
      for (const [validator, status] of [
        [`"${digest}"`, 206],
        [`W/"${digest}"`, 200],
        ['"other"', 200],
        ['Mon, 30 Nov 2026 12:00:00 GMT', 200],
      ] as const) {
        const headers = { Range: 'bytes=10-19', 'If-Range': validator };
        const response = await fixture.get(`a/b/blobs/${digest}`, { headers });
        assert.equal(response.status, status, validator);
        assert.equal((await response.arrayBuffer()).byteLength, status === 206 ? 10 : 1000, validator);
      }
    });

    it('answers If-None-Match with 304', async () => {
      await using fixture = await MirrorFixture.start();
      const { manifest, layer } = fixture.registry.addImage('a/b', 'v1', seededBytes(1000));
      for (const [path, digest] of [
        ['a/b/manifests/v1', manifest],
        [`a/b/blobs/${layer}`, layer],
      ] as const) {
        for (const tag of [`"${digest}"`, `W/"${digest}"`, `"other", "${digest}"`, '*']) {
          const response = await fixture.get(path, { headers: { 'If-None-Match': tag } });
          assert.equal(response.status, 304, `${path} ${tag}`);
        }
        const response = await fixture.get(path, { headers: { 'If-None-Match': '"other"' } });
        assert.equal(response.status, 200);
        await response.arrayBuffer();
      }
    });
  });

  it('a stalled reader does not stop the download of other readers', async () => {
    await using fixture = await MirrorFixture.start();
    const bytes = seededBytes(LARGE);
    const digest = fixture.registry.addBlob('a/b', bytes);
    const { port } = new URL(fixture.url);
    const stalled = connect(Number(port), '127.0.0.1');
    await once(stalled, 'connect');
    stalled.pause();
    stalled.write(
      `GET /v2/a/b/blobs/${digest}?ns=${fixture.registry.host} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
    );
    const { bytes: got, complete } = await received(await fixture.get(`a/b/blobs/${digest}`));
    assert.ok(complete && got.equals(bytes));
    assert.equal(fixture.registry.count(/blobs/), 1, 'upstream sent the blob once');
    stalled.destroy();
  });
});
