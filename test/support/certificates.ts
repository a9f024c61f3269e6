/** A certificate authority of the test's own, made by openssl. */
import { writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { runOk } from './program.ts';
import type { TempDir } from './temp.ts';

export interface Certificate {
  /** Paths of PEM files. */
  readonly cert: string;
  readonly key: string;
}

export class CertificateAuthority {
  /** Path of the CA's certificate. */
  readonly file: string;
  readonly #key: string;
  readonly #dir: TempDir;

  private constructor(dir: TempDir, file: string, key: string) {
    this.#dir = dir;
    this.file = file;
    this.#key = key;
  }

  /** Makes the authority's files in `dir`, which must outlive it. */
  static async create(dir: TempDir): Promise<CertificateAuthority> {
    const [file, key] = [dir.join('ca.pem'), dir.join('ca.key')];
    await openssl(
      ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
      ['-subj', '/CN=Weir test CA', '-keyout', key, '-out', file],
      ['-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign'],
    );
    return new CertificateAuthority(dir, file, key);
  }

  /** A certificate for these DNS names and addresses, for a server or a client. */
  async issue(...names: readonly [string, ...string[]]): Promise<Certificate> {
    const stem = this.#dir.join(`server-${names[0].replaceAll(/[^a-z0-9.]/gi, '_')}`);
    const [cert, key, request, extensions] = [`${stem}.pem`, `${stem}.key`, `${stem}.csr`, `${stem}.ext`];
    const alternatives = names.map((name) => `${isIP(name) === 0 ? 'DNS' : 'IP'}:${name}`).join(',');
    await writeFile(extensions, `subjectAltName=${alternatives}\nextendedKeyUsage=serverAuth,clientAuth\n`);
    await openssl(
      ['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ['-subj', `/CN=${names[0]}`, '-keyout', key, '-out', request],
    );
    await openssl(
      ['x509', '-req', '-days', '2', '-in', request, '-CA', this.file, '-CAkey', this.#key],
      ['-CAcreateserial', '-extfile', extensions, '-out', cert],
    );
    return { cert, key };
  }
}

/** Arguments come in groups of those that belong together. */
async function openssl(...groups: readonly (readonly string[])[]): Promise<void> {
  await runOk('openssl', groups.flat());
}
