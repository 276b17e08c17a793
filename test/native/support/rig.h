// SPDX-License-Identifier: MIT
// A veth pair with the steering program and the port on one end and the plain kernel on the other.
#pragma once

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include <cstring>
#include <memory>
#include <vector>

#include "packet/frame_pool.h"
#include "port/af_xdp/af_xdp_port.h"
#include "steer/xdp_steering.h"
#include "support/netns.h"
#include "support/raw_packets.h"

namespace millrace::test {

inline Instant clock_now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return {t.tv_sec * 1'000'000'000 + t.tv_nsec};
}

inline Mac mac_of(const char* interface) {
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  ifreq r{};
  strncpy(r.ifr_name, interface, IFNAMSIZ - 1);
  ioctl(fd, SIOCGIFHWADDR, &r);
  close(fd);
  Mac mac;
  memcpy(mac.data(), r.ifr_hwaddr.sa_data, 6);
  return mac;
}

struct Rig {
  explicit Rig(unsigned queues = 1, steer::XdpMode mode = steer::XdpMode::kAuto,
               uint32_t frames = 2048, AfXdpOptions options = {},
               steer::XdpSteeringOptions tables = {})
      : veth(queues), pool(frames, 2048) {
    if (!veth.ok) return;
    {
      Inside there(veth.there);
      there_mac = mac_of(VethPair::kThere);
      packet_fd = socket(AF_PACKET, SOCK_RAW, 0);
      sockaddr_ll address{};
      address.sll_family = AF_PACKET;
      address.sll_protocol = htons(ETH_P_ALL);
      address.sll_ifindex = int(if_nametoindex(VethPair::kThere));
      if (bind(packet_fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return;
    }
    Inside here(veth.here);
    here_mac = mac_of(VethPair::kHere);
    tables.mode = mode;
    steering = steer::XdpSteering::open(VethPair::kHere, tables, error);
    if (!steering) return;
    options.native = steering->native();
    port = AfXdpPort::open(VethPair::kHere, pool, options, error);
    if (!port) return;
    bool wired = !steering->set_frame_limit(port->frame_limit_bytes());
    for (uint32_t q = 0; q < port->queues(); ++q)
      wired = wired && !steering->set_queue(port->queue_id(q), port->socket_fd(q));
    for (const char* a : {"10.77.0.1", "fd77::1"}) wired = wired && !steering->add_address(ip(a));
    ok = wired;
  }
  ~Rig() {
    if (packet_fd >= 0) close(packet_fd);
  }

  // Puts a frame on the wire at the other end.
  bool inject(const Bytes& frame) {
    return send(packet_fd, frame.data(), frame.size(), 0) == ssize_t(frame.size());
  }
  bool inject_ip(const Bytes& ip_packet) {
    return inject(ethernet(here_mac, there_mac, ip_packet));
  }

  // The frames that reach the port until `count` have come or `wait_ms` have passed.
  std::vector<Bytes> receive(size_t count, int wait_ms = 2000) {
    std::vector<Bytes> out;
    const Instant end = clock_now() + Duration::millis(wait_ms);
    while (out.size() < count && clock_now() < end) {
      Frame* frames[64];
      const uint32_t n = port->receive(clock_now(), frames);
      for (uint32_t i = 0; i < n; ++i) {
        out.emplace_back(frames[i]->data(), frames[i]->data() + frames[i]->length);
        last_flags = frames[i]->flags;
        last_queue = frames[i]->rx_queue;
        pool.release(frames[i]);
      }
      if (n == 0) {
        pollfd p{port->poll_fd(), POLLIN, 0};
        poll(&p, 1, 10);
      }
    }
    return out;
  }

  // Sends frames through the port, all of them, within `wait_ms`; returns how many were taken.
  size_t transmit(const std::vector<Bytes>& list, int wait_ms = 2000) {
    size_t sent = 0;
    const Instant end = clock_now() + Duration::millis(wait_ms);
    while (sent < list.size() && clock_now() < end) {
      Frame* f = pool.alloc();
      if (f) {
        f->length = uint32_t(list[sent].size());
        memcpy(f->data(), list[sent].data(), f->length);
        Frame* one[] = {f};
        sent += port->transmit(clock_now(), one);
        pool.release(f);
      }
      port->flush(clock_now());
    }
    return sent;
  }

  VethPair veth;
  FramePool pool;
  SetupError error;
  std::unique_ptr<steer::XdpSteering> steering;
  std::unique_ptr<AfXdpPort> port;  // before the pool goes
  Mac here_mac{}, there_mac{};
  int packet_fd = -1;
  uint8_t last_flags = 0, last_queue = 0;
  bool ok = false;
};

}  // namespace millrace::test
