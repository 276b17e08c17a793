// SPDX-License-Identifier: MIT
#include "port/dpdk/dpdk_port.h"

#include <linux/if_xdp.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mempool.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <string_view>

#include "port/dpdk/eal.h"

namespace millrace::dpdk {
namespace {

constexpr uint32_t kHeaders = 4095;  // frames that the driver may hold at a time
constexpr uint32_t kFrameBytesMax = 32768;
constexpr Duration kReclaimEvery = Duration::millis(1);
constexpr Duration kPatience = Duration::millis(200);  // with a device that takes nothing
// A card negotiates, and memif's other end has to answer.
constexpr Duration kLinkPatience = Duration::seconds(5);
constexpr Duration kJoinEvery = Duration::millis(500);  // where the driver does not by itself
constexpr unsigned kClockPauseUs = 10'000;              // between the first two looks at its clock
// Pulled out. (DPDK forgets no callback of a device that it gives up: to be told of that as well
// would mean to be told of the next device with that number, when this port is long gone.)
constexpr rte_eth_event_type kGone[] = {RTE_ETH_EVENT_INTR_RMV};

// Drivers over an interface of the kernel's: a virtual one hands us what its other end never
// finished.
bool over_kernel_interface(std::string_view driver) {
  return driver == "net_af_xdp" || driver == "net_af_packet" || driver == "net_tap";
}

}  // namespace

DpdkPort::DpdkPort(FramePool& pool, DeviceLease lease)
    : pool_(pool),
      lease_(std::move(lease)),
      device_(lease_.device()),
      first_queue_(lease_.first_queue()),
      queues_(lease_.queues()),
      shared_memory_(size_t(pool.capacity()) * sizeof(rte_mbuf_ext_shared_info)),
      shared_(reinterpret_cast<rte_mbuf_ext_shared_info*>(shared_memory_.data())) {}

DpdkPort::~DpdkPort() {
  close();
}

std::unique_ptr<DpdkPort> DpdkPort::open(const DeviceSettings& settings, FramePool& pool,
                                         SetupError& error) {
  if (pool.frame_bytes() > kFrameBytesMax) {
    error.set(EINVAL, "port dpdk takes frames of at most %u bytes, not %u", kFrameBytesMax,
              pool.frame_bytes());
    return nullptr;
  }
  register_thread();
  DeviceLease lease;
  if (!lease.take(settings, error)) return nullptr;
  std::unique_ptr<DpdkPort> port(new (std::nothrow) DpdkPort(pool, std::move(lease)));
  if (!port || !port->shared_) {
    error.set(ENOMEM, "out of memory");
    return nullptr;
  }
  if (!port->start(error)) return nullptr;
  return port;
}

std::span<const int> DpdkPort::own(const std::vector<int>& by_queue) const {
  if (by_queue.empty()) return {};
  return std::span(by_queue).subspan(first_queue_, queues_);
}

bool DpdkPort::start(SetupError& error) {
  char name[RTE_MEMPOOL_NAMESIZE];
  snprintf(name, sizeof(name), "mr_tx_port_%u", lease_.number());
  // Sending copies needs whole buffers, wrapping none; which of the two is known after this.
  choose_sending();
  headers_ = lease_.is_shared()
                 ? lease_.transmit_pool(kHeaders)
                 : rte_pktmbuf_pool_create(name, kHeaders, 0, 0,
                                           copies_out_ ? uint16_t(RTE_MBUF_DEFAULT_BUF_SIZE) : 0,
                                           SOCKET_ID_ANY);
  if (!headers_) {
    error.set(ENOMEM, "DPDK has no memory for %u transmit buffers (%s)", kHeaders,
              rte_strerror(rte_errno));
    return false;
  }
  const bool sockets = !device_.sockets().empty();
  // An interrupt that does not come would leave peers waiting: cards are looked at now and then.
  // (net_e1000_em behind vfio was seen to send none.)
  const bool certain = sockets || std::string_view(device_.driver()) == "net_tap";
  if (!waiter_.open(own(sockets ? device_.sockets() : device_.interrupts()), certain, error)) {
    return false;
  }
  watch_for_removal(true);
  find_clock();
  joins_ = device_.joins();
  partial_checksums_ = over_kernel_interface(device_.driver());
  describe();
  return true;
}

void DpdkPort::choose_sending() {
  // The device outlives this stack, and may hold what it sends until then: never its memory.
  if (lease_.is_shared()) {
    copies_out_ = true;
    return;
  }
  // A driver that wants physical addresses would need pages that never move; the kernel moves ours
  // as it likes. Those that take virtual ones, or map them for the card, send from where we lie.
  if (rte_eal_iova_mode() == RTE_IOVA_PA) {
    copies_out_ = true;
    return;
  }
  uint8_t* memory = pool_.memory();
  const size_t bytes = pool_.memory_bytes();
  // A child between fork and exec would get a copy of every page that is pinned for a card.
  madvise(memory, bytes, MADV_DONTFORK);
  registered_ = rte_extmem_register(memory, bytes, nullptr, 0, size_t(getpagesize())) == 0;
  rte_eth_dev_info info{};
  rte_eth_dev_info_get(device_.id(), &info);
  mapped_ = registered_ && info.device &&
            rte_dev_dma_map(info.device, memory, uint64_t(uintptr_t(memory)), bytes) == 0;
  // Virtual devices have no mapping and need none; a card that refuses gets copies.
  const bool needs_mapping = info.device && !mapped_ && rte_errno != ENOTSUP;
  copies_out_ = needs_mapping;
  static_cast<void>(last_complaint());
}

void DpdkPort::find_clock() {
  if (!device_.stamps() || !device_.read_clock(clock_)) return;
  usleep(kClockPauseUs);
  stamps_ = device_.read_clock(clock_) && clock_.known();
}

void DpdkPort::describe() {
  const char* wait = !device_.sockets().empty()     ? "waits on sockets"
                     : device_.interrupts().empty() ? "waits by timer"
                     : waiter_.is_timer()           ? "waits on interrupts and by timer"
                                                    : "waits on interrupts";
  char part[32] = "";
  if (lease_.is_shared()) {
    snprintf(part, sizeof(part), ", queue %u", device_.kernel_queue(first_queue_));
  }
  const auto by = [](bool device) { return device ? "device" : "software"; };
  const SendOffloads& sending = device_.sending().offered;
  const char* cut = by(sending.segments_v4 || sending.segments_v6);
  snprintf(mode_, sizeof(mode_),
           "%s %s%s, %s, %s%s, received checksums by %s, sent ones by %s, segments by %s, "
           "timestamps by %s, sends %s%s",
           device_.driver(), device_.name(), part, eal_memory(), wait,
           device_.spreads_by() ? ", queues by the device's hash" : "",
           by(device_.checks_received()), by(sending.checksums), cut, by(stamps_),
           copies_out_ ? "copies" : "in place", device_.isolated() ? ", isolated" : "");
  info_.name = "dpdk";
  info_.link = LinkType::kEthernet;
  info_.mtu_bytes = std::min(device_.mtu_bytes(), pool_.frame_bytes() - FramePool::kTxHeadroom);
  info_.queues = queues_;
  info_.mode = mode_;
  info_.offloads = sending;
}

void DpdkPort::mac(uint8_t out[6]) const {
  rte_ether_addr address{};
  rte_eth_macaddr_get(device_.id(), &address);
  std::memcpy(out, address.addr_bytes, 6);
}

// --- a device that is taken away

// Cards say so themselves or by their bus: behind vfio the kernel asks for the card, and whoever
// wants to take it away waits until it is let go. Both callbacks run on a thread of DPDK's.
void DpdkPort::watch_for_removal(bool on) {
  if (on) {
    rte_eth_dev_info info{};
    rte_eth_dev_info_get(device_.id(), &info);
    for (const rte_eth_event_type event : kGone) {
      rte_eth_dev_callback_register(device_.id(), event, on_removed, this);
    }
    // Kept: at the end the device may be gone, and its name with it.
    if (info.device) bus_name_ = rte_dev_name(info.device);
    if (!bus_name_.empty()) {
      rte_dev_event_callback_register(bus_name_.c_str(), on_asked_for, this);
    }
    return;
  }
  for (const rte_eth_event_type event : kGone) {
    rte_eth_dev_callback_unregister(device_.id(), event, on_removed, this);
  }
  // It may be running, for a moment.
  while (!bus_name_.empty() &&
         rte_dev_event_callback_unregister(bus_name_.c_str(), on_asked_for, this) == -EAGAIN) {
    usleep(100);
  }
  bus_name_.clear();
}

int DpdkPort::on_removed(uint16_t, rte_eth_event_type, void* port, void*) {
  static_cast<DpdkPort*>(port)->gone_.store(true);
  return 0;
}

void DpdkPort::on_asked_for(const char*, rte_dev_event_type event, void* port) {
  if (event == RTE_DEV_EVENT_REMOVE) static_cast<DpdkPort*>(port)->gone_.store(true);
}

void DpdkPort::let_go() {
  if (!lease_.holds()) return;
  std::fprintf(stderr, "millrace: DPDK device %s was taken away: nothing comes or goes by it\n",
               device_.name());
  rte_eth_dev_info info{};
  rte_eth_dev_info_get(device_.id(), &info);
  close_device(true);
  usleep(1000);  // DPDK's thread may still be on its way back from telling us, and is to find it
  if (info.device && rte_dev_remove(info.device) != 0) {
    std::fprintf(stderr, "millrace: and is still held: %s\n", last_complaint());
  }
}

PortStats DpdkPort::stats() const {
  PortStats out = stats_;
  rte_eth_stats device{};
  if (!lease_.holds()) return out;
  // Of a shared device nobody knows whose the losses are: its first queue's owner tells them.
  if (device_.is_open() && first_queue_ == 0 && rte_eth_stats_get(device_.id(), &device) == 0) {
    out.rx_dropped += device.imissed + device.rx_nombuf;
    out.tx_dropped += device.oerrors;
  }
  // What the kernel had for the driver's sockets and could not give them, which no driver counts.
  for (const int fd : sockets()) {
    xdp_statistics kernel{};
    socklen_t length = sizeof(kernel);
    if (getsockopt(fd, SOL_XDP, XDP_STATISTICS, &kernel, &length) != 0) continue;
    out.rx_dropped +=
        std::max(kernel.rx_dropped, kernel.rx_fill_ring_empty_descs) + kernel.rx_ring_full;
    out.tx_dropped += kernel.tx_invalid_descs;
  }
  return out;
}

// --- receiving

// The other end has gone, and may come again.
void DpdkPort::join_again(Instant now) {
  if (now < join_at_) return;
  join_at_ = now + kJoinEvery;
  if (device_.link_up()) {
    had_link_ = true;
  } else if (had_link_) {
    for (; staged_head_ != staged_tail_; ++staged_head_) rte_pktmbuf_free(staged_[staged_head_]);
    const OwnDescriptors own;
    device_.start_again();
  }
}

// Takes what the device has, if nothing waits already. Also the only way to know whether there is
// something: drivers that count without taking are few.
bool DpdkPort::look() {
  if (staged_head_ != staged_tail_) return true;
  if (!device_.started()) return false;
  register_thread();
  staged_head_ = staged_tail_ = 0;
  const uint32_t count = queues_;
  for (uint32_t i = 0; i < count && staged_tail_ < kBurst; ++i) {
    const auto queue = uint16_t(first_queue_ + (next_queue_ + i) % count);
    const uint16_t n = rte_eth_rx_burst(device_.id(), queue, staged_ + staged_tail_,
                                        uint16_t(kBurst - staged_tail_));
    for (uint32_t k = 0; k < n; ++k) staged_from_[staged_tail_ + k] = queue;
    staged_tail_ += n;
  }
  next_queue_ = (next_queue_ + 1) % count;
  return staged_tail_ > 0;
}

void DpdkPort::stamp(Instant now, const rte_mbuf& packet, Frame& frame) {
  uint64_t ticks;
  if (!device_.stamp_of(packet, ticks) || !clock_.known()) return;
  frame.received = clock_.time_of(ticks, now);
  frame.flags |= Frame::kStamped;
}

Frame* DpdkPort::copy_in(Instant now, const rte_mbuf& packet) {
  Frame* frame = pool_.alloc();
  if (!frame) return nullptr;
  if (packet.pkt_len > frame->tailroom()) {
    pool_.release(frame);
    return nullptr;
  }
  uint8_t* to = frame->data();
  for (const rte_mbuf* part = &packet; part; part = part->next) {
    std::memcpy(to, rte_pktmbuf_mtod(part, const uint8_t*), part->data_len);
    to += part->data_len;
  }
  frame->length = packet.pkt_len;
  if (partial_checksums_) frame->flags |= Frame::kChecksumMayBePartial;
  constexpr uint64_t kGood = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
  if (device_.checks_received() && (packet.ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == kGood) {
    frame->flags |= Frame::kChecksumVerified;
  }
  if (stamps_) stamp(now, packet, *frame);
  return frame;
}

uint32_t DpdkPort::receive(Instant now, std::span<Frame*> out) {
  if (gone()) {
    let_go();
    return 0;
  }
  reclaim(now);
  if (joins_) join_again(now);
  if (stamps_ && now >= clock_.next()) device_.read_clock(clock_);
  uint32_t received = 0;
  waiter_.look();
  const bool found = look();
  while (received < out.size() && staged_head_ != staged_tail_) {
    rte_mbuf* packet = staged_[staged_head_];
    const uint16_t queue = staged_from_[staged_head_++];
    Frame* frame = copy_in(now, *packet);
    rte_pktmbuf_free(packet);
    if (!frame) {
      ++stats_.rx_dropped;
      continue;
    }
    frame->rx_queue = uint8_t(queue);
    stats_.rx_bytes += frame->length;
    out[received++] = frame;
  }
  stats_.rx_frames += received;
  waiter_.looked(found);
  if (!found) arm_interrupts();
  return received;
}

// Interrupts are one-shot in most drivers: armed when there was nothing, and after that the caller
// looks once more (Stack::rx_ready) before it sleeps.
void DpdkPort::arm_interrupts() {
  for (uint16_t q = 0; q < own(device_.interrupts()).size(); ++q) {
    rte_eth_dev_rx_intr_enable(device_.id(), uint16_t(first_queue_ + q));
  }
}

// --- sending

void DpdkPort::sent(void* memory, void* self) {
  auto& port = *static_cast<DpdkPort*>(self);
  const auto offset = size_t(static_cast<uint8_t*>(memory) - port.pool_.memory());
  Frame* frame = port.pool_.at(uint32_t(offset / port.pool_.frame_bytes()));
  MR_ASSERT(frame->tx_pending > 0);
  --frame->tx_pending;
  --port.in_flight_;
  port.pool_.release(frame);
}

rte_mbuf* DpdkPort::wrap(Frame* frame) {
  rte_mbuf* packet = rte_pktmbuf_alloc(headers_);
  if (!packet) return nullptr;
  rte_mbuf_ext_shared_info& shared = shared_[frame->index];
  // One that the driver still has is sent again: it comes back once, after both.
  if (shared.free_cb && rte_mbuf_ext_refcnt_read(&shared) > 0) {
    rte_mbuf_ext_refcnt_update(&shared, 1);
  } else {
    shared.free_cb = sent;
    shared.fcb_opaque = this;
    rte_mbuf_ext_refcnt_set(&shared, 1);
    pool_.retain(frame);
    ++frame->tx_pending;
    ++in_flight_;
  }
  rte_pktmbuf_attach_extbuf(packet, frame->chunk, rte_iova_t(uintptr_t(frame->chunk)),
                            uint16_t(std::min(frame->capacity, 65535u)), &shared);
  packet->data_off = uint16_t(frame->offset);
  packet->data_len = uint16_t(frame->length);
  packet->pkt_len = frame->length;
  return packet;
}

rte_mbuf* DpdkPort::copy_out(const Frame& frame) {
  rte_mbuf* packet = rte_pktmbuf_alloc(headers_);
  if (!packet) return nullptr;
  char* to = rte_pktmbuf_append(packet, uint16_t(frame.length));
  if (!to) {
    rte_pktmbuf_free(packet);
    return nullptr;
  }
  std::memcpy(to, frame.data(), frame.length);
  return packet;
}

// One packet of a frame and of those behind it that go on from it. Null: no mbuf is left, and
// nothing was taken.
rte_mbuf* DpdkPort::make_packet(std::span<Frame* const> frames, uint32_t& used) {
  const auto part_of = [this](Frame* f) { return copies_out_ ? copy_out(*f) : wrap(f); };
  rte_mbuf* packet = part_of(frames[0]);
  if (!packet) return nullptr;
  rte_mbuf* last = packet;
  for (used = 1; used < frames.size() && (frames[used]->flags & Frame::kContinues); ++used) {
    rte_mbuf* part = part_of(frames[used]);
    if (!part) {
      rte_pktmbuf_free(packet);
      return nullptr;
    }
    last->next = part;
    last = part;
    ++packet->nb_segs;
    packet->pkt_len += part->data_len;
  }
  if (frames[0]->flags & Frame::kChecksumWanted) {
    ask_to_finish(device_.sending(), *frames[0], *packet);
  }
  return packet;
}

// As rte_eth_tx_burst(). What the driver does not want to send at all is dropped, and counts as
// sent: TCP sends it again, each segment by itself.
uint16_t DpdkPort::put_on_device(rte_mbuf** packets, uint16_t count) {
  if (!device_.sending().offered.checksums) {
    return rte_eth_tx_burst(device_.id(), first_queue_, packets, count);
  }
  uint16_t done = 0;
  while (done < count) {
    const uint16_t left = uint16_t(count - done);
    const uint16_t good = rte_eth_tx_prepare(device_.id(), first_queue_, packets + done, left);
    const uint16_t sent = rte_eth_tx_burst(device_.id(), first_queue_, packets + done, good);
    done += sent;
    if (sent < good || good == left) break;
    rte_pktmbuf_free(packets[done++]);
    ++stats_.tx_dropped;
  }
  return done;
}

// There are drivers for which a packet that they cannot cut is no packet to drop, but one that
// everything else has to wait for. It is lost, and comes again in single segments.
bool DpdkPort::refuses(Instant now, const Frame* first) {
  if (refused_ != first) {
    refused_ = first;
    refused_since_ = now;
    return false;
  }
  if (now - refused_since_ < kPatience) return false;
  refused_ = nullptr;
  return true;
}

// What is sent before the wire is there for the first time would be lost, and what a program sends
// when it begins is not always sent again. Later ends of the link are like those of any cable.
bool DpdkPort::waits_for_link(Instant now) {
  if (had_link_) return false;
  if (without_link_since_.is_never()) without_link_since_ = now;
  had_link_ = device_.link_up() || now - without_link_since_ >= kLinkPatience;
  return !had_link_;
}

uint32_t DpdkPort::transmit(Instant now, std::span<Frame* const> frames) {
  if (gone() || !device_.started()) {
    stats_.tx_dropped += frames.size();
    return uint32_t(frames.size());
  }
  register_thread();
  if (waits_for_link(now)) {
    if (!frames.empty()) ++stats_.tx_full;
    return 0;
  }
  uint32_t taken = 0;
  while (taken < frames.size()) {
    rte_mbuf* packets[kBurst];
    uint32_t frames_of[kBurst];
    uint64_t bytes[kBurst];
    uint16_t ready = 0;
    bool full = false;
    for (uint32_t at = taken; at < frames.size() && ready < kBurst; at += frames_of[ready++]) {
      rte_mbuf* packet = make_packet(frames.subspan(at), frames_of[ready]);
      full = !packet;
      if (full) break;
      bytes[ready] = packet->pkt_len;
      packets[ready] = packet;
    }
    const uint16_t sent = put_on_device(packets, ready);
    for (uint16_t i = 0; i < sent; ++i) {
      stats_.tx_bytes += bytes[i];
      stats_.tx_frames += frames_of[i];
      taken += frames_of[i];
    }
    for (uint16_t i = sent; i < ready; ++i) rte_pktmbuf_free(packets[i]);
    if (sent > 0) refused_ = nullptr;
    if (sent == ready && !full) continue;
    if (sent == 0 && ready > 0 && frames_of[0] > 1 && refuses(now, frames[taken])) {
      taken += frames_of[0];
      ++stats_.tx_dropped;
      continue;
    }
    ++stats_.tx_full;
    // A wire that is not there loses what is put on it; waiting for it would hold the frames.
    if (sent == 0 && !device_.link_up()) {
      stats_.tx_dropped += frames.size() - taken;
      return uint32_t(frames.size());
    }
    break;
  }
  return taken;
}

// Drivers free what they sent when they need the room, which may be never.
void DpdkPort::reclaim(Instant now) {
  if (in_flight_ == 0 || now < reclaim_at_ || !device_.started()) return;
  reclaim_at_ = now + kReclaimEvery;
  rte_eth_tx_done_cleanup(device_.id(), first_queue_, 0);
}

// --- the end

void DpdkPort::close() {
  if (lease_.holds()) close_device(false);
  waiter_.close();
  // What a driver keeps even now is lost to it: better a leak at the end than a wild reference.
  if (headers_ && in_flight_ == 0) rte_mempool_free(headers_);
  headers_ = nullptr;
}

void DpdkPort::close_device(bool taken_away) {
  register_thread();
  waiter_.rest();
  watch_for_removal(false);
  const PortStats last = stats();
  for (; staged_head_ != staged_tail_; ++staged_head_) rte_pktmbuf_free(staged_[staged_head_]);
  if (mapped_) {
    rte_eth_dev_info info{};
    rte_eth_dev_info_get(device_.id(), &info);
    // None, when the device was taken away: its mapping went with it.
    if (info.device) {
      rte_dev_dma_unmap(info.device, pool_.memory(), uint64_t(uintptr_t(pool_.memory())),
                        pool_.memory_bytes());
    }
  }
  const bool shared = lease_.is_shared();
  lease_.end(taken_away);  // the driver frees what it holds, which gives the frames back
  gone_.store(true);
  stats_ = last;
  if (registered_) rte_extmem_unregister(pool_.memory(), pool_.memory_bytes());
  mapped_ = registered_ = false;
  if (shared) headers_ = nullptr;  // the device's, for whoever has the queue next
}

}  // namespace millrace::dpdk
