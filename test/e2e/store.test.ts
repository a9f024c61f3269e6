/** `weir store` against a real node that has pulled a real image. */
import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import { digestHex } from '../../src/oci/digest.ts';
import type { FreedReport, PinReport, StoreListing } from '../../src/status/store-report.ts';
import { request } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { shared } from '../support/fixture.ts';
import { buildImage, type TestImage } from '../support/images.ts';
import { run, type Result } from '../support/program.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';
import { WEIR, WeirNode } from '../support/weir.ts';

const LAYERS = [3_000_000, 2_000_000];
/** Both images and something more; a half of it is more than one image. */
const QUOTA = '16MiB';

requires('docker-registry')('weir store', () => {
  const lab = shared(async (stack) => {
    const registry = stack.use(await Registry.start());
    const images: TestImage[] = [];
    for (const name of ['kept', 'other', 'third', 'fourth']) {
      const image = await buildImage({ seed: `store-${name}`, layers: LAYERS });
      await push(registry.url, `store/${name}`, 'v1', image);
      images.push(image);
    }
    const temp = stack.use(await TempDir.create('store'));
    const token = temp.join('admin.token');
    await writeFile(token, `${'a1b2c3d4'.repeat(6)}\n`);
    await chmod(token, 0o600);
    return { registry, images, token };
  });

  const start = (): Promise<WeirNode> =>
    WeirNode.start({
      settings: { 'cluster.mode': 'off', 'store.quota': QUOTA, 'admin.token-file': lab().token },
    });

  const weirStore = (weir: WeirNode, ...args: readonly string[]): Promise<Result> =>
    run(WEIR, ['store', ...args, '--admin', new URL(weir.adminUrl).host], {
      env: { WEIR_CONFIG: '/dev/null', WEIR_ADMIN_TOKEN_FILE: lab().token },
    });

  const json = async <T>(weir: WeirNode, ...args: readonly string[]): Promise<T> => {
    const { code, stdout, stderr } = await weirStore(weir, ...args, '--json');
    assert.deepEqual([code, stderr], [0, '']);
    return JSON.parse(stdout) as T;
  };

  /** Pulls the image by its tag; resolves when all of it is in the store. */
  const pull = async (weir: WeirNode, name: string, image: TestImage): Promise<void> => {
    const get = async (path: string): Promise<void> => {
      const answer = await request(weir.urlOf(lab().registry.host, `store/${name}/${path}`));
      assert.equal(answer.status, 200, path);
    };
    await get('manifests/v1');
    for (const { digest } of image.blobs) await get(`blobs/${digest}`);
    const digests = [image.digest, ...image.blobs.map(({ digest }) => digest)];
    await eventually(async () => {
      const { blobs } = await json<StoreListing>(weir, 'ls');
      assert.ok(digests.every((digest) => blobs.some((blob) => blob.digest === digest)));
    });
  };

  const names = ['kept', 'other', 'third', 'fourth'] as const;

  it('lists what was pulled, for people and as JSON', async () => {
    await using weir = await start();
    const [image = assert.fail()] = lab().images;
    await pull(weir, 'kept', image);
    const { blobs, store } = await json<StoreListing>(weir, 'ls', '--sort', 'size');
    assert.deepEqual(
      blobs.map(({ digest }) => digest).toSorted(),
      [image.digest, ...image.blobs.map(({ digest }) => digest)].toSorted(),
    );
    const sizes = blobs.map(({ size }) => size);
    assert.deepEqual(
      sizes,
      sizes.toSorted((a, b) => b - a),
    );
    assert.deepEqual([store.blobs, store.pins, store.state], [blobs.length, 0, 'normal']);
    const from = `${lab().registry.host}/store/kept`;
    for (const { digest, kind, repositories, verified, pinned, in_use: isInUse } of blobs) {
      assert.equal(kind, digest === image.digest ? 'manifest' : 'blob', digest);
      assert.deepEqual([repositories, pinned, isInUse], [[from], false, false]);
      assert.ok(verified !== undefined && Math.abs(Date.now() - Date.parse(verified)) < 60_000);
    }
    const { stdout } = await weirStore(weir, 'ls', '--limit', '1');
    assert.match(
      stdout,
      /^DIGEST +SIZE +LAST USE +STATE +VERIFIED +KIND +FROM\n[0-9a-f]{12} .*\nand \d more\n.* \/ 16\.0 MiB in/,
    );
    assert.match(stdout, new RegExp(`  ${from}\n`));
  });

  it('keeps a pinned image while others come and go, also after a restart', async () => {
    await using weir = await start();
    const { images, registry } = lab();
    const [kept = assert.fail()] = images;
    const reference = `${registry.host}/store/kept:v1`;
    await pull(weir, 'kept', kept);
    const all = [kept.digest, ...kept.blobs.map(({ digest }) => digest)];
    const pinned = await weirStore(weir, 'pin', reference);
    assert.match(
      pinned.stdout,
      new RegExp(`^pinned ${all.length} blobs; \\d\\.\\d MiB are pinned\n$`),
      pinned.stderr,
    );
    await weir.kill();
    await weir.restart();
    for (const index of [1, 2, 3]) await pull(weir, names[index] ?? '', images[index] ?? assert.fail());
    const listed = (await json<StoreListing>(weir, 'ls')).blobs;
    for (const digest of all)
      assert.equal(listed.find((blob) => blob.digest === digest)?.pinned, true, digest);
    const status = await weir.status();
    assert.equal(status.store.pins, all.length);
    assert.ok(status.store.pinned_bytes > 5_000_000);
    assert.equal((await weir.metrics()).sum('weir_store_pinned_bytes'), status.store.pinned_bytes);

    const tooMuch = await weirStore(weir, 'pin', `${registry.host}/store/fourth:v1`);
    assert.equal(tooMuch.code, 1);
    assert.match(
      tooMuch.stderr,
      /refuses: all pins together would take \d+ bytes, and may take 8388608: half of store\.quota/,
    );

    const collected = await json<FreedReport>(weir, 'gc', '--to', '0B');
    assert.ok(collected.removed >= 1);
    assert.equal(collected.store.blobs, all.length, 'the pinned ones are left');
    const text = await weirStore(weir, 'gc', '--unused', '0s');
    assert.match(text.stdout, /^removed 0 blobs, 0 B; the store holds 4\.\d MiB\n$/);

    const unpinned = await json<PinReport>(weir, 'unpin', reference);
    assert.deepEqual([...unpinned.digests].toSorted(), all.toSorted());
    assert.equal(unpinned.store.pins, 0);
    assert.equal((await json<FreedReport>(weir, 'gc', '--to', '0B')).removed, all.length);
  });

  it('removes one blob, by its digest or the start of it, and not while it is pinned', async () => {
    await using weir = await start();
    const [, image = assert.fail()] = lab().images;
    await pull(weir, 'other', image);
    const [layer = assert.fail(), config = assert.fail()] = image.blobs
      .toReversed()
      .map(({ digest }) => digest);
    const start12 = digestHex(layer).slice(0, 12);
    assert.match((await weirStore(weir, 'pin', start12)).stdout, new RegExp(`^pinned ${start12}; `));
    const refused = await weirStore(weir, 'rm', layer);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /is pinned: unpin it first, or force it/);
    assert.match((await weirStore(weir, 'rm', layer, '--force')).stdout, /^removed 1 blob, /);
    assert.match((await weirStore(weir, 'rm', layer)).stderr, /is not in the store/);
    assert.match((await weirStore(weir, 'unpin', layer)).stderr, /is not pinned/);
    assert.match(
      (await weirStore(weir, 'rm', start12)).stderr,
      /no blob in the store has a digest that begins with/,
    );
    assert.match((await weirStore(weir, 'rm', config)).stdout, /^removed 1 blob, /);
    await weir.logged(/"digest":"sha256:[0-9a-f]+","force":true,"msg":"blob removed by hand"/);
    await pull(weir, 'other', image); // fetched again
    for (const [args, problem] of [
      [
        ['pin', `${lab().registry.host}/store/nowhere:v1`],
        /this node knows no digest of .*\/store\/nowhere:v1: pull it first/,
      ],
      [['gc'], /give --to SIZE or --unused DURATION/],
      [['gc', '--to', '5G'], /--to: "5G" is ambiguous/],
      [['rm', 'UPPER'], /"UPPER" is no digest, nor 12 digits or more of one/],
      [['ls', '--limit', '0'], /--limit: allowed: a whole number/],
    ] as const) {
      const { code, stderr } = await weirStore(weir, ...args);
      assert.notEqual(code, 0);
      assert.match(stderr, problem);
    }
  });

  it('is changed only with the token, whose absence the node explains', async () => {
    await using weir = await start();
    const digest = lab().images[0]?.digest ?? assert.fail();
    const env = { WEIR_CONFIG: '/dev/null' };
    const args = ['store', 'rm', digest, '--admin', new URL(weir.adminUrl).host];
    const without = await run(WEIR, args, { env });
    assert.equal(without.code, 1);
    assert.match(without.stderr, /refuses: changes of the store need the token of admin\.token-file/);
    const withOption = await run(WEIR, [...args, '--token-file', lab().token], { env });
    assert.match(withOption.stderr, /is not in the store/);
    await weir.restart({ settings: { 'admin.token-file': '' } });
    const refused = await weirStore(weir, 'rm', digest);
    assert.match(
      refused.stderr,
      /refuses: changes of the store need a token: set admin\.token-file to a file that holds one/,
    );
  });
});
