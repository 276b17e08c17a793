// SPDX-License-Identifier: MIT
// Socket calls of the scripts. "= VALUE" or "= ERRNO" at the end of a statement is what the call
// must return; without it the call must succeed in the usual way.
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "scripts/runner/machine.h"
#include "scripts/runner/names.h"

namespace millrace::scripts {

namespace {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

SocketAddress to_sockaddr(const Address& address, uint16_t port) {
  SocketAddress out;
  if (address.size() == 4) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    std::memcpy(&in.sin_addr, address.data(), 4);
    std::memcpy(&out.storage, &in, out.length = sizeof in);
  } else {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(port);
    std::memcpy(&in.sin6_addr, address.data(), 16);
    std::memcpy(&out.storage, &in, out.length = sizeof in);
  }
  return out;
}

size_t position_of(const std::vector<std::string>& words, const std::string& word) {
  return size_t(std::find(words.begin(), words.end(), word) - words.begin());
}

std::string value_after(const std::vector<std::string>& words, const std::string& key,
                        const std::string& otherwise) {
  const size_t at = position_of(words, key);
  return at + 1 < words.size() ? words[at + 1] : otherwise;
}

}  // namespace

bool Machine::call(const Words& words) {
  std::string text;
  for (const std::string& word : words) text += word + " ";
  note(text);
  return dispatch(words[0], words);
}

bool Machine::dispatch(const std::string& verb, const Words& words) {
  if (verb == "blocked") return depth_ > 0 || fail("no call is waiting any more");
  if (verb == "returned") return depth_ == 0 || fail("the call still waits");
  if (verb == "link") return call_link(words);
  if (verb == "idle") {
    return mrt_next_timer(stack_) == MRT_NEVER || fail("a timer is still running");
  }
  if (words.size() < 2) return fail("what is " + verb + "?");
  if (verb == "sysctl") return call_sysctl(words);
  if (verb == "neighbor") {  // neighbor ADDRESS silent|answers
    const bool answers = words.size() < 3 || words[2] != "silent";
    return mrt_neighbor_set(stack_, words[1].c_str(), answers) == 0 || fail("no such address");
  }
  if (verb == "block") return call_blocking(words);
  if (verb == "socket")
    return open(words[1], words.size() > 2 && words[2] == "udp",
                value_after(words, "flow", "main"));
  if (verb == "listen") return call_listen(words);
  if (verb == "connect") return call_connect(words);
  Sock* s = sock(words[1]);
  if (!s) return fail("no such socket: " + words[1]);
  if (verb == "accept") return call_accept(words);
  if (verb == "write") return call_write(words);
  if (verb == "read") return call_read(words, 0);
  if (verb == "peek") return call_read(words, MSG_PEEK);
  if (verb == "inq") return call_ioctl(words, SIOCINQ);
  if (verb == "outq") return call_ioctl(words, SIOCOUTQ);
  if (verb == "outqnsd") return call_ioctl(words, SIOCOUTQNSD);
  if (verb == "send") return call_send(words);
  if (verb == "receive") return call_receive(words);
  if (verb == "poll") return call_poll(words);
  if (verb == "set") return call_set(words);
  if (verb == "get") return call_get(words);
  if (verb == "info") return call_info(words);
  if (verb == "bind") {
    int64_t port = 0;
    if (!number(value_after(words, words[1], "0"), port)) return false;
    return judge(bind_to(*s, uint16_t(port)) ? 0 : -1, words, 0);
  }
  if (verb == "shutdown") {
    const std::string how = words.size() > 2 ? words[2] : "";
    const int code = how == "read" ? SHUT_RD : how == "write" ? SHUT_WR : SHUT_RDWR;
    return judge(mrt_shutdown(stack_, s->fd, code), words, 0);
  }
  if (verb == "close") {
    const int fd = s->fd;
    socks_.erase(words[1]);
    return judge(mrt_close(stack_, fd), words, 0);
  }
  return fail("what is " + verb + "?");
}

Sock* Machine::sock(const std::string& name) {
  const auto found = socks_.find(name);
  return found == socks_.end() ? nullptr : &found->second;
}

// errno is still that of the call.
bool Machine::judge(ssize_t result, const Words& words, ssize_t usual) {
  const int code = errno;
  const size_t equals = position_of(words, "=");
  const std::string got = result < 0 ? errno_name(code) : std::to_string(result);
  if (equals == words.size()) {
    return result == usual || fail("returned " + got + ", not " + std::to_string(usual));
  }
  if (equals + 1 >= words.size()) return fail("= what?");
  std::string wanted = words[equals + 1];
  if (const size_t bar = wanted.find('|'); bar != std::string::npos) {  // NUMBER|ERRNO: either
    wanted = result < 0 ? wanted.substr(bar + 1) : wanted.substr(0, bar);
  }
  if (is_errno_name(wanted)) return got == wanted || fail("returned " + got + ", not " + wanted);
  std::string difference;
  if (!match_number("the result", wanted, result, difference)) return false;
  if (result < 0) return fail("returned " + got + ", not " + wanted);
  return difference.empty() || fail(difference);
}

// socket NAME tcp|udp [flow F]
bool Machine::open(const std::string& name, bool datagram, const std::string& flow) {
  Flow* f = flow_of(flow);
  if (!f) return fail("no such flow: " + flow);
  if (socks_.count(name)) return fail(name + " is open already");
  const int type = (datagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK;
  const int fd = mrt_socket(stack_, f->host.size() == 4 ? AF_INET : AF_INET6, type, 0);
  if (fd < 0) return fail("socket: " + errno_name(errno));
  const int yes = 1;
  (void)mrt_setsockopt(stack_, fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  socks_[name] = {fd, datagram, f, 0, 0};
  return true;
}

// Port 0: the flow's.
bool Machine::bind_to(Sock& s, uint16_t port) {
  const SocketAddress a = to_sockaddr(s.flow->host, port ? port : s.flow->host_port);
  return mrt_bind(stack_, s.fd, a.get(), a.length) == 0;
}

bool Machine::call_listen(const Words& words) {
  if (!socks_.count(words[1]) && !open(words[1], false, value_after(words, "flow", "main")))
    return false;
  Sock& s = socks_[words[1]];
  sockaddr_storage name;
  socklen_t length = sizeof name;
  (void)mrt_getsockname(stack_, s.fd, reinterpret_cast<sockaddr*>(&name), &length);
  if (reinterpret_cast<const sockaddr_in*>(&name)->sin_port == 0 && !bind_to(s, 0))
    return judge(-1, words, 0);
  int64_t backlog = 0;
  if (!number(value_after(words, "backlog", "128"), backlog)) return false;
  return judge(mrt_listen(stack_, s.fd, int(backlog)), words, 0);
}

// accept LISTENER [as NAME]
bool Machine::call_accept(const Words& words) {
  Sock* listening = sock(words[1]);
  const std::string name = value_after(words, "as", "");
  sockaddr_storage from{};
  socklen_t length = sizeof from;
  const int fd = mrt_accept4(stack_, listening->fd, reinterpret_cast<sockaddr*>(&from), &length,
                             SOCK_NONBLOCK);
  if (name.empty() || fd < 0) return judge(fd < 0 ? -1 : 0, words, 0);
  const uint16_t port = ntohs(reinterpret_cast<const sockaddr_in*>(&from)->sin_port);
  Flow* flow = listening->flow;
  for (auto& [key, f] : flows_) {
    if (f.host_port == listening->flow->host_port && f.peer_port == port) flow = &f;
  }
  if (flow->peer_port != port) return fail("accepted a peer of no flow");
  socks_[name] = {fd, false, flow, 0, 0};
  return judge(0, words, 0);
}

// connect NAME [flow F]: non-blocking; from the flow's port, or one of the stack's choice if that
// is 0.
bool Machine::call_connect(const Words& words) {
  if (!socks_.count(words[1]) && !open(words[1], false, value_after(words, "flow", "main")))
    return false;
  Sock& s = socks_[words[1]];
  if (s.flow->host_port != 0) (void)bind_to(s, 0);  // EINVAL when it is bound already
  const SocketAddress to = to_sockaddr(s.flow->peer, s.flow->peer_port);
  const int result = mrt_connect(stack_, s.fd, to.get(), to.length);
  if (position_of(words, "=") == words.size() && !s.datagram && result < 0 &&
      errno == EINPROGRESS) {
    return true;
  }
  return judge(result, words, 0);
}

// sysctl NAME VALUE ...: before the sockets that it is for.
bool Machine::call_sysctl(const Words& words) {
  std::string value;
  for (size_t i = 2; i < words.size(); ++i) value += (i > 2 ? " " : "") + words[i];
  return mrt_sysctl(stack_, words[1].c_str(), value.c_str()) == 0 ||
         fail("sysctl: " + errno_name(errno));
}

bool Machine::call_ioctl(const Words& words, unsigned long request) {
  int value = 0;
  const int result = mrt_ioctl(stack_, sock(words[1])->fd, request, &value);
  return judge(result < 0 ? -1 : value, words, 0);
}

// write NAME LENGTH [more] [eor]
bool Machine::call_write(const Words& words) {
  Sock& s = *sock(words[1]);
  int64_t length = 0;
  if (words.size() < 3 || !number(words[2], length)) return fail("write NAME LENGTH");
  Bytes bytes(static_cast<size_t>(length));
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = host_byte(s.written_at + i);
  const int flags = (position_of(words, "more") < words.size() ? MSG_MORE : 0) |
                    (position_of(words, "eor") < words.size() ? MSG_EOR : 0);
  const ssize_t n = mrt_send(stack_, s.fd, bytes.data(), bytes.size(), flags);
  const int code = errno;
  if (n > 0) s.written_at += uint64_t(n);
  errno = code;
  return judge(n, words, length);
}

// read NAME LENGTH [all] [discard]: by default exactly so many bytes, and the right ones.
bool Machine::call_read(const Words& words, int flags) {
  const std::string name = words[1];
  int64_t length = 0;
  if (words.size() < 3 || !number(words[2], length)) return fail("read NAME LENGTH");
  Bytes bytes(static_cast<size_t>(length));
  const bool discard = position_of(words, "discard") < words.size();
  if (discard) flags |= MSG_TRUNC;
  if (position_of(words, "all") < words.size()) flags |= MSG_WAITALL;
  const ssize_t n = mrt_recv(stack_, sock(name)->fd, bytes.data(), bytes.size(), flags);
  const int code = errno;
  Sock* s = sock(name);
  if (!s) return fail("the socket is gone");
  for (ssize_t i = 0; i < n && !discard; ++i) {
    if (bytes[size_t(i)] != peer_byte(s->read_at + uint64_t(i))) {
      return fail("byte " + std::to_string(s->read_at + uint64_t(i)) + " of the stream is wrong");
    }
  }
  if (n > 0 && !(flags & MSG_PEEK)) s->read_at += uint64_t(n);
  errno = code;
  return judge(n, words, length);
}

// send NAME LENGTH [flow F]: one datagram, to the peer of the flow or the one connected to.
bool Machine::call_send(const Words& words) {
  Sock& s = *sock(words[1]);
  int64_t length = 0;
  if (words.size() < 3 || !number(words[2], length)) return fail("send NAME LENGTH");
  Bytes bytes(static_cast<size_t>(length));
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = host_byte(i);
  const std::string name = value_after(words, "flow", "");
  Flow* flow = name.empty() ? nullptr : flow_of(name);
  if (!flow) {
    return judge(mrt_send(stack_, s.fd, bytes.data(), bytes.size(), 0), words, length);
  }
  const SocketAddress to = to_sockaddr(flow->peer, flow->peer_port);
  return judge(mrt_sendto(stack_, s.fd, bytes.data(), bytes.size(), 0, to.get(), to.length), words,
               length);
}

// receive NAME LENGTH: one datagram.
bool Machine::call_receive(const Words& words) {
  int64_t length = 0;
  if (words.size() < 3 || !number(words[2], length)) return fail("receive NAME LENGTH");
  Bytes bytes(static_cast<size_t>(length));
  const ssize_t n = mrt_recv(stack_, sock(words[1])->fd, bytes.data(), bytes.size(), MSG_TRUNC);
  const int code = errno;
  for (ssize_t i = 0; i < std::min<ssize_t>(n, length); ++i) {
    if (bytes[size_t(i)] != peer_byte(uint64_t(i))) return fail("the datagram has wrong bytes");
  }
  errno = code;
  return judge(n, words, length);
}

// poll NAME = in out hup err rdhup | none
bool Machine::call_poll(const Words& words) {
  pollfd p{sock(words[1])->fd, POLLIN | POLLOUT | POLLRDHUP, 0};
  if (mrt_poll(stack_, &p, 1, 0) < 0) return fail("poll: " + errno_name(errno));
  const std::string got = poll_names(p.revents);
  std::string wanted;
  for (size_t at = position_of(words, "=") + 1; at < words.size(); ++at) {
    wanted += (wanted.empty() ? "" : " ") + words[at];
  }
  return got == wanted || fail("poll says " + got + ", not " + wanted);
}

// block CALL ...: the call on a blocking socket. While it waits, the script goes on below.
bool Machine::call_blocking(const Words& all) {
  const Words words(all.begin() + 1, all.end());
  if (words.size() < 2) return fail("block CALL NAME ...");
  if (!socks_.count(words[1]) && words[0] == "connect" && !open(words[1], false, "main"))
    return false;
  Sock* s = sock(words[1]);
  if (!s) return fail("no such socket: " + words[1]);
  const int fd = s->fd;
  (void)mrt_fcntl(stack_, fd, F_SETFL, 0);
  const bool good = dispatch(words[0], words);
  if (sock(words[1])) (void)mrt_fcntl(stack_, fd, F_SETFL, O_NONBLOCK);
  return good && problem_.empty();
}

// link up|down|mtu N
bool Machine::call_link(const Words& words) {
  int64_t mtu = options_.mtu_bytes;
  if (words.size() == 3 && words[1] == "mtu" && !number(words[2], mtu)) return false;
  return mrt_link_set(stack_, uint32_t(mtu), words.size() < 2 || words[1] != "down") == 0 ||
         fail("link: " + errno_name(errno));
}

}  // namespace millrace::scripts
