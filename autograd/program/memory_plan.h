// Where in one arena each intermediate value lies, from when it is needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tapescope {

// A buffer that is written at step `first` and read for the last time at step `last`.
struct BufferLife {
  std::size_t bytes = 0;
  int first = 0;
  int last = 0;
  std::size_t offset = 0;  // the answer, a multiple of 256
};

// What a buffer of so many bytes takes.
std::size_t aligned_bytes(std::size_t bytes);

// Gives every buffer an offset such that two that live at the same step do not overlap, and returns
// the arena's size. Greedy by size: the largest buffer first, each at the lowest gap that holds it
// (Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020).
std::size_t plan_memory(std::span<BufferLife> buffers);

// No arena can be smaller than what lives at the busiest step.
std::size_t memory_lower_bound(std::span<const BufferLife> buffers);

}  // namespace tapescope
