// SPDX-License-Identifier: MIT
// The Internet layer of one stack: interfaces, routes and neighbours as the kernel reports them,
// IPv4 and IPv6 in and out, ICMP for our own flows. It knows transport protocols only as numbers
// with a handler. RFC 791, 792, 826, 1122, 4443, 4861, 8200.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/random.h"
#include "base/result.h"
#include "base/timer_wheel.h"
#include "net/address_table.h"
#include "net/counters.h"
#include "net/group_table.h"
#include "net/icmp_limiter.h"
#include "net/identification.h"
#include "net/interface.h"
#include "net/neighbor_table.h"
#include "net/path_mtu_cache.h"
#include "net/route_table.h"
#include "net/tables.h"
#include "packet/frame_pool.h"
#include "port/port.h"
#include "wire/icmp.h"
#include "wire/ip_address.h"
#include "wire/ipv4.h"

namespace millrace::net {

using wire::IpAddress;

// What the Internet layer knows of a datagram when it hands it up.
struct IpMeta {
  IpAddress source;
  IpAddress destination;
  uint8_t interface = 0;
  uint8_t ttl = 0;
  uint8_t traffic_class = 0;  // DSCP and ECN
};

// An ICMP error about one of our packets, already checked for form. RFC 1122 3.2.2, RFC 5927. A
// neighbour that does not answer is reported in the same way, as a hard EHOSTUNREACH for each
// packet that waited for it.
struct IcmpError {
  IpAddress local;                            // source of the quoted packet
  IpAddress remote;                           // its destination
  std::span<const uint8_t> quoted_transport;  // at least 8 bytes
  Error error;                 // EHOSTUNREACH, ENETUNREACH, ECONNREFUSED, EMSGSIZE, ...
  bool hard = false;           // may end a connection attempt (RFC 1122 4.2.3.9)
  bool from_neighbor = false;  // nobody sent it: the neighbour does not answer
  // Packet too big: the MTU to use, at least path_mtu_min_bytes (IPv4) or 1280; else 0.
  uint32_t mtu_bytes = 0;
  bool may_be_cut = false;  // a link is narrower than that: routers are to cut our packets up
};

// The longest burst that goes up to a transport protocol in one piece.
inline constexpr uint32_t kBurstMax = 64;

// A datagram on its way up. `frame` begins with the transport header and ends with the datagram.
struct Received {
  Frame* frame;
  IpMeta meta;
};

// A transport protocol as the Internet layer sees it.
class TransportHandler {
 public:
  virtual ~TransportHandler() = default;
  // What came in one burst, in order; never empty, at most kBurstMax. The callee owns the
  // references.
  virtual void receive(Instant now, std::span<const Received> burst) = 0;
  virtual void icmp_error(Instant now, const IcmpError& error) = 0;
};

// Asks whoever owns the neighbour table (the kernel) to resolve or confirm an address; the answer
// comes back as IpLayer::neighbor_changed(). What the owner already knows must be answered too, not
// only changes.
class NeighborResolver {
 public:
  virtual ~NeighborResolver() = default;
  virtual void resolve(uint32_t ifindex, const IpAddress& address) = 0;
};

// Who may know more of what comes here and is nobody's: other stacks share our interface. `frame`
// is an Ethernet frame; its source address is of no meaning to the stacks, except that it is all 0
// until one of them has passed the frame on (Frame::kPassedOn). Empty: there is no frame to pass
// on.
class StrayHandler {
 public:
  virtual ~StrayHandler() = default;
  // A TCP segment without a connection or a handshake. `opening`: a SYN for which nobody listens
  // here. True: it is not ours to refuse.
  virtual bool stray_segment(Instant now, const wire::FlowKey& flow, std::span<uint8_t> frame,
                             bool opening) = 0;
  // An ICMP error about a packet of this address of ours, the first time that a stack sees it.
  virtual void icmp_error(Instant now, std::span<uint8_t> frame) = 0;
};

struct SendOptions {
  uint8_t protocol = 0;
  uint8_t ttl = 64;
  uint8_t traffic_class = 0;
  bool dont_fragment = true;
};

struct Limits {
  uint32_t routes_max = 4096;
  uint32_t neighbors_max = 1024;
  uint32_t addresses_max = 256;
  uint32_t groups_max = 256;
  uint32_t waiting_frames_max = 64;  // per neighbour that is being resolved (Linux: about 101)
  // Nobody can talk IPv4 into smaller packets: Linux's min_pmtu. RFC 1191 3: 68.
  uint32_t path_mtu_min_bytes = 552;
};

// A resolved way to a destination, kept by its user (a connection). Cheap to revalidate: it is used
// as long as its generation is the tables' current one. Defined in net/tables.h: Path.

class IpLayer : private NeighborUser {
 public:
  IpLayer(FramePool& pool, TimerWheel& timers, Random& random, const Limits& limits);
  ~IpLayer() override;
  IpLayer(const IpLayer&) = delete;
  IpLayer& operator=(const IpLayer&) = delete;

  // --- wiring, at the start
  // At most kInterfacesMax. With `local_everywhere` (the loopback port) every destination is one of
  // our own and every packet goes out through it.
  uint8_t attach(Port& port, const LinkConfig& link, bool local_everywhere);
  void set_handler(uint8_t protocol, TransportHandler* handler);
  void set_resolver(NeighborResolver* resolver);
  void set_stray_handler(StrayHandler* handler) { strays_ = handler; }
  // Gives back every frame held anywhere in the layer.
  void close();

  // --- facts from the control plane (netlink, or a test)
  void link_changed(const LinkConfig& link);
  // For good: nothing leads over it any more.
  bool is_gone(uint8_t interface) const { return interfaces_[interface].link.gone; }
  void address_changed(uint32_t ifindex, const IpAddress& address, uint8_t prefix_length,
                       bool present);
  Error route_changed(const Route& route, bool present);
  void neighbor_changed(Instant now, uint32_t ifindex, const IpAddress& address,
                        const MacAddress& mac, NeighborState state);

  // --- multicast groups: what comes to them by this interface is let in, for UDP only
  Error join_group(uint8_t interface, const IpAddress& group);
  void leave_group(uint8_t interface, const IpAddress& group);
  // The attached interface that has the address or, for an unspecified one, that packets to the
  // group leave by; kInterfacesMax: none of ours.
  uint8_t group_interface(const IpAddress& address, const IpAddress& group);
  // The attached interface with the kernel's number; kInterfacesMax: none of ours.
  uint8_t interface_index(uint32_t ifindex);

  // --- paths
  // Chooses route, source address (when `local` is unspecified) and MTU. ENETUNREACH when no
  // attached interface leads there, EADDRNOTAVAIL when `local` is not an address of ours.
  Result<Path> resolve(const IpAddress& local, const IpAddress& remote);
  // True when `address` belongs to an attached interface (or to a local_everywhere one).
  bool is_local(const IpAddress& address) const;
  // Re-resolves a path whose generation is old. False when its destination is no longer reachable.
  bool refresh(Path& path);
  // Changes with every change of the tables: a path of another generation is stale. send()
  // re-resolves such a path with the source address it has; who did not insist on a source may want
  // to choose again.
  uint32_t generation() const { return generation_; }
  uint32_t path_mtu_min_bytes() const { return path_mtu_min_bytes_; }

  // --- data
  // Frames from a port, in order. Takes over the caller's references. Malformed: counted and
  // released. The rest goes up in runs of one protocol, so that a transport protocol can ask for
  // the memory that the later ones need while it works on the first. Not to be called from within.
  void input(Instant now, uint8_t interface, std::span<Frame* const> burst);
  void input(Instant now, uint8_t interface, Frame* frame) { input(now, interface, {&frame, 1}); }
  // Sends `frame`, which begins with a complete transport header, checksum included. Headers are
  // pushed in front of it in place; the caller keeps its reference. From the call until the device
  // is done the frame's tx_pending is not 0 and its bytes must not be touched. EHOSTUNREACH: the
  // neighbour is known not to answer; EMSGSIZE: longer than the path's MTU with dont_fragment, or
  // than the link's without; ENOBUFS: the waiting queue is full; ENETUNREACH, EADDRNOTAVAIL: the
  // tables changed and the path is gone. The frame begins with the link header afterwards and may
  // end with zero padding: whoever wants to send its bytes again remembers where they were. On an
  // error it is as it was.
  Error send(Instant now, Path& path, Frame* frame, const SendOptions& options);
  // What the device at the end of the path finishes. For a send() by the same path right behind.
  const SendOffloads& offloads(Path& path);
  // Puts `frame`, payload alone, behind `head`, a TCP segment that send() took, as one packet,
  // which the device cuts into segments of `segment_bytes`; the caller keeps its reference, and
  // tx_pending holds for both. False: the device does not, the packet has left or is long enough;
  // the frame needs headers of its own.
  bool append(const Path& path, Frame* head, Frame* frame, uint16_t segment_bytes);
  // An ICMP destination unreachable / port unreachable about a received datagram, rate limited.
  void send_port_unreachable(Instant now, Frame* original_transport, const IpMeta& meta);
  // A received segment that TCP would refuse. True: somebody else has it now, or will.
  bool take_stray(Instant now, const wire::FlowKey& flow, Frame& transport, uint8_t interface,
                  bool opening);
  // A transport protocol has checked a "packet too big" against its flow (RFC 5927): paths to
  // `remote` are narrower for ten minutes. Not called: the error has no effect on this layer.
  // `may_be_cut`: packets leave without DF from now on (IPv4).
  void learn_path_mtu(Instant now, const IpAddress& remote, uint32_t mtu_bytes,
                      bool may_be_cut = false);
  // TCP made forward progress with this neighbour: it is reachable (RFC 4861 7.3.1).
  void confirm(Instant now, Path& path);
  // Hands everything that send() collected to the ports and lets them go on. Once per turn at
  // least.
  void flush(Instant now);

  // A random key for a transport protocol's hash tables.
  SipKey hash_key() { return random_.sip_key(); }
  // Packets are left over because a port was full: flush() should be called again before long.
  bool tx_backlogged() const;

  const Counters& counters() const { return counters_; }

 private:
  // What input() notes in a received frame's scratch, for ICMP errors about it. Gone once the
  // transport protocol uses the scratch itself.
  struct ReceivedNote {
    uint32_t ip_offset;  // of the IP header in the chunk
  };

  // tables and paths: ip_layer.cc
  void tables_changed();
  Interface* interface_of(uint32_t ifindex);
  Error route(Path& path);
  Error route_locally(Path& path, uint8_t interface);
  bool is_attached(uint32_t ifindex) const;

  static void on_mtu_expiry(Timer& timer, void* owner, Instant now);

  // sending: ip_output.cc
  static constexpr uint32_t kIpPacketMaxBytes = 65535;
  Error send_beyond_path_mtu(Instant now, Path& path, Frame* frame, const SendOptions& options);
  Error send_fragments(Instant now, Path& path, const Frame& whole, const SendOptions& options);
  void push_ip_header(const Path& path, Frame* frame, const SendOptions& options);
  void push_ethernet_header(const Interface& interface, const Neighbor& neighbor, bool v4,
                            Frame* frame);
  Neighbor* neighbor_of(Instant now, Path& path);
  void put_in_batch(Instant now, Interface& interface, Frame* frame);
  bool has_room(Instant now, Interface& interface);
  void neighbor_ready(Instant now, Neighbor& neighbor, Frame* frame) override;
  void neighbor_failed(Instant now, Frame* frame) override;
  void neighbor_moved() override { tables_changed(); }

  // receiving: ip_input.cc
  void input_one(Instant now, uint8_t interface, Frame* frame);
  void hand_up(Instant now);
  // `to_group`: the frame came to a link-layer group.
  bool strip_ethernet(const Interface& interface, Frame* frame, uint8_t& version, bool& to_group);
  void input_ipv4(Instant now, uint8_t interface, Frame* frame, bool to_group);
  void refuse_options(Instant now, uint8_t index, Frame* frame, const wire::Ipv4View& ip,
                      bool to_group);
  void input_ipv6(Instant now, uint8_t interface, Frame* frame, bool to_group);
  bool check_addresses(const Interface& interface, const IpAddress& source,
                       const IpAddress& destination, bool to_group);
  void deliver(Instant now, Frame* frame, uint32_t header_bytes, uint8_t protocol,
               const IpMeta& meta);
  void drop(Frame* frame, uint64_t& counter);

  // ICMP: icmp.cc
  void receive_icmp4(Instant now, Frame* frame, const IpMeta& meta);
  void receive_icmp6(Instant now, Frame* frame, const IpMeta& meta);
  std::span<uint8_t> whole_frame(Frame& transport, uint8_t interface, bool v4);
  void receive_error(Instant now, const wire::IcmpMeaning& meaning, uint32_t mtu_bytes,
                     bool may_be_cut, const wire::IcmpQuote& quote, const IpMeta& meta);
  void answer_echo(Instant now, const Frame& request, const IpMeta& meta);
  // About the received IP packet `original`; `argument`: the pointer of an ICMPv6 parameter
  // problem, else 0.
  void send_error(Instant now, std::span<const uint8_t> original, const IpMeta& meta, uint8_t type,
                  uint8_t code, uint32_t argument);
  void send_icmp(Instant now, Frame* frame, const IpMeta& answered, uint64_t& counter);

  FramePool& pool_;
  TimerWheel& timers_;
  Random& random_;
  Counters counters_;
  uint32_t generation_ = 1;
  uint32_t path_mtu_min_bytes_;
  uint8_t interface_count_ = 0;
  uint8_t everywhere_ = kInterfacesMax;  // the local_everywhere interface, if there is one
  // The last pair of addresses that check_addresses() passed.
  uint32_t checked_generation_ = 0;
  uint8_t checked_interface_ = 0;
  IpAddress checked_source_;
  IpAddress checked_destination_;
  RouteTable routes_;
  AddressTable addresses_;
  GroupTable groups_;
  PathMtuCache path_mtus_;
  Timer mtu_expiry_;
  NeighborTable neighbors_;
  StrayHandler* strays_ = nullptr;
  IcmpLimiter icmp_limiter_;
  Identifications identifications_;
  std::array<TransportHandler*, 256> handlers_{};
  // What input() has checked and not yet handed up, all of one protocol.
  std::array<Received, kBurstMax> arrived_;
  uint32_t arrived_count_ = 0;
  uint8_t arrived_protocol_ = 0;
  std::array<Interface, kInterfacesMax> interfaces_;
};

}  // namespace millrace::net
