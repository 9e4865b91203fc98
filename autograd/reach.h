// Which nodes of a tape lead to which.
#pragma once

#include <span>
#include <vector>

#include "autograd/node.h"

namespace tapescope {

// Which operands are followed.
enum class Through : std::uint8_t {
  derivatives,  // those that gradients and relevance flow through
  everything,   // those whose shape alone is read as well
};

inline bool passes(Role role) {
  return role == Role::signal || role == Role::weight || role == Role::bias;
}

// By index: whether the node is one of `from` or depends on one.
std::vector<bool> reached_from(const Tape& tape, std::span<const Var> from, Through through);
// By index: whether the node is one of `to` or leads to one.
std::vector<bool> leading_to(const Tape& tape, std::span<const Var> to, Through through);

// By index: whether the node lies on a way from one of `from` to one of `to`, ends included.
std::vector<bool> between(const Tape& tape, std::span<const Var> from, std::span<const Var> to,
                          Through through);

}  // namespace tapescope
