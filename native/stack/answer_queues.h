// SPDX-License-Identifier: MIT
// By which receive queues of a shared interface the answers to a connection will come, if that can
// be known: a local port is then chosen so that they come by one of this stack's own. Where it is
// not known, or was wrong, answers find their way all the same, more slowly (steer/steering.h).
#pragma once

#include <string>
#include <vector>

#include "base/time.h"
#include "port/af_xdp/rss.h"
#include "wire/ip_address.h"

namespace millrace {

class AnswerQueues {
 public:
  virtual ~AnswerQueues() = default;
  // False: every port is as good as another. Holds until the next time.
  virtual bool known(Instant now) = 0;
  virtual bool is_ours(const wire::FlowKey& flow) const = 0;
};

// From the device's RSS settings, which may be changed while we run.
class RssAnswerQueues final : public AnswerQueues {
 public:
  RssAnswerQueues(std::string interface, std::vector<uint32_t> own_queues)
      : interface_(std::move(interface)), own_queues_(std::move(own_queues)) {}
  bool known(Instant now) override;
  bool is_ours(const wire::FlowKey& flow) const override;

 private:
  const std::string interface_;
  const std::vector<uint32_t> own_queues_;
  af_xdp::Rss rss_;
  Instant asked_at_{};
  bool asked_ = false;
};

}  // namespace millrace
