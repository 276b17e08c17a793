// SPDX-License-Identifier: MIT
// What a wrapper that looks into packets says of itself: the wrapped port's facts, without the
// offloads of sending, so that it is given packets complete and one in each frame.
#pragma once

#include <string>

#include "port/port.h"

namespace millrace {

class CompletePackets {
 public:
  explicit CompletePackets(const PortInfo& inner) : info_(inner) {
    const SendOffloads& offloads = inner.offloads;
    if (!offloads.checksums && !offloads.segments_v4 && !offloads.segments_v6) return;
    mode_ = std::string(inner.mode) + ", but packets are looked into: software does that instead";
    info_.mode = mode_.c_str();
    info_.offloads = {};
  }
  CompletePackets(const CompletePackets&) = delete;
  CompletePackets& operator=(const CompletePackets&) = delete;
  const PortInfo& info() const { return info_; }

 private:
  std::string mode_;
  PortInfo info_;
};

}  // namespace millrace
