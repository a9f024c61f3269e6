/**
 * Takes credentials out of texts that leave the machine. What the configuration knows goes by its value, in each form in
 * which a log may have it; everything else by its place: headers, URLs, fields with a telling name, tokens of a known form.
 * Too much goes rather than too little. Pure.
 */
import { REDACTED } from '../../config/present.ts';

/** Characters. A shorter secret would blank half of a text; the places where one stands are blanked all the same. */
const MIN_SECRET = 4;

/** How the names of fields, headers and parameters end whose value is a secret. */
const SECRET_NAME =
  String.raw`(?:pass(?:word|wd|phrase)|secret|token|(?<![a-z0-9])(?:pass|auth|sig)|api[-_]?key|access[-_]?key(?:[-_]id)?|` +
  String.raw`(?:private|secret|cluster)[-_]?key|credential|signature)s?`;

/** Between a name and its value: in JSON, in JSON within JSON, in YAML, in a URL, as a header, with `,` as items of a list. */
const between = (separators: string): string =>
  String.raw`\\{0,8}["']?\s{0,8}[${separators}]\s{0,8}\[?\s{0,8}`;

/** To its own quotation mark; one within JSON that is itself in JSON is the next with as many backslashes before it. */
const QUOTED = String.raw`"(?:[^"\\\r\n]|\\.)*|'[^'\r\n]*|(\\{1,8})"[^\r\n]*?(?<!\\)\2"`;

/** Repetitions are bounded: a log may hold what strangers have written, in order to make this slow. */
const RULES: readonly (readonly [RegExp, string])[] = [
  [
    /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|$)/g,
    `-----BEGIN PRIVATE KEY----- ${REDACTED}`,
  ],
  // A header, of any scheme. If it is not in quotation marks, to the end of the line, as Digest has some within.
  [
    new RegExp(
      String.raw`(\b(?:authorization|(?:set-)?cookie)${between(':=,')})(?:${QUOTED}|[^\r\n]+)`,
      'gi',
    ),
    `$1${REDACTED}`,
  ],
  // A challenge is no credential, and tells much.
  [/\b(basic|bearer|negotiate)\s{1,8}(?!realm=)[A-Za-z0-9._~+/-]{4,}=*/gi, `$1 ${REDACTED}`],
  // User and password of a URL; the password may hold what does not belong into one, but is no port.
  [/(:\/\/)[^\s/?#"'<>:@\\]{1,256}:(?!\d{1,5}\/)[^\s"'<>]{1,1024}@/g, `$1${REDACTED}@`],
  [/(:\/\/)[^\s/?#"'<>\\]{1,1024}@/g, `$1${REDACTED}@`],
  [
    new RegExp(String.raw`(${SECRET_NAME}${between(':=')})(?:${QUOTED}|[^\s"'&,;)}\]\\]+)`, 'gi'),
    `$1${REDACTED}`,
  ],
  [/\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,4}/g, REDACTED],
  [
    /\b(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|gl[a-z]{2,5}-[\w-]{16,}|dckr_[a-z]{3}_[\w-]{16,}|(?:AKIA|ASIA)[A-Z0-9]{16})/g,
    REDACTED,
  ],
];

/** The whole name of a field in JSON, or its last part. */
const SECRET_FIELD = new RegExp(`${SECRET_NAME}$|^(?:proxy-)?authorization$|cookie$`, 'i');

export class Scrubber {
  /** The longest first: a secret may be a part of another one. */
  readonly #known: readonly string[];

  /** @param secrets by their value */
  constructor(secrets: Iterable<string>) {
    const forms = [...secrets].filter((secret) => secret.length >= MIN_SECRET).flatMap(formsOf);
    this.#known = [...new Set(forms)].sort((a, b) => b.length - a.length);
  }

  text(text: string): string {
    let clean = text;
    for (const secret of this.#known) clean = clean.replaceAll(secret, REDACTED);
    for (const [pattern, by] of RULES) clean = clean.replace(pattern, by);
    return clean;
  }

  /** The same for each text in a JSON value, which stays one. */
  json(value: unknown): unknown {
    if (typeof value === 'string') return this.text(value);
    if (Array.isArray(value)) return value.map((each) => this.json(each));
    if (typeof value !== 'object' || value === null) return value;
    const entries = Object.entries(value).map(([name, each]): [string, unknown] => [
      this.text(name),
      SECRET_FIELD.test(name) && typeof each === 'string' ? REDACTED : this.json(each),
    ]);
    return Object.fromEntries(entries);
  }
}

/** As it is, in a URL, in JSON, and in base64 as Basic has it. */
function formsOf(secret: string): readonly string[] {
  const bytes = Buffer.from(secret);
  return [
    secret,
    encodeURIComponent(secret),
    JSON.stringify(secret).slice(1, -1),
    bytes.toString('base64'),
    bytes.toString('base64').replace(/=+$/, ''),
    bytes.toString('base64url'),
    bytes.toString('hex'),
  ].filter((form) => form.length >= MIN_SECRET);
}
