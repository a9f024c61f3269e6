/** Builds a node's part in imports: what it has imported, the rule about it, and the way to it for other members. */
import type { Clock } from '../util/clock.ts';
import type { Config } from '../config/settings.ts';
import type { RegistryHost } from '../oci/repository.ts';
import { ARCHIVE, Importer } from '../pull/importer.ts';
import { announcedAs, Imports, type ImportMembers } from '../pull/imports.ts';
import type { DataFolder } from '../store/data-folder.ts';
import { ImportRecords, nameOf, type ImportRecord } from '../store/import-records.ts';
import type { Store } from '../store/store.ts';
import { formatImageReference } from '../oci/reference.ts';
import type { Announcements } from './announcements.ts';
import type { Logger } from './logger.ts';

export interface NodeImportsOptions {
  readonly config: Config;
  readonly folder: DataFolder;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class NodeImports {
  readonly records: ImportRecords;
  /** Undefined if `access.trust-imported` is `no`. */
  readonly imports: Imports | undefined;
  readonly #options: NodeImportsOptions;
  #members: ImportMembers | undefined;
  #announcements: Announcements | undefined;

  private constructor(options: NodeImportsOptions, records: ImportRecords) {
    const { config, clock } = options;
    this.#options = options;
    this.records = records;
    if (config['access.trust-imported'] === 'yes') {
      this.imports = new Imports({ records, clock, ttl: config['tags.ttl'], members: () => this.#members });
    }
  }

  /** @throws WeirError `store_unusable` */
  static async open(options: NodeImportsOptions): Promise<NodeImports> {
    const { folder, logger } = options;
    const records = await ImportRecords.open(folder.imports, (message) => logger.warn(message));
    const node = new NodeImports(options, records);
    const images = records.all.length;
    if (images > 0 && node.imports === undefined) {
      logger.warn(
        { images },
        'imported images are kept, and served to nobody: access.trust-imported is "no"',
      );
    }
    return node;
  }

  /** Whether a registry's blobs may take room as those of one that has delivered something. */
  isKnown(registry: RegistryHost): boolean {
    return registry === ARCHIVE || this.imports?.hasRegistry(registry) === true;
  }

  /** From here on other members are asked, and find what this node has. */
  connect(members: ImportMembers, announcements: Announcements): void {
    if (this.imports === undefined) return;
    this.#members = members;
    this.#announcements = announcements;
    this.#announce(this.records.all);
  }

  async importer(store: Store): Promise<Importer> {
    const { config, folder, clock, logger } = this.#options;
    for (const record of this.records.all) {
      const stored = await Promise.all(record.blobs.map(({ digest }) => store.stat(digest)));
      const missing = stored.filter((each) => each === undefined).length;
      if (missing > 0)
        logger.warn(
          { image: nameOf(record), missing },
          'blobs of an imported image are gone: import it again',
        );
    }
    return new Importer({
      isTrusted: config['access.trust-imported'] === 'yes',
      store,
      records: this.records,
      folder,
      clock,
      imported: (records) => {
        this.#announce(records);
        for (const record of records) {
          logger.info({ image: nameOf(record), digest: record.digest }, 'image imported');
        }
      },
      removed: (record) => {
        const kept = new Set(this.records.all.flatMap(keysOf));
        for (const key of keysOf(record)) if (!kept.has(key)) this.#announcements?.remove(key);
        logger.info({ image: nameOf(record), digest: record.digest }, 'import removed');
      },
    });
  }

  #announce(records: readonly ImportRecord[]): void {
    for (const key of records.flatMap(keysOf)) this.#announcements?.addSoon(key);
  }
}

/** An image is asked for by its tag, and by its digest. */
function keysOf({ repository, tag, digest }: ImportRecord): readonly ReturnType<typeof announcedAs>[] {
  return [
    announcedAs(nameOf({ repository, tag })),
    announcedAs(formatImageReference({ repository, reference: { kind: 'digest', digest } })),
  ];
}
