// SPDX-License-Identifier: MIT
#include "control/kernel_flows.h"

#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace millrace::control {
namespace {

constexpr uint32_t kClose = 7,
                   kListen = 10;  // TCP_CLOSE (an unconnected UDP socket too), TCP_LISTEN
constexpr uint32_t kConnectedStates = 0xffffffff & ~(1u << kClose | 1u << kListen);

wire::IpAddress address_of(uint8_t family, const __be32* words) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(words);
  return family == AF_INET ? wire::IpAddress::v4_bytes(bytes) : wire::IpAddress::v6_bytes(bytes);
}

}  // namespace

Error KernelFlows::open() {
  return socket_.open(NETLINK_SOCK_DIAG, 0);
}

Error KernelFlows::list(uint8_t protocol, uint16_t local_port, size_t flows_max,
                        std::vector<wire::FlowKey>& out) {
  out.clear();
  for (uint8_t family : {uint8_t(AF_INET), uint8_t(AF_INET6)}) {
    if (Error error = list_family(family, protocol, local_port, flows_max, out)) return error;
  }
  return kOk;
}

Error KernelFlows::list_family(uint8_t family, uint8_t protocol, uint16_t local_port,
                               size_t flows_max, std::vector<wire::FlowKey>& out) {
  const size_t before = out.size();
  bool full = false;
  Error error{EINTR};
  for (int attempt = 0; attempt < kDumpAttempts && error.code == EINTR; ++attempt) {
    out.resize(before);
    inet_diag_req_v2 question{};
    question.sdiag_family = family;
    question.sdiag_protocol = protocol;
    question.idiag_states = kConnectedStates;
    question.id.idiag_sport = htons(local_port);
    NetlinkRequest request(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP);
    request.body(question);
    error = socket_.dump(request, [&](const nlmsghdr& message) {
      const auto* answer = message_body<inet_diag_msg>(message);
      // The kernel filters by port too; an answer is checked all the same.
      if (!answer || ntohs(answer->id.idiag_sport) != local_port || answer->id.idiag_dport == 0)
        return;
      if (out.size() >= flows_max) {
        full = true;
        return;
      }
      out.push_back({{address_of(answer->idiag_family, answer->id.idiag_src), local_port},
                     {address_of(answer->idiag_family, answer->id.idiag_dst),
                      ntohs(answer->id.idiag_dport)}});
    });
  }
  // Without IPv6 in the kernel there are no flows of it.
  if (error.code == ENOENT && family == AF_INET6) error = kOk;
  if (error) return error;
  return full ? Error{ENOBUFS} : kOk;
}

bool KernelFlows::has(const wire::FlowKey& flow) {
  const bool v4 = flow.local.address.is_v4();
  inet_diag_req_v2 question{};
  question.sdiag_family = v4 ? AF_INET : AF_INET6;
  question.sdiag_protocol = IPPROTO_TCP;
  question.idiag_states = kConnectedStates;
  question.id.idiag_sport = htons(flow.local.port);
  question.id.idiag_dport = htons(flow.remote.port);
  const size_t skip = v4 ? 12 : 0;
  std::memcpy(question.id.idiag_src, flow.local.address.data() + skip, 16 - skip);
  std::memcpy(question.id.idiag_dst, flow.remote.address.data() + skip, 16 - skip);
  question.id.idiag_cookie[0] = question.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  // Not a dump: the kernel answers with this one socket, with a listener for want of it, or ENOENT.
  NetlinkRequest request(SOCK_DIAG_BY_FAMILY, 0);
  request.body(question);
  bool found = false;
  const Error error = socket_.ask(request, [&](const nlmsghdr& message) {
    const auto* answer = message_body<inet_diag_msg>(message);
    found = answer && answer->idiag_state != kListen && answer->id.idiag_dport != 0;
  });
  return !error && found;
}

Error KernelFlows::take_gone(uint8_t protocol, uint16_t local_port,
                             std::vector<wire::FlowKey>& known, std::vector<wire::FlowKey>& gone) {
  std::vector<wire::FlowKey> now;
  if (Error error = list(protocol, local_port, SIZE_MAX, now)) return error;
  std::sort(now.begin(), now.end());
  const auto alive = std::stable_partition(
      known.begin(), known.end(),
      [&](const wire::FlowKey& flow) { return std::binary_search(now.begin(), now.end(), flow); });
  gone.insert(gone.end(), alive, known.end());
  known.erase(alive, known.end());
  return kOk;
}

}  // namespace millrace::control
