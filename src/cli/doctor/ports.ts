/** Both ports of some members accept connections: a firewall that forgot one of them is the usual fault. */
import type { PeerReport } from '../../status/status-report.ts';
import { count, ok, skipped, wrong, type Check } from './check.ts';
import { placeOfMultiaddr, placeOfText, problemOf, type Place } from './tcp.ts';

/** A firewall treats all members alike, and each takes two connections. */
const MAX_MEMBERS = 3;

export const memberPorts: Check = {
  name: 'ports',
  run: async ({ facts, signal }) => {
    const answer = await facts.nodeIfAny();
    if (answer === undefined) return skipped('the node does not answer');
    const tried = answer.peers.peers.filter(({ leaving }) => !leaving).slice(0, MAX_MEMBERS);
    if (tried.length === 0) return skipped('no other member is known');
    const problems = (await Promise.all(tried.map((peer) => problemsOf(peer, signal)))).flat();
    if (problems.length === 0) return ok(`both ports of ${count(tried.length, 'member')} accept connections`);
    return wrong(
      problems.join('; '),
      'open the ports of cluster.listen (4772/tcp) and transfer.listen (4773/tcp) between the machines: firewalls, security ' +
        'groups, network policies',
    );
  },
};

async function problemsOf(peer: PeerReport, signal: AbortSignal): Promise<readonly string[]> {
  const ports = [
    ['control', peer.addresses.map(placeOfMultiaddr)],
    ['chunk', peer.transfer_addresses.map(placeOfText)],
  ] as const;
  const problems = await Promise.all(
    ports.map(async ([name, found]) => {
      const places = found.filter((place) => place !== undefined);
      const problem = await problemOf(places, signal);
      return problem === undefined ? [] : [`${peer.name}: ${name} port ${portsOf(places)}: ${problem}`];
    }),
  );
  return problems.flat();
}

function portsOf(places: readonly Place[]): string {
  return [...new Set(places.map(({ port }) => port))].join(', ');
}
