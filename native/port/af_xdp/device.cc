// SPDX-License-Identifier: MIT
#include "port/af_xdp/device.h"

#include <dirent.h>
#include <linux/ethtool.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace millrace::af_xdp {
namespace {

void set_unknown_interface(const char* interface, SetupError& error) {
  char names[200] = "";
  size_t used = 0;
  if (struct if_nameindex* list = if_nameindex()) {
    for (const struct if_nameindex* i = list; i->if_index != 0; ++i) {
      const int n =
          std::snprintf(names + used, sizeof(names) - used, "%s%s", used ? ", " : "", i->if_name);
      if (n < 0 || used + size_t(n) >= sizeof(names)) break;
      used += size_t(n);
    }
    if_freenameindex(list);
  }
  error.set(ENODEV, "there is no network interface \"%.32s\"; there are: %s", interface, names);
}

// One ioctl on the interface; true on success.
bool ask(int fd, const char* interface, unsigned long request, ifreq& r) {
  std::strncpy(r.ifr_name, interface, IFNAMSIZ - 1);
  r.ifr_name[IFNAMSIZ - 1] = '\0';
  return ioctl(fd, request, &r) == 0;
}

template <typename Command>
bool ask_ethtool(int fd, const char* interface, uint32_t number, Command& command) {
  command.cmd = number;
  ifreq r{};
  r.ifr_data = reinterpret_cast<char*>(&command);
  return ask(fd, interface, SIOCETHTOOL, r);
}

// For drivers without channels: the queues that sysfs shows. 0 when it shows none (another
// namespace's).
uint32_t count_sysfs_queues(const char* interface, std::string_view prefix) {
  char path[64];
  std::snprintf(path, sizeof(path), "/sys/class/net/%.15s/queues", interface);
  DIR* dir = opendir(path);
  if (!dir) return 0;
  uint32_t count = 0;
  while (const dirent* entry = readdir(dir)) {
    count += std::string_view(entry->d_name).substr(0, prefix.size()) == prefix;
  }
  closedir(dir);
  return count;
}

void query_queues(int fd, const char* interface, Device& device) {
  ethtool_channels channels{};
  if (ask_ethtool(fd, interface, ETHTOOL_GCHANNELS, channels)) {
    device.rx_queues = channels.combined_count + channels.rx_count;
    device.tx_queues = channels.combined_count + channels.tx_count;
  } else {
    device.rx_queues = count_sysfs_queues(interface, "rx-");
    device.tx_queues = count_sysfs_queues(interface, "tx-");
  }
  device.rx_queues = std::max(device.rx_queues, 1u);
  device.tx_queues = std::max(device.tx_queues, 1u);
}

// Asks for the link and reads one attribute of the answer. Nothing is known when that fails.
void query_qdisc(Device& device) {
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) return;
  struct {
    nlmsghdr header{};
    ifinfomsg link{};
  } request;
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = RTM_GETLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.link.ifi_index = int(device.ifindex);
  alignas(nlmsghdr) char answer[16384];
  ssize_t bytes = -1;
  if (send(fd, &request, sizeof(request), 0) == ssize_t(sizeof(request))) {
    bytes = recv(fd, answer, sizeof(answer), 0);  // answered before send() returns
  }
  close(fd);
  const auto* header = reinterpret_cast<const nlmsghdr*>(answer);
  if (bytes < 0 || !NLMSG_OK(header, size_t(bytes)) || header->nlmsg_type != RTM_NEWLINK) return;
  int left = int(header->nlmsg_len) - int(NLMSG_LENGTH(sizeof(ifinfomsg)));
  const auto* link = static_cast<const ifinfomsg*>(NLMSG_DATA(header));
  for (const rtattr* a = IFLA_RTA(link); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
    if (a->rta_type != IFLA_QDISC) continue;
    std::snprintf(device.qdisc, sizeof(device.qdisc), "%.*s", int(RTA_PAYLOAD(a)),
                  static_cast<const char*>(RTA_DATA(a)));
  }
}

}  // namespace

bool query_device(const char* interface, Device& device, SetupError& error) {
  device = Device{};
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    error.set(errno, "cannot open a socket: %s", std::strerror(errno));
    return false;
  }
  ifreq index{};
  if (std::strlen(interface) >= IFNAMSIZ || !ask(fd, interface, SIOCGIFINDEX, index)) {
    set_unknown_interface(interface, error);
    ::close(fd);
    return false;
  }
  device.ifindex = uint32_t(index.ifr_ifindex);
  ifreq address{}, mtu{}, flags{};
  const bool asked = ask(fd, interface, SIOCGIFHWADDR, address) &&
                     ask(fd, interface, SIOCGIFMTU, mtu) && ask(fd, interface, SIOCGIFFLAGS, flags);
  const int code = errno;
  if (asked) {
    ethtool_drvinfo driver{};
    if (ask_ethtool(fd, interface, ETHTOOL_GDRVINFO, driver)) {
      std::memcpy(device.driver, driver.driver, sizeof(device.driver));
      device.driver[sizeof(device.driver) - 1] = '\0';
    }
    query_queues(fd, interface, device);
  }
  close(fd);
  if (!asked) {
    error.set(code, "cannot query \"%s\": %s", interface, std::strerror(code));
    return false;
  }
  if (address.ifr_hwaddr.sa_family != ARPHRD_ETHER) {
    error.set(EINVAL, "\"%s\" is not an Ethernet interface (type %u)", interface,
              unsigned(address.ifr_hwaddr.sa_family));
    return false;
  }
  std::memcpy(device.mac.data(), address.ifr_hwaddr.sa_data, device.mac.size());
  device.mtu_bytes = uint32_t(mtu.ifr_mtu);
  device.up = flags.ifr_flags & IFF_UP;
  query_qdisc(device);
  return true;
}

bool Device::checksums_may_be_partial(bool native) const {
  using namespace std::string_view_literals;
  const std::string_view name(driver);
  // Native virtio_net switches the offload off while an XDP program is attached; generic mode does
  // not.
  if (name == "virtio_net"sv) return !native;
  static constexpr std::string_view kVirtual[] = {"veth",   "netkit",  "tun",  "bridge", "macvlan",
                                                  "ipvlan", "bonding", "team", "vxlan",  "dummy"};
  return std::find(std::begin(kVirtual), std::end(kVirtual), name) != std::end(kVirtual);
}

}  // namespace millrace::af_xdp
