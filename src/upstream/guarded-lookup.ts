/**
 * The resolution of a name for a connection that may not go everywhere. What is connected to is what was checked: a
 * name that is resolved for the check and again for the connection may have changed in between.
 */
import type { LookupAddress } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { addressKind, addressRefused, isAllowed, type Reach } from './address-guard.ts';

/** What `dns.lookup` is. */
export type Lookup = LookupFunction;

/** Of what `lookup` finds, the addresses that are within `reach`. Fails with `address_refused` where none is. */
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
