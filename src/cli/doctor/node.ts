/** The node answers at its admin address, serves, and knows others. */
import { networkInterfaces } from 'node:os';
import type { Config } from '../../config/settings.ts';
import { addressOf, hostPortOf } from '../../util/ip-address.ts';
import { errorMessage, isWeirError } from '../../util/errors.ts';
import { count, ok, warning, wrong, type Check, type DoctorContext, type Finding } from './check.ts';
import { rootCause } from './facts.ts';
import { placeOfMultiaddr, problemOf } from './tcp.ts';

const LOOK_AT_LOG = 'see its log: journalctl -u weir; on Kubernetes kubectl logs';

export const node: Check = {
  name: 'node',
  run: async (context) => {
    const { facts, version } = context;
    let answer;
    try {
      answer = await facts.node();
    } catch (error) {
      return silence(error);
    }
    const { ready, status } = answer;
    const who = `${status.name}, weir ${status.version}`;
    if (!ready) return wrong(`${who}: it answers, but does not serve: it starts or shuts down`, LOOK_AT_LOG);
    if (status.version !== version)
      return warning(`${who} runs, and this is weir ${version}`, 'restart the node: systemctl restart weir');
    return ok(`${who}: it serves`);
  },
};

function silence(error: unknown): Finding {
  const isSilent = isWeirError(error, 'upstream_unreachable');
  const cause = isSilent && error.cause !== undefined ? ` (${rootCause(error)})` : '';
  const cure = isSilent
    ? `start it with systemctl start weir, or name its admin address with --admin; ${LOOK_AT_LOG}`
    : 'name its admin address with --admin';
  return wrong(`${errorMessage(error)}${cause}`, cure);
}

export const members: Check = {
  name: 'members',
  run: async (context) => {
    const { facts, loaded } = context;
    const answer = await facts.nodeIfAny();
    if (answer === undefined) return { state: 'skipped', found: 'the node does not answer' };
    const { cluster } = answer.status;
    if (cluster.mode === 'off') return { state: 'skipped', found: 'cluster.mode is off' };
    if (cluster.members > 1) {
      const { suspects } = answer.status;
      const found = `${count(cluster.members, 'member')}, ${count(cluster.connections, 'connection')}`;
      if (suspects.length === 0) return ok(found);
      const list = suspects.map(({ name, reason }) => `${name} (${reason})`).join(', ');
      return warning(`${found}; suspected: ${list}`, 'look at the machines and the network of those');
    }
    const others = (await facts.bootstrap())
      .flatMap(({ addresses }) => addresses)
      .filter((address) => !isOwn(address, loaded.config));
    if (others.length > 0) return alone(others, context);
    const names = loaded.config['cluster.bootstrap'];
    if (names.length === 0) return ok('this node alone; cluster.bootstrap names nobody');
    return warning(`this node alone: ${names.join(', ')} leads to nobody else`);
  },
};

/** Whether the others answer tells a wrong key from a closed port. */
async function alone(others: readonly string[], { signal }: DoctorContext): Promise<Finding> {
  const places = others.map(placeOfMultiaddr).filter((place) => place !== undefined);
  const problem = await problemOf(places, signal);
  const found = `this node alone, although cluster.bootstrap names ${count(others.length, 'other')}`;
  if (problem === undefined) {
    return wrong(
      `${found}, and a port answers there`,
      'the cluster key is probably another one: compare sha256sum of cluster.key-file on both machines, then restart ' +
        'the node whose key was wrong. See handshake in the log at log.level: debug',
    );
  }
  return wrong(
    `${found}; no port answers there (${problem})`,
    'start the node there, and open the ports of cluster.listen (4772/tcp) and transfer.listen (4773/tcp) between the machines',
  );
}

/** A name of all members has this node's own address, too. */
function isOwn(multiaddr: string, config: Config): boolean {
  const found = hostPortOf(multiaddr);
  if (found === undefined) return false;
  const own = Object.values(networkInterfaces()).flatMap((list = []) => list.map(({ address }) => address));
  const isHere = own.some((address) => addressOf(address) === addressOf(found.host));
  return isHere && config['cluster.listen'].some(({ port }) => port === Number(found.port));
}
