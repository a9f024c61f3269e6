/** The space of registry behaviours: of each dimension the first value is the plain one. */
import { SeededRandom } from '../simulator/random.ts';

export const DIMENSIONS = {
  client: ['podman', 'containerd'],
  manifestHead: ['200', '405', '404', '403', '400', '501', '500'],
  manifestType: ['one line', 'two equal lines', 'a second, other line', 'with charset'],
  digestHeader: ['one line', 'none', 'two equal lines'],
  manifestFraming: ['length', 'chunked', 'close', 'two lengths', 'length and chunked'],
  blobFraming: ['length', 'chunked', 'close', 'two lengths', 'length and chunked'],
  encoding: ['none', 'identity', 'identity twice', 'aws-chunked', 'gzip named', 'gzip'],
  extraHeaders: ['none', '150 lines', '70 KiB'],
  lineEnd: ['CRLF', 'LF'],
  token: ['none', 'token', 'access_token', 'null expires_in'],
  redirect: ['none', '301', '302', '303', '307', '308', 'relative', 'nine', 'two equal lines'],
  cut: ['none', 'first at half', 'first at 0', 'each at 60 %'],
  range: ['206', '200', '416', '400', '501', 'wrong Content-Range'],
  delay: ['none', 'blob begins after 1 s', 'blob begins after 7 s', 'blob stands still for 7 s'],
  layer: ['300 KiB', '1 KiB', '5 MiB'],
} as const;

export type Dimension = keyof typeof DIMENSIONS;
export type Behaviour = { readonly [D in Dimension]: (typeof DIMENSIONS)[D][number] };

const NAMES = Object.keys(DIMENSIONS) as readonly Dimension[];
/** Chance that a dimension is odd: about three of them at a time, so that they meet. */
const ODD = 0.2;

export function behaviourOf(seed: number): Behaviour {
  const random = new SeededRandom(seed);
  const chosen = NAMES.map((name) => {
    const values = DIMENSIONS[name];
    const isOdd = random.next() < ODD;
    const at = 1 + Math.floor(random.next() * (values.length - 1));
    return [name, values[isOdd ? at : 0]];
  });
  return Object.fromEntries(chosen) as Behaviour;
}

/** The same with each odd dimension made plain, one at a time. */
export function simpler(behaviour: Behaviour): readonly Behaviour[] {
  const odd = NAMES.filter((name) => behaviour[name] !== DIMENSIONS[name][0]);
  return odd.map((name) => Object.assign({}, behaviour, { [name]: DIMENSIONS[name][0] }));
}

/** The odd dimensions, on one line. */
export function describeBehaviour(behaviour: Behaviour): string {
  const odd = NAMES.filter((name) => behaviour[name] !== DIMENSIONS[name][0]);
  return odd.map((name) => `${name}: ${behaviour[name]}`).join('; ') || 'plain';
}
