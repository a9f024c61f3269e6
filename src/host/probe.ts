/** Whether something listens at a member's address: tells a member that was killed from one that hung up. */
import { connect } from 'node:net';

const ADDRESS = /^\/(?:ip4|ip6|dns|dns4|dns6)\/([^/]+)\/tcp\/([0-9]+)$/;

/** @param timeout milliseconds for each address @returns whether any address takes a TCP connection */
export async function isListening(addresses: readonly string[], timeout: number): Promise<boolean> {
  for (const address of addresses) {
    const [, host, port] = ADDRESS.exec(address) ?? [];
    if (host !== undefined && (await canConnect(host, Number(port), timeout))) return true;
  }
  return false;
}

function canConnect(host: string, port: number, timeout: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ host, port, timeout });
  const end = (isThere: boolean): void => {
    socket.destroy();
    resolve(isThere);
  };
  socket.once('connect', () => end(true));
  socket.once('timeout', () => end(false));
  socket.once('error', () => end(false));
  return promise;
}
