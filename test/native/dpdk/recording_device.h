// SPDX-License-Identifier: MIT
// Stands in for a card: writes down every rule as text, refuses what a test tells it to.
#pragma once

#include <rte_errno.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "steer/rte_flow/flow_device.h"

namespace millrace::steer {

std::string print_rule(const rte_flow_attr& attributes, const rte_flow_item* items,
                       const rte_flow_action* actions);

// Outlives the device, which the steering owns.
struct Recording {
  std::vector<std::string> log;              // "validate ...", "create ...", "destroy ..."
  std::map<rte_flow*, std::string> present;  // in the card now
  std::function<const char*(const std::string& rule)> refuse_validate = [](auto&) {
    return nullptr;
  };
  std::function<const char*(const std::string& rule)> refuse_create = [](auto&) { return nullptr; };
  std::map<rte_flow*, uint64_t> hits;  // packets that a rule has taken
  uintptr_t next = 1;

  std::string rules() const {
    std::string text;
    for (const auto& [handle, rule] : present) text += rule + "\n";
    return text;
  }
};

class RecordingDevice final : public FlowDevice {
 public:
  explicit RecordingDevice(Recording& recording) : recording_(recording) {}
  int validate(const rte_flow_attr& attributes, const rte_flow_item* items,
               const rte_flow_action* actions, rte_flow_error& error) override {
    const std::string rule = print_rule(attributes, items, actions);
    recording_.log.push_back("validate " + rule);
    error.message = recording_.refuse_validate(rule);
    return error.message ? -ENOTSUP : 0;
  }
  rte_flow* create(const rte_flow_attr& attributes, const rte_flow_item* items,
                   const rte_flow_action* actions, rte_flow_error& error) override {
    const std::string rule = print_rule(attributes, items, actions);
    recording_.log.push_back("create " + rule);
    error.message = recording_.refuse_create(rule);
    if (error.message) {
      rte_errno = ENOSPC;
      return nullptr;
    }
    auto* handle = reinterpret_cast<rte_flow*>(recording_.next++);
    recording_.present[handle] = rule;
    return handle;
  }
  int destroy(rte_flow* flow, rte_flow_error&) override {
    recording_.log.push_back("destroy " + recording_.present.at(flow));
    recording_.present.erase(flow);
    return 0;
  }
  int query(rte_flow* flow, rte_flow_query_count& out, rte_flow_error&) override {
    // A card refuses to tell of a rule that it was not asked to count.
    if (recording_.present.at(flow).find(" count") == std::string::npos) return -ENOTSUP;
    const auto hits = recording_.hits.find(flow);
    out.hits_set = out.bytes_set = 1;
    out.hits = hits == recording_.hits.end() ? 0 : hits->second;
    out.bytes = 100 * out.hits;
    return 0;
  }

 private:
  Recording& recording_;
};

}  // namespace millrace::steer
