// SPDX-License-Identifier: MIT
#include "steer/xdp_detach.h"

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

namespace millrace::steer {
namespace {

struct DetachRequest {
  nlmsghdr header;
  ifinfomsg link;
  nlattr xdp;
  nlattr fd_header;
  int32_t fd;
  nlattr flags_header;
  uint32_t flags;
};

int detach_mode(int socket, uint32_t ifindex, uint32_t mode) {
  DetachRequest request{};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = RTM_SETLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  request.link.ifi_index = int(ifindex);
  request.xdp.nla_len = uint16_t(sizeof(request) - offsetof(DetachRequest, xdp));
  request.xdp.nla_type = IFLA_XDP | NLA_F_NESTED;
  request.fd_header = {sizeof(nlattr) + sizeof(int32_t), IFLA_XDP_FD};
  request.fd = -1;
  request.flags_header = {sizeof(nlattr) + sizeof(uint32_t), IFLA_XDP_FLAGS};
  request.flags = mode;
  if (send(socket, &request, sizeof(request), 0) < 0) return -errno;
  struct {
    nlmsghdr header;
    nlmsgerr error;
    char rest[512];
  } answer{};
  if (recv(socket, &answer, sizeof(answer), 0) < 0) return -errno;
  return answer.header.nlmsg_type == NLMSG_ERROR ? answer.error.error : -EPROTO;
}

}  // namespace

int detach_xdp(uint32_t ifindex) {
  const int socket = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (socket < 0) return -errno;
  const int native = detach_mode(socket, ifindex, XDP_FLAGS_DRV_MODE);
  const int generic = detach_mode(socket, ifindex, XDP_FLAGS_SKB_MODE);
  close(socket);
  // A driver without native XDP refuses to be asked; then the generic mode's answer counts.
  return generic < 0 && native < 0 ? generic : 0;
}

}  // namespace millrace::steer
