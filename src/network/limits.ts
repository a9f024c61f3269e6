/** Bounds of the host, each with the failure that it prevents. Times are milliseconds. */
import { HOUR, KIB, MINUTE, SECOND } from '../util/clock.ts';

/** Connections to other members. Dialling on demand adds to the neighbours; above this the least used are closed. */
export const MAX_CONNECTIONS = 1024;
/**
 * Handshakes in progress that others began. libp2p's 10 made 50 nodes that started together wait 10 to 28 s for
 * each other.
 */
export const MAX_PENDING_HANDSHAKES = 1024;
/**
 * The same for one place (an IPv4 address, a /64 of IPv6), so that one stranger cannot take all; nodes behind one NAT
 * share an address. An address that a member's record names is a place of its own.
 */
export const MAX_PENDING_PER_PLACE = 128;
/** Of strangers of all places together: the rest is kept for addresses that members' records name. */
export const MAX_PENDING_STRANGERS: number = (MAX_PENDING_HANDSHAKES * 3) / 4;
/** New connections from one address in a second; libp2p's 5 refused nodes behind one NAT, and every test on loopback. */
export const MAX_NEW_CONNECTIONS_PER_SECOND = 256;
/**
 * Dials that this node begins at one time. One takes 8 ms of CPU at both ends, and many side by side share the CPU: where
 * it was short, forty at once all took longer than a dial may take, and were begun again.
 */
export const DIALS_AT_ONCE = 8;
/** What libp2p dials at a time, also what it dials by itself; above the number before, so that none of those waits there. */
export const MAX_PARALLEL_DIALS = 64;
/** Dials that wait. */
export const MAX_DIAL_QUEUE = 2048;
/** A member is on the same network: what takes longer counts as unreachable. Of this node's own time (src/util/active-time.ts). */
export const DIAL_TIMEOUT: number = 3 * SECOND;
/** For one of several addresses of a member. */
export const ADDRESS_DIAL_TIMEOUT: number = 1.5 * SECOND;
/** For the handshake, once the other side has taken the connection: it is there, and has little CPU perhaps. */
export const HANDSHAKE_TIMEOUT: number = 6 * SECOND;
/** Of both together by the clock, also for what libp2p dials by itself. */
export const LONGEST_DIAL: number = 15 * SECOND;
/** Who connects and says nothing holds a socket for so long, by the clock: as long as whoever dials may wait. */
export const LONGEST_HANDSHAKE: number = LONGEST_DIAL;
/** The same for a stream whose protocol is not named. */
export const LONGEST_NEGOTIATION: number = 10 * SECOND;
/**
 * A connection over which nothing has come for so long is tried with a ping, by the side that dialled; the other side
 * does so later, where that one did not.
 */
export const SILENCE_DIALLER: number = 15 * SECOND;
export const SILENCE_DIALLED: number = 20 * SECOND;
/** And when then nothing comes for so long, the connection is cut: the peer is frozen or cut off. */
export const ANSWER_TIMEOUT: number = 5 * SECOND;
/** Streams that one connection may have open; each may hold its window of 256 KiB unread. */
export const MAX_STREAMS_PER_CONNECTION = 256;

/** From opening a stream to its first frame: slower is no member's way. Of this node's own time. */
export const FIRST_FRAME_TIMEOUT: number = 3 * SECOND;
/** From a frame's first byte to its last, by the clock. */
export const FRAME_TIMEOUT: number = 6 * SECOND;
/** Control streams that one peer may have open on a connection: the old and the new one while it reopens, and slack. */
export const MAX_CONTROL_STREAMS = 4;
/** Messages and bytes that wait for a peer; one that takes no more is reset, or it would grow with the cluster. */
export const MAX_QUEUED_MESSAGES = 512;
export const MAX_QUEUED_BYTES: number = 256 * KIB;
/** A control stream without a message is closed: each costs a few KiB on both sides. */
export const IDLE_STREAM: number = 2 * MINUTE;
/** Control streams open at one time; far above the links of all swarms together. */
export const MAX_OPEN_CONTROL_STREAMS = 2048;

export const REQUEST_TIMEOUT: number = 2 * SECOND;
/** Requests under way from one connection, and from all peers, for each kind; more are refused at once. */
export const MAX_REQUESTS_PER_CONNECTION = 16;
export const MAX_HANDLERS = 128;

/** For a peer to say what it speaks, and before it is asked once more where there is still no gossip with it. */
export const IDENTIFY_TIMEOUT: number = 5 * SECOND;
export const IDENTIFY_AGAIN: number = 30 * SECOND;
/** Members nearest to a blob's key, to whom a provider record is written and who are asked for one. */
export const PROVIDER_RECORDS = 10;
/** Of these at a time. */
export const DHT_PARALLEL = 3;
/** Gossiping with fewer peers than this, new neighbours are sought, so that gossip reaches everybody. */
export const MIN_NEIGHBOURS = 8;
/** Idle connections above this are closed: each costs pings and a share of all gossip. */
export const MAX_IDLE_NEIGHBOURS = 12;
/** A connection that nobody uses is closed after so long. */
export const IDLE_CONNECTION: number = MINUTE;
/** How often connections are looked at, and suspects: the first suspicion lasts a second. */
export const MAINTENANCE_INTERVAL: number = SECOND / 2;

/** Bootstrap addresses tried at one time: all nodes of a new cluster ask the same few. */
export const BOOTSTRAP_PARALLEL = 3;
/** So many neighbours found by bootstrapping are enough: they know the rest. */
export const BOOTSTRAP_ENOUGH = 3;
/** Addresses tried in one round by a node that has neighbours: most of them may be long dead. */
export const BOOTSTRAP_TRIES = 16;
export const BOOTSTRAP_FIRST_DELAY = 50;
export const BOOTSTRAP_MAX_DELAY: number = 10 * SECOND;
/** How often the bootstrap names are asked once there are neighbours: this is what heals a partition. */
export const BOOTSTRAP_INTERVAL: number = 3 * MINUTE;
/** Addresses of one name that are looked at. */
export const MAX_BOOTSTRAP_ADDRESSES = 4096;
/** Members that were forgotten, kept as addresses to try: the other half of a partition may outlive its records. */
export const MAX_CANDIDATES = 256;
export const CANDIDATE_AGE: number = 24 * HOUR;

/** Two of them may be lost before a member expires (cluster/member-records.ts). */
export const REFRESH_INTERVAL: number = 10 * MINUTE;
/**
 * How often the table is compared with that of a neighbour, so that lost gossip heals. Often at first: a node that
 * starts with many others knows few of them, and its mesh is still forming.
 */
export const FIRST_SYNC_INTERVAL: number = SECOND;
export const SYNC_INTERVAL: number = MINUTE;
/** For a whole exchange: a snapshot of the largest cluster is about 3 MiB. */
export const SYNC_TIMEOUT: number = 10 * SECOND;
/** Bytes that one side takes in an exchange. */
export const MAX_SYNC_BYTES: number = 8192 * KIB;
/** Exchanges that others have under way here; each may bring thousands of signatures to check. */
export const MAX_SYNCS = 8;
/** A member that is gone is tried at a random moment within this: all its neighbours notice at once. */
export const PROBE_SPREAD = 300;
/** For everything that stopping tells others; then the sockets are closed. */
export const LEAVE_TIMEOUT = 300;
/** For closing all sockets; what is not closed by then is left to the end of the process. */
export const STOP_TIMEOUT = 600;
