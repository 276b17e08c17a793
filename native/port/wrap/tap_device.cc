// SPDX-License-Identifier: MIT
#include "port/wrap/tap_device.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/close_fd.h"

namespace millrace {
namespace {

void set(const char* family, const char* interface, const char* name, const char* value) {
  char path[128];
  std::snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, interface, name);
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;  // no IPv6 here
  static_cast<void>(!::write(fd, value, std::strlen(value)));
  ::close(fd);
}

void set_quiet(const char* interface) {
  set("ipv6", interface, "addr_gen_mode", "1");  // IN6_ADDR_GEN_MODE_NONE
  set("ipv6", interface, "accept_ra", "0");
  set("ipv6", interface, "router_solicitations", "0");
}

ifreq request_for(const char* name) {
  ifreq request{};
  std::snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
  return request;
}

// An interface that stayed has it from the last time. To set it anew would make the kernel forget
// all neighbours there, those that somebody wrote down too (NETDEV_CHANGEADDR).
bool has_address(int fd, const char* interface, const uint8_t mac[6]) {
  ifreq request = request_for(interface);
  return ioctl(fd, SIOCGIFHWADDR, &request) == 0 &&
         std::memcmp(request.ifr_hwaddr.sa_data, mac, 6) == 0;
}

}  // namespace

bool TapDevice::open(const Settings& settings, SetupError& error) {
  if (attach(settings, error) && configure(settings, error)) return true;
  close();
  return false;
}

bool TapDevice::attach(const Settings& settings, SetupError& error) {
  fd_ = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd_ < 0) {
    error.set(errno, "cannot open /dev/net/tun for the kernel's share of the packets: %s",
              std::strerror(errno));
    return false;
  }
  ifreq request = request_for(settings.name);
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  if (ioctl(fd_, TUNSETIFF, &request) != 0) {
    error.set(errno, "cannot make the tap interface %s: %s%s", settings.name, std::strerror(errno),
              errno == EPERM ? " (missing CAP_NET_ADMIN)" : "");
    return false;
  }
  std::memcpy(name_, request.ifr_name, sizeof(name_) - 1);
  ifindex_ = if_nametoindex(name_);
  return true;
}

bool TapDevice::configure(const Settings& settings, SetupError& error) {
  if (settings.quiet) {
    set_quiet(name_);
    loosen_reverse_path();
  }
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq mac = request_for(name_), mtu = request_for(name_), flags = request_for(name_);
  mac.ifr_hwaddr.sa_family = ARPHRD_ETHER;
  std::memcpy(mac.ifr_hwaddr.sa_data, settings.mac, 6);
  mtu.ifr_mtu = int(settings.mtu_bytes);
  bool done = fd >= 0 &&
              (has_address(fd, name_, settings.mac) || ioctl(fd, SIOCSIFHWADDR, &mac) == 0) &&
              ioctl(fd, SIOCSIFMTU, &mtu) == 0 && ioctl(fd, SIOCGIFFLAGS, &flags) == 0;
  flags.ifr_flags |= IFF_UP;
  done = done && ioctl(fd, SIOCSIFFLAGS, &flags) == 0;
  if (!done)
    error.set(errno, "cannot set up the tap interface %s: %s", name_, std::strerror(errno));
  if (fd >= 0) ::close(fd);
  return done;
}

void TapDevice::close() {
  close_fd(fd_);
}

// The larger of this value and the one for all interfaces holds: 2 (loose) wins over 1 (strict). An
// interface without an address drops everything by either (fib_validate_source()), so this one has
// one, which no packet ever bears: of the scope of this host, it is no source for anybody.
void TapDevice::loosen_reverse_path() {
  constexpr uint8_t kNobodys[] = {127, 64, 0, 1};
  set("ipv4", name_, "rp_filter", "2");
  static_cast<void>(add_address(kNobodys, 32, RT_SCOPE_HOST));
}

int TapDevice::add_address(std::span<const uint8_t> address, uint8_t prefix_length, uint8_t scope) {
  struct {
    nlmsghdr header;
    ifaddrmsg message;
    rtattr attribute;
    uint8_t address[16];
  } request{};
  const size_t n = address.size();
  request.header.nlmsg_len = uint32_t(NLMSG_LENGTH(sizeof(ifaddrmsg)) + RTA_LENGTH(n));
  request.header.nlmsg_type = RTM_NEWADDR;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
  request.message.ifa_family = n == 4 ? AF_INET : AF_INET6;
  request.message.ifa_prefixlen = prefix_length;
  request.message.ifa_flags = n == 4 ? 0 : IFA_F_NODAD;
  request.message.ifa_scope = scope;
  request.message.ifa_index = ifindex_;
  request.attribute.rta_len = uint16_t(RTA_LENGTH(n));
  request.attribute.rta_type = IFA_LOCAL;
  std::memcpy(request.address, address.data(), n);
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) return -errno;
  struct {
    nlmsghdr header;
    nlmsgerr error;
    char rest[512];
  } answer{};
  int result = -EPROTO;
  if (send(fd, &request, request.header.nlmsg_len, 0) < 0 ||
      recv(fd, &answer, sizeof(answer), 0) < 0) {
    result = -errno;
  } else if (answer.header.nlmsg_type == NLMSG_ERROR) {
    result = answer.error.error;
  }
  ::close(fd);
  return result == -EEXIST ? 0 : result;
}

bool TapDevice::write(std::span<const uint8_t> frame) {
  return ::write(fd_, frame.data(), frame.size()) == ssize_t(frame.size());
}

size_t TapDevice::read(std::span<uint8_t> into) {
  const ssize_t n = ::read(fd_, into.data(), into.size());
  return n > 0 ? size_t(n) : 0;
}

}  // namespace millrace
