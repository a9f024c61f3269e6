/**
 * The scene of an attack: a real docker-registry behind a real token server, with a private and a public repository; a
 * registry of the attacker's, whose answers the test writes; real nodes of one cluster.
 */
import { KIB, MIB } from '../../src/util/clock.ts';
import { request, bearer, type Answer, type RequestOptions } from './client.ts';
import { HttpServer } from './http-server.ts';
import { buildImage, largestBlob, type TestBlob, type TestImage } from './images.ts';
import { push } from './push.ts';
import { Registry } from './registry.ts';
import { TokenServer } from './token-server.ts';
import { WeirCluster, type WeirClusterOptions } from './weir-cluster.ts';
import type { WeirNode, WeirOptions } from './weir.ts';

/** The programs that the scene starts, for `requires`. */
export const ATTACK_NEEDS = ['docker-registry', 'openssl'] as const;

export const PRIVATE = 'private/app';
export const PUBLIC = 'public/app';
/** The user that may read {@link PRIVATE}. */
export const VICTIM = { username: 'victim', password: 'the password of the victim' } as const;
/** Bytes: large enough that some go out before all have arrived. */
const PRIVATE_LAYER = 40 * MIB;

/** Number of bytes that suffice to tell whose they are. */
const LOOKED_AT = 4096;

export interface AttackSceneOptions extends WeirClusterOptions {
  /** Default 1. */
  readonly nodes?: number;
  /** Bytes of the private image's large layer. */
  readonly layer?: number;
  /** Tags of the private image; default: `v1`. */
  readonly tags?: readonly string[];
  /** Indexes of nodes on which the victim's credential is configured. */
  readonly configured?: readonly number[];
}

export class AttackScene implements AsyncDisposable {
  readonly registry: Registry;
  readonly tokens: TokenServer;
  /** The attacker's registry; answers 404 until a test sets its handler. */
  readonly evil: HttpServer;
  readonly image: TestImage;
  readonly openImage: TestImage;
  readonly cluster: WeirCluster;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    parts: Pick<AttackScene, 'registry' | 'tokens' | 'evil' | 'image' | 'openImage' | 'cluster'>,
    stack: AsyncDisposableStack,
  ) {
    this.registry = parts.registry;
    this.tokens = parts.tokens;
    this.evil = parts.evil;
    this.image = parts.image;
    this.openImage = parts.openImage;
    this.cluster = parts.cluster;
    this.#stack = stack;
  }

  static async start(options: AttackSceneOptions = {}): Promise<AttackScene> {
    const { nodes = 1, layer = PRIVATE_LAYER, configured = [], tags = ['v1'], ...rest } = options;
    await using stack = new AsyncDisposableStack();
    const pantry = stack.use(await Registry.start());
    const image = await buildImage({ seed: 'a private image', layers: [100 * KIB, layer] });
    const openImage = await buildImage({ seed: 'a public image', layers: [50 * KIB] });
    for (const tag of tags) await push(pantry.url, PRIVATE, tag, image);
    await push(pantry.url, PUBLIC, 'v1', openImage);
    const tokens = stack.use(
      await TokenServer.start({
        users: { [VICTIM.username]: VICTIM.password },
        allows: (user, repository) => repository === PUBLIC || user === VICTIM.username,
      }),
    );
    const { storage } = pantry;
    const registry = stack.use(await Registry.start({ storage, tokenAuth: tokens.auth }));
    const evil = stack.use(await HttpServer.start((_, response) => void response.writeHead(404).end()));
    // All is on one machine: the rule against members that lead to loopback must not spoil other attacks.
    const registries = [registry.host, evil.host];
    const node = (index: number): WeirOptions => {
      const given = rest.node?.(index) ?? {};
      const own = configured.includes(index) ? { [registry.host]: { ...VICTIM } } : {};
      return { ...given, registries: { [evil.host]: {}, [registry.host]: {}, ...own, ...given.registries } };
    };
    const cluster = stack.use(await WeirCluster.start(nodes, { registries, ...rest, node }));
    return new AttackScene({ registry, tokens, evil, image, openImage, cluster }, stack.move());
  }

  /** The node with this index. */
  node(index = 0): WeirNode {
    return this.cluster.node(index);
  }

  /** The private blob that an attacker wants. */
  get secret(): TestBlob {
    return largestBlob(this.image);
  }

  /** A Bearer token for the private repository, as the victim's runtime presents it. */
  token(): Promise<string> {
    return this.tokens.issue(VICTIM.username, `repository:${PRIVATE}:pull`);
  }

  /** The victim asks a mirror for something of the private repository, such as `blobs/sha256:…`. */
  async asVictim(path: string, node: WeirNode = this.node(), options: RequestOptions = {}): Promise<Answer> {
    const headers = { ...bearer(await this.token()), ...options.headers };
    return request(node.urlOf(this.registry.host, `${PRIVATE}/${path}`), { ...options, headers });
  }

  /** A caller without a credential asks a mirror for `path` in the name of the attacker's registry. */
  asAttacker(path: string, node: WeirNode = this.node(), options: RequestOptions = {}): Promise<Answer> {
    return request(node.urlOf(this.evil.host, path), options);
  }

  /** A caller without a credential asks a mirror for something of the private repository. */
  anonymous(path: string, node: WeirNode = this.node(), options: RequestOptions = {}): Promise<Answer> {
    return request(node.urlOf(this.registry.host, `${PRIVATE}/${path}`), options);
  }

  /** The victim pulls the whole private image through a node. */
  async victimPulls(node: WeirNode = this.node()): Promise<void> {
    const paths = ['manifests/v1', ...this.image.blobs.map(({ digest }) => `blobs/${digest}`)];
    for (const path of paths) {
      const { status, broken } = await this.asVictim(path, node);
      if (status !== 200 || broken !== undefined)
        throw new Error(`the victim's own pull of ${path} failed: ${status} ${broken}`);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

/** Whether these bytes begin with bytes of the blob. */
export function isBeginningOf({ bytes }: TestBlob, body: Buffer): boolean {
  const looked = Math.min(body.length, LOOKED_AT);
  return looked > 0 && body.subarray(0, looked).equals(bytes.subarray(0, looked));
}
