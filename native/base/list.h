// SPDX-License-Identifier: MIT
// Intrusive circular doubly linked list: no allocation, O(1) removal from the middle. An element
// derives from ListNode<Tag>; one tag per list that it can be on at the same time.
#pragma once

#include "base/assert.h"

namespace millrace {

template <typename Tag>
struct ListNode {
  ListNode* prev = nullptr;
  ListNode* next = nullptr;
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  bool linked() const { return next != nullptr; }
  void unlink() {
    if (!linked()) return;
    prev->next = next;
    next->prev = prev;
    prev = next = nullptr;
  }
};

template <typename T, typename Tag>
class List {
  using Node = ListNode<Tag>;

 public:
  List() { head_.prev = head_.next = &head_; }
  List(const List&) = delete;
  List& operator=(const List&) = delete;
  bool empty() const { return head_.next == &head_; }
  void push_back(T* item) { insert(head_.prev, item); }
  void push_front(T* item) { insert(&head_, item); }
  T* front() { return empty() ? nullptr : cast(head_.next); }
  T* back() { return empty() ? nullptr : cast(head_.prev); }
  T* pop_front() {
    T* item = front();
    if (item) static_cast<Node*>(item)->unlink();
    return item;
  }
  // Next element after `item`, or null at the end.
  T* next(T* item) {
    Node* n = static_cast<Node*>(item)->next;
    return n == &head_ ? nullptr : cast(n);
  }
  // Moves every element of `other` to the end of this list.
  void splice_back(List& other) {
    if (other.empty()) return;
    Node* first = other.head_.next;
    Node* last = other.head_.prev;
    first->prev = head_.prev;
    head_.prev->next = first;
    last->next = &head_;
    head_.prev = last;
    other.head_.prev = other.head_.next = &other.head_;
  }

 private:
  static T* cast(Node* n) { return static_cast<T*>(n); }
  void insert(Node* after, T* item) {
    Node* n = static_cast<Node*>(item);
    MR_ASSERT(!n->linked());
    n->prev = after;
    n->next = after->next;
    after->next->prev = n;
    after->next = n;
  }
  Node head_;
};

}  // namespace millrace
