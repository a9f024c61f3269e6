/** Reads what a file of a runtime holds, whatever that is. */

export type Values = Readonly<Record<string, unknown>>;

/** The keys of a mapping; none of anything else. */
export function valuesOf(value: unknown): Values {
  return isMapping(value) ? value : {};
}

export function isMapping(value: unknown): value is Values {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
