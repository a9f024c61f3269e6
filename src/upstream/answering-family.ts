/**
 * Remembers by which version of IP a host has answered, so that its next connection tries that one first (RFC 8305,
 * section 4). If one version does not get through, each new connection would wait for it in vain.
 */
import type { LookupAddress } from 'node:dns';
import type { Socket } from 'node:net';
import { LRUCache } from 'lru-cache';
import { MINUTE } from '../util/clock.ts';
import type { Lookup } from './guarded-lookup.ts';
import type { buildConnector } from './undici.ts';

/** Hosts that are remembered; callers name them. */
const MAX_HOSTS = 256;
/** Milliseconds until the order of the resolver holds again: a network may have been mended, or have become quicker. */
const REMEMBERED_FOR = 10 * MINUTE;

export class AnsweringFamily {
  readonly #families = new LRUCache<string, number>({ max: MAX_HOSTS, ttl: REMEMBERED_FOR });

  /** The same connections; where they lead is remembered. */
  remembering(connect: buildConnector.connector): buildConnector.connector {
    return (target, callback) => {
      connect(target, (error, socket) => {
        if (error !== null) {
          callback(error, null);
          return;
        }
        this.#answered(target.hostname, socket);
        callback(null, socket);
      });
    };
  }

  /** The same addresses; those of the version that has answered come first. */
  preferring(lookup: Lookup): Lookup {
    return (hostname, options, callback) => {
      lookup(hostname, options, (error, found, family) => {
        const preferred = this.#families.get(hostname);
        if (error !== null || typeof found === 'string' || preferred === undefined) {
          callback(error, found, family);
          return;
        }
        const rank = (address: LookupAddress): number => (address.family === preferred ? 0 : 1);
        callback(
          null,
          found.toSorted((a, b) => rank(a) - rank(b)),
        );
      });
    };
  }

  #answered(hostname: string, { remoteFamily }: Socket): void {
    if (remoteFamily === 'IPv4') this.#families.set(hostname, 4);
    else if (remoteFamily === 'IPv6') this.#families.set(hostname, 6);
  }
}
