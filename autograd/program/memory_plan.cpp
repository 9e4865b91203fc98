#include "autograd/program/memory_plan.h"

#include <algorithm>
#include <numeric>

namespace tapescope {
namespace {
constexpr std::size_t kAlignment = 256;  // cuBLASLt wants it of workspaces
}  // namespace

std::size_t aligned_bytes(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

std::size_t plan_memory(std::span<BufferLife> buffers) {
  std::vector<std::size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return buffers[a].bytes > buffers[b].bytes;
  });
  std::size_t total = 0;
  std::vector<const BufferLife*> placed;  // lowest first
  for (std::size_t i : order) {
    BufferLife& buffer = buffers[i];
    const std::size_t bytes = aligned_bytes(buffer.bytes);
    buffer.offset = 0;
    for (const BufferLife* other : placed) {
      if (other->first > buffer.last || buffer.first > other->last) continue;
      if (buffer.offset + bytes <= other->offset) break;
      buffer.offset = std::max(buffer.offset, other->offset + aligned_bytes(other->bytes));
    }
    total = std::max(total, buffer.offset + bytes);
    const auto lower = [](const BufferLife* a, const BufferLife* b) {
      return a->offset < b->offset;
    };
    if (bytes > 0)
      placed.insert(std::upper_bound(placed.begin(), placed.end(), &buffer, lower), &buffer);
  }
  return total;
}

std::size_t memory_lower_bound(std::span<const BufferLife> buffers) {
  int steps = 0;
  for (const BufferLife& buffer : buffers) steps = std::max(steps, buffer.last + 1);
  std::vector<std::size_t> live(static_cast<std::size_t>(steps), 0);
  for (const BufferLife& buffer : buffers) {
    for (int step = buffer.first; step <= buffer.last; ++step) {
      live[static_cast<std::size_t>(step)] += aligned_bytes(buffer.bytes);
    }
  }
  return live.empty() ? 0 : *std::max_element(live.begin(), live.end());
}

}  // namespace tapescope
