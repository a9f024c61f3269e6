/** Builds the node's part in preheating: the orders that are given here, and those of other members that it carries out. */
import { readFile } from 'node:fs/promises';
import type { Clock } from '../util/clock.ts';
import type { Config } from '../config/settings.ts';
import { errorMessage, WeirError } from '../util/errors.ts';
import { formatImageReference } from '../oci/reference.ts';
import { Identity } from '../protocol/identity.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { ImagePull, type ImagePullOptions } from '../preheat/image-pull.ts';
import { PreheatMember } from '../preheat/preheat-member.ts';
import { PreheatOrders } from '../preheat/preheat-orders.ts';
import type { MirrorOptions } from '../mirror/mirror.ts';
import type { LastUse } from '../store/last-use.ts';
import { nodeName } from './cluster-settings.ts';
import type { Cluster } from './cluster.ts';
import type { Logger } from './logger.ts';
import type { Metrics } from './metrics.ts';
import { PreheatRoutes } from './preheat-routes.ts';

/** Characters: `openssl rand -hex 32` gives 64. It can be tried over the network without end. */
const MIN_TOKEN = 32;
/** It goes in a header, and those of the admin address have 8 KiB. */
const MAX_TOKEN = 1024;
/** token68 (RFC 9110, section 11.2): what a Bearer token may be. */
const TOKEN = /^[A-Za-z0-9._~+/-]+=*$/;
/** Different characters, as for the cluster key. */
const MIN_CHARACTERS = 8;
const MAKE_TOKEN = 'make one with: (umask 077; openssl rand -hex 32 > preheat.token)';

type OpenBlob = MirrorOptions['openBlob'];

export interface PreheatOptions extends Omit<ImagePullOptions, 'clock'> {
  readonly config: Config;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly cluster: Pick<Cluster, 'table' | 'wire'> | undefined;
  readonly metrics: Pick<Metrics, 'preheated'>;
}

export interface Preheat extends AsyncDisposable {
  readonly routes: PreheatRoutes;
  /** Replies to another member. @throws WeirError `peer_protocol` */
  answer(from: PeerId, order: Uint8Array): Uint8Array;
}

/** @throws WeirError `config_invalid` */
export async function startPreheat(options: PreheatOptions): Promise<Preheat> {
  const { config, clock, logger, cluster } = options;
  const token = await readToken(config['preheat.token-file']);
  await using stack = new AsyncDisposableStack();
  const member = stack.use(
    new PreheatMember({
      token,
      images: new ImagePull(options),
      clock,
      onTaken: ({ id, images }, from) =>
        logger.info({ id, from, images: images.map(formatImageReference) }, 'preheat order taken'),
      onImage: (id, image, { state, reason }) => {
        options.metrics.preheated(state);
        const facts = { id, image: formatImageReference(image), state, ...(reason !== '' && { reason }) };
        if (state === 'failed' || state === 'no-room') logger.warn(facts, 'image not preheated');
        else logger.info(facts, 'image preheated');
      },
    }),
  );
  // A node without a cluster has no peer ID, and preheats itself alone.
  const alone = { peer: Identity.generate().peer, name: nodeName(config), zone: config['node.zone'] };
  const self = cluster?.table.self.peer ?? alone.peer;
  const orders = stack.use(
    new PreheatOrders({
      token,
      self,
      member,
      nodes: () =>
        cluster === undefined
          ? [alone]
          : cluster.table.live().map(({ peer, name, zone }) => ({ peer, name, zone })),
      ask: async (peer, order, asked) => {
        if (cluster === undefined) throw new WeirError('internal', 'an order for a member without a cluster');
        return await cluster.wire.order(peer, order, asked);
      },
      clock,
      onOver: ({ id, state, chosen, done, skipped, failed }) =>
        logger.info({ id, state, chosen, done, skipped, failed }, 'preheat over'),
    }),
  );
  const routes = new PreheatRoutes({
    token,
    orders,
    clock,
    defaultRegistry: config['mirror.default-registry'],
    onOrdered: ({ id, images, chosen }) => logger.info({ id, images, chosen }, 'preheat ordered'),
  });
  const all = stack.move();
  return {
    routes,
    answer: (from, order) => member.answer(from, self, order),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** The same, for runtimes: what they have read is kept no longer. */
export function noting(lastUse: Pick<LastUse, 'used'>, open: OpenBlob): OpenBlob {
  return async (request) => {
    const reader = await open(request);
    lastUse.used(request.digest);
    return reader;
  };
}

async function readToken(path: string): Promise<Uint8Array | undefined> {
  if (path === '') return undefined;
  let token: string;
  try {
    token = (await readFile(path, 'latin1')).trim();
  } catch (cause) {
    throw new WeirError('config_invalid', `cannot read the preheat token: ${errorMessage(cause)}`, { cause });
  }
  const weakness = weaknessOf(token);
  if (weakness === undefined) return new Uint8Array(Buffer.from(token, 'latin1'));
  throw new WeirError('config_invalid', `the preheat token in ${path} ${weakness}; ${MAKE_TOKEN}`);
}

/** Undefined for a good token. The text gives nothing of it away. */
function weaknessOf(token: string): string | undefined {
  if (token.length < MIN_TOKEN) return `could be guessed: it is shorter than ${MIN_TOKEN} characters`;
  if (token.length > MAX_TOKEN) return `is longer than ${MAX_TOKEN} characters`;
  if (!TOKEN.test(token)) return 'has other characters than letters, digits and ._~+/-';
  if (new Set(token).size >= MIN_CHARACTERS) return undefined;
  return `could be guessed: it has fewer than ${MIN_CHARACTERS} different characters`;
}
