/**
 * Bounds of the network, each with the failure that it prevents. Times are in milliseconds; "Active" marks active
 * time (src/util/active-time.ts).
 */
import { HOUR, KIB, MINUTE, SECOND } from '../util/clock.ts';

/**
 * Connections to other members. Dialling on demand adds to the neighbours; above this the least used ones are closed.
 */
export const MAX_CONNECTIONS = 1024;
/**
 * Incoming handshakes in progress. With libp2p's 10, 50 nodes that started together waited 10 to 28 s for each other.
 */
export const MAX_PENDING_HANDSHAKES = 1024;
/**
 * The same for one place (an IPv4 address, a /64 of IPv6), so that one stranger cannot take all. It leaves room for
 * nodes behind one NAT, which share an address. An address in a member's record is a place of its own.
 */
export const MAX_PENDING_PER_PLACE = 128;
/** The same for all strangers together: the rest is kept for addresses in members' records. */
export const MAX_PENDING_STRANGERS: number = (MAX_PENDING_HANDSHAKES * 3) / 4;
/**
 * New connections from one address per second; libp2p's 5 refused nodes behind one NAT, and every test on loopback.
 */
export const MAX_NEW_CONNECTIONS_PER_SECOND = 256;
/**
 * Dials under way at one time. A dial takes 8 ms of CPU at both ends. If CPU is short, forty at once all exceed their
 * time limit, and are begun again.
 */
export const DIALS_AT_ONCE = 8;
/**
 * Dials of libp2p under way, including its own. Higher than {@link DIALS_AT_ONCE}, so that none of those waits there.
 */
export const MAX_PARALLEL_DIALS = 64;
/** Dials that may wait. */
export const MAX_DIAL_QUEUE = 2048;
/** Members are on the same network: a peer that takes longer counts as unreachable. Active. */
export const DIAL_TIMEOUT: number = 3 * SECOND;
/** For one of several addresses of a member. Active. */
export const ADDRESS_DIAL_TIMEOUT: number = 1.5 * SECOND;
/**
 * For the handshake after the other side has accepted the TCP connection: it is there, but may have little CPU.
 * Active.
 */
export const HANDSHAKE_TIMEOUT: number = 6 * SECOND;
/** For TCP and handshake together, also for libp2p's own dials. */
export const LONGEST_DIAL: number = 15 * SECOND;
/** A peer that connects and says nothing holds a socket for so long: as long as a dialler may wait. */
export const LONGEST_HANDSHAKE: number = LONGEST_DIAL;
/** The same for a stream whose protocol has not been negotiated. */
export const LONGEST_NEGOTIATION: number = 10 * SECOND;
/**
 * A connection that was silent for so long gets a ping from the side that dialled. The other side pings later, in
 * case the first one did not.
 */
export const SILENCE_DIALLER: number = 15 * SECOND;
export const SILENCE_DIALLED: number = 20 * SECOND;
/** If nothing comes within this after the ping, the connection is cut: the peer is frozen or cut off. */
export const ANSWER_TIMEOUT: number = 5 * SECOND;
/** Streams open on one connection; each may hold its window of 256 KiB unread. */
export const MAX_STREAMS_PER_CONNECTION = 256;

/** From opening a stream to its first frame; no healthy member is slower. Active. */
export const FIRST_FRAME_TIMEOUT: number = 3 * SECOND;
/** From a frame's first byte to its last. */
export const FRAME_TIMEOUT: number = 6 * SECOND;
/** Hellos at a time on one connection: one in each direction, and some reserve. */
export const MAX_HELLOS = 4;

/**
 * For a peer to say which protocols it speaks; and the time until it is asked again if there is still no gossip with
 * it.
 */
export const IDENTIFY_TIMEOUT: number = 5 * SECOND;
export const IDENTIFY_AGAIN: number = 30 * SECOND;
/** How many members nearest to a blob's key get its provider records, and are asked for them. */
export const PROVIDER_RECORDS = 10;
/** How many of them are dialled or asked at a time. */
export const DHT_PARALLEL = 3;
/** A node that gossips with fewer peers seeks new neighbours, so that gossip reaches everybody. */
export const MIN_NEIGHBOURS = 8;
/** Idle connections above this are closed: each costs pings and a share of all gossip. */
export const MAX_IDLE_NEIGHBOURS = 12;
/** An idle connection may be closed after so long. */
export const IDLE_CONNECTION: number = MINUTE;
/** How often connections and suspects are checked: the first suspicion lasts a second. */
export const MAINTENANCE_INTERVAL: number = SECOND / 2;

/** Bootstrap addresses tried at one time: all nodes of a new cluster try the same few. */
export const BOOTSTRAP_PARALLEL = 3;
/** A round ends after so many neighbours: they know the others. */
export const BOOTSTRAP_ENOUGH = 3;
/** Addresses that a node with neighbours tries in one round: most of them may be long dead. */
export const BOOTSTRAP_TRIES = 16;
export const BOOTSTRAP_FIRST_DELAY = 50;
export const BOOTSTRAP_MAX_DELAY: number = 10 * SECOND;
/** How often a node with neighbours asks the bootstrap names: this heals a partition. */
export const BOOTSTRAP_INTERVAL: number = 3 * MINUTE;
/** Addresses of one name that are tried. */
export const MAX_BOOTSTRAP_ADDRESSES = 4096;
/** Addresses of expired members, kept to be tried: the other half of a partition may outlive its records. */
export const MAX_CANDIDATES = 256;
export const CANDIDATE_AGE: number = 24 * HOUR;

/** Two refreshes may be lost before a member expires (cluster/member-records.ts). */
export const REFRESH_INTERVAL: number = 10 * MINUTE;
/** How often this node looks whether its own addresses have changed: members then learn it within a minute. */
export const ADDRESS_INTERVAL: number = 30 * SECOND;
/**
 * How often the table is compared with a neighbour's, so that lost gossip heals. Often at first: a node that starts
 * with many others knows few of them, and its mesh is still forming.
 */
export const FIRST_SYNC_INTERVAL: number = SECOND;
export const SYNC_INTERVAL: number = MINUTE;
/** For a whole member sync: a snapshot of the largest cluster is about 3 MiB. */
export const SYNC_TIMEOUT: number = 10 * SECOND;
/** Bytes that one side accepts in a member sync. */
export const MAX_SYNC_BYTES: number = 8192 * KIB;
/** Member syncs under way that others opened; each may bring thousands of signatures to check. */
export const MAX_SYNCS = 8;
/** A disconnected member is probed at a random moment within this time: all its neighbours notice at once. */
export const PROBE_SPREAD = 300;
/** For telling others that this node stops; then the sockets are closed. */
export const LEAVE_TIMEOUT = 300;
/** For closing all sockets; the end of the process closes the rest. */
export const STOP_TIMEOUT = 600;

/** Milliseconds over which connections that were secured with a removed cluster key are closed. */
export const REKEY_SPREAD: number = 10 * SECOND;
