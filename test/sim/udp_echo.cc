// SPDX-License-Identifier: MIT
#include "sim/udp_echo.h"

#include <algorithm>

#include "sim/content.h"
#include "sim/host.h"
#include "sim/world.h"

namespace millrace::sim {

namespace {
constexpr uint16_t kEchoPort = 7;
constexpr uint32_t kReceived = 20;
// Lengths differ from one datagram to the next, so that one cannot pass for another.
constexpr uint32_t kMinBytes = 8;

uint64_t datagram_key(uint64_t seed, uint32_t client, uint32_t datagram) {
  return mix(mix(seed ^ 0x756470) + uint64_t(client) * 100'000 + datagram);
}
}  // namespace

UdpEcho::UdpEcho(World& world, Host& host) : world_(world), host_(host) {}

void UdpEcho::start() {
  udp_ =
      std::make_unique<udp::Udp>(host_.pool(), host_.ip(), *this, udp::Options{.sockets_max = 16});
  host_.ip().set_handler(17, udp_.get());
  auto server = udp_->bind({host_.address(), kEchoPort}, false, 0);
  if (!server) return world_.fail("UDP bind() failed");
  server_ = *server;
  const auto& plans = world_.scenario().udp;
  for (uint32_t i = 0; i < plans.size(); ++i) {
    if (plans[i].client_host != host_.number()) continue;
    Client client;
    client.plan = &plans[i];
    client.number = i;
    client.answered.resize(plans[i].datagrams);
    client.next_at = Instant{} + plans[i].start;
    auto socket = udp_->bind({host_.address(), plans[i].client_port}, false, i + 1);
    if (!socket) return world_.fail("UDP bind() failed");
    client.socket = *socket;
    clients_.push_back(client);
  }
}

uint32_t UdpEcho::length_of(const Client& client, uint32_t datagram) const {
  const uint64_t key = datagram_key(world_.scenario().seed, client.number, datagram);
  return kMinBytes + uint32_t(mix(key) % client.plan->bytes_max);
}

void UdpEcho::serve(Instant now) {
  while (true) {
    const udp::Datagram got = udp_->receive(*server_);
    if (!got.frame) return;
    world_.checker().note(now, kReceived, got.frame->length);
    if (Frame* answer = host_.pool().alloc()) {
      answer->length = std::min<uint32_t>(got.frame->length, uint32_t(answer->tailroom()));
      std::copy_n(got.frame->data(), answer->length, answer->data());
      if (udp_->send(now, *server_, answer, got.from)) ++unanswered_;
    } else {
      ++unanswered_;
    }
    host_.pool().release(got.frame);
  }
}

void UdpEcho::send_next(Instant now, Client& client) {
  if (client.sent == client.plan->datagrams || client.next_at > now) return;
  const uint32_t datagram = client.sent++;
  client.next_at = now + client.plan->interval;
  Frame* frame = host_.pool().alloc();
  if (!frame) {
    ++client.refused;
    return;
  }
  frame->length = length_of(client, datagram);
  fill_content(datagram_key(world_.scenario().seed, client.number, datagram), 0, frame->bytes());
  wire::store32(frame->data(), datagram);
  const wire::IpAddress to = world_.host(client.plan->server_host).address();
  const Error error = udp_->send(now, *client.socket, frame, {to, kEchoPort});
  if (error) ++client.refused;
}

void UdpEcho::receive_answers(Client& client) {
  while (true) {
    const udp::Datagram got = udp_->receive(*client.socket);
    if (!got.frame) return;
    const std::span<const uint8_t> bytes = got.frame->bytes();
    const uint32_t datagram = bytes.size() >= kMinBytes ? wire::load32(bytes.data()) : UINT32_MAX;
    if (!world_.scenario().hostile) {
      const uint64_t key = datagram_key(world_.scenario().seed, client.number, datagram);
      if (datagram >= client.sent || bytes.size() != length_of(client, datagram) ||
          check_content(key, 4, bytes.subspan(4)) != bytes.size() - 4) {
        world_.fail("a datagram came back that was never sent");
      } else if (!client.answered[datagram]) {
        client.answered[datagram] = true;
        ++client.answers;
        world_.progress();
      }
    }
    host_.pool().release(got.frame);
  }
}

void UdpEcho::step(Instant now) {
  if (readable_) {
    readable_ = false;
    serve(now);
    for (Client& client : clients_) receive_answers(client);
  }
  for (Client& client : clients_) send_next(now, client);
}

Instant UdpEcho::next_event() const {
  Instant next = Instant::never();
  for (const Client& client : clients_) {
    if (client.sent < client.plan->datagrams) next = std::min(next, client.next_at);
  }
  return next;
}

bool UdpEcho::done() const {
  for (const Client& client : clients_) {
    if (client.sent < client.plan->datagrams) return false;
    // A datagram past the path's MTU is refused at either end; the small ones all come through, but
    // for those that found the device's ring full.
    const uint32_t unanswered = world_.host(client.plan->server_host).udp_unanswered();
    if (world_.scenario().clean && client.plan->bytes_max <= 64 && client.refused == 0 &&
        client.answers + unanswered < client.plan->datagrams) {
      return false;
    }
  }
  return true;
}

void UdpEcho::close() {
  udp_->close_all();
  udp_.reset();
}

}  // namespace millrace::sim
