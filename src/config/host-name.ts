/** Names of this machine as operators write them, for servers that are reached by a name. */
import { isIP } from 'node:net';

const NAME = /^[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_.])?$/i;
const BRACKETS = /^\[(.*)\]$/;

/** @returns the name, or the address without brackets @throws what is wrong with it */
export function readHostName(text: string): string {
  const host = text.replace(BRACKETS, '$1');
  if (isIP(host) !== 0) return host;
  if (/:\d+$/.test(text)) throw new Error('has a port; write it without, as any port will do');
  if (!NAME.test(text)) throw new Error('is no name and no IP address');
  return text;
}
