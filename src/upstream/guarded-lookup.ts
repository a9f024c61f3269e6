/**
 * Resolves a name for a connection with limited reach. The checked address is the one that is connected to: a name
 * resolved once for the check and again for the connection could change in between.
 */
import type { LookupAddress } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { addressKind, addressRefused, isAllowed, type Reach } from './address-guard.ts';

/** The type of `dns.lookup`. */
export type Lookup = LookupFunction;

/** The addresses that `lookup` finds within `reach`. Fails with `address_refused` if there is none. */
export function guardedLookup(lookup: Lookup, origin: string, reach: Reach): Lookup {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, found, family) => {
      if (error !== null) {
        callback(error, '', 0);
        return;
      }
      const addresses: readonly LookupAddress[] =
        typeof found === 'string' ? [{ address: found, family: family ?? 0 }] : found;
      const allowed = addresses.filter(({ address }) => isAllowed(addressKind(address), reach));
      const [first] = allowed;
      const [refused] = addresses;
      if (first === undefined) {
        const address = refused?.address ?? '';
        callback(addressRefused(origin, addressKind(address), reach, address), '', 0);
      } else if (options.all === true) {
        callback(null, allowed);
      } else {
        callback(null, first.address, first.family);
      }
    });
  };
}
