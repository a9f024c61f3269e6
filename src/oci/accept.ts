/** The Accept header of a manifest request (RFC 9110, section 12.5.1), as far as registries look at it. */

/**
 * The media types, in lower case, sorted, each once, without parameters. Sorted because their order says nothing,
 * and Docker sends them in another order each time.
 */
export function acceptedTypes(header: string | undefined): readonly string[] {
  const types = (header ?? '').split(',').map((part) => (part.split(';', 1)[0] ?? '').trim().toLowerCase());
  return [...new Set(types)].filter((type) => type !== '').toSorted();
}

/** Whether a client that sends `types` takes a manifest of this media type; no Accept header takes all. */
export function isAccepted(types: readonly string[], mediaType: string): boolean {
  const wanted = mediaType.toLowerCase();
  return (
    types.length === 0 || types.some((type) => type === wanted || type === '*/*' || type === 'application/*')
  );
}
