/** How much packet memory a stack gets: what was asked for, or what suits the port. */
import type { Options } from './options';

const LOOPBACK_FRAME_BYTES = 16_384;
const ETHERNET_FRAME_BYTES = 2048;
const FRAMES = { loopback: 8192, network: 32_768 } as const;

/** JavaScript sees all of it as one ArrayBuffer, which on Node 20 may not be longer. */
export const PACKET_MEMORY_BYTES_MAX = 2 ** 32;

export interface PacketMemory {
  readonly frames: number;
  readonly frameBytes: number;
}

/** The options `frames` and `frameBytes`, with `auto` replaced. */
export function packetMemoryOf(options: Pick<Options, 'port' | 'frames' | 'frameBytes'>): PacketMemory {
  const loopback = options.port === 'loopback';
  const { frames, frameBytes } = options;
  return {
    frames: frames !== 'auto' ? frames : loopback ? FRAMES.loopback : FRAMES.network,
    frameBytes: frameBytes !== 'auto' ? frameBytes : loopback ? LOOPBACK_FRAME_BYTES : ETHERNET_FRAME_BYTES,
  };
}
