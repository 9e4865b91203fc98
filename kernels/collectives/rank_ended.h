// A rank that is gone.
#pragma once

#include "engine/error.h"

namespace tapescope {

// Whoever started the ranks sees the same, and knows more: how it ended.
struct RankEnded : Error {
  RankEnded(int rank, const Error& error) : Error(error), rank(rank) {}
  int rank;
};

}  // namespace tapescope
