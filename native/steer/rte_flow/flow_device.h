// SPDX-License-Identifier: MIT
// The rte_flow calls of one device, so that a test can stand in for a card.
#pragma once

#include <rte_flow.h>

namespace millrace::steer {

class FlowDevice {
 public:
  virtual ~FlowDevice() = default;
  // As rte_flow_validate() and the rest: 0 or a negative errno, `error` says why.
  virtual int validate(const rte_flow_attr& attributes, const rte_flow_item* items,
                       const rte_flow_action* actions, rte_flow_error& error) = 0;
  virtual rte_flow* create(const rte_flow_attr& attributes, const rte_flow_item* items,
                           const rte_flow_action* actions, rte_flow_error& error) = 0;
  virtual int destroy(rte_flow* flow, rte_flow_error& error) = 0;
  // What a rule made with an action COUNT has matched.
  virtual int query(rte_flow* flow, rte_flow_query_count& out, rte_flow_error& error) = 0;
};

// The device itself, by its DPDK port number.
class EthernetFlowDevice final : public FlowDevice {
 public:
  explicit EthernetFlowDevice(uint16_t port) : port_(port) {}
  int validate(const rte_flow_attr& attributes, const rte_flow_item* items,
               const rte_flow_action* actions, rte_flow_error& error) override {
    return rte_flow_validate(port_, &attributes, items, actions, &error);
  }
  rte_flow* create(const rte_flow_attr& attributes, const rte_flow_item* items,
                   const rte_flow_action* actions, rte_flow_error& error) override {
    return rte_flow_create(port_, &attributes, items, actions, &error);
  }
  int destroy(rte_flow* flow, rte_flow_error& error) override {
    return rte_flow_destroy(port_, flow, &error);
  }
  int query(rte_flow* flow, rte_flow_query_count& out, rte_flow_error& error) override {
    const rte_flow_action actions[] = {{RTE_FLOW_ACTION_TYPE_COUNT, nullptr},
                                       {RTE_FLOW_ACTION_TYPE_END, nullptr}};
    return rte_flow_query(port_, flow, actions, &out, &error);
  }

 private:
  uint16_t port_;
};

}  // namespace millrace::steer
