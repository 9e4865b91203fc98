// Copies by tensor map: when they land, what they bring, and what threads may see of it.
#include <cstring>

#include "engine/error.h"
#include "engine/hash.h"
#include "kernels/emulator/async.h"
#include "kernels/emulator/counters.h"
#include "kernels/emulator/mbarrier.h"

namespace tapescope::emulator {
namespace {

constexpr std::size_t kWindow = 256 << 10;  // shared addresses have 18 bits

}  // namespace

void Async::begin() {
  copies_.clear();
  for (Group& group : groups_) {
    group.meeting.arrived = 0;
    group.sums.clear();
    group.asked.clear();
    group.committed = group.wanted = group.finished = 0;
    group.fenced = false;
  }
  if (!view_.empty()) std::memset(view_.data(), 0xFF, view_.size());
}

void Async::end() {
  for (unsigned g = 0; g < groups_.size(); ++g) {
    if (groups_[g].asked.empty()) continue;
    groups_[g].asked.clear();
    block_.fault(block_.all_threads()[g * kGroupSize],
                 "left the kernel before its wgmmas were committed and waited for");
  }
  if (copies_.empty()) return;
  const Thread& asker = block_.all_threads()[copies_.front().thread];
  copies_.clear();
  block_.fault(asker,
               "asked for a copy by tensor map that was still under way when the block ended: "
               "somebody must wait for it");
}

void Async::publish() {
  if (block_.concurrent()) return;  // ThreadSanitizer would see a race in looking at everything
  if (view_.empty()) view_.assign(kWindow, 0xFF);
  block_.for_each_array([&](const unsigned char* data, std::size_t bytes) {
    std::memcpy(view_.data() + block_.shared_address(data), data, bytes);
  });
}

const unsigned char* Async::seen(const Thread& self, unsigned address, std::size_t bytes,
                                 const char* what) {
  const unsigned char* at = block_.shared_bytes(address, bytes);
  if (at == nullptr) {
    block_.fault(self, fmt::format("{}: {} bytes at shared address {:#x} lie in no shared array",
                                   what, bytes, address));
  }
  if (block_.concurrent()) return at;
  if (view_.empty()) view_.assign(kWindow, 0xFF);
  return view_.data() + address;
}

void Async::write(unsigned char* to, const void* from, std::size_t bytes) {
  std::memcpy(to, from, bytes);
  if (!block_.concurrent()) std::memcpy(view_.data() + block_.shared_address(to), from, bytes);
}

bool Async::early() {
  const Schedule s = schedule();
  if (block_.concurrent() || s.order == Order::reverse) return true;
  return s.order == Order::shuffled && (mix(s.seed, ++coins_) & 1u) != 0;
}

void Async::copy(Thread& self, const BulkCopy& copy) {
  const auto bytes = static_cast<std::size_t>(copy.view.bytes());
  const unsigned to = block_.shared_address(copy.to);
  if (!block_.is_shared(copy.to) || block_.shared_bytes(to, bytes) == nullptr) {
    block_.fault(self, fmt::format("a copy of {} bytes does not fit where it is to land", bytes));
  }
  if (to % (copy.view.swizzled ? 1024 : 128) != 0) {
    block_.fault(self,
                 fmt::format("a copy by tensor map lands at shared address {:#x}, which is not "
                             "aligned to {}",
                             to, copy.view.swizzled ? "1024, as its swizzle wants it" : "128"));
  }
  std::uint64_t barrier = kNoBarrier;
  std::memcpy(&barrier, seen(self, block_.shared_address(copy.barrier), 8, "the copy's mbarrier"),
              8);
  if (barrier == kNoBarrier) {
    block_.fault(self,
                 "asks for a copy whose mbarrier was initialised, but not made known to the async "
                 "proxy: publish_barriers() is missing");
  }
  const std::vector<unsigned char> nan(bytes, 0xFF);
  write(copy.to, nan.data(), bytes);
  if (early()) {
    land(copy);
  } else {
    copies_.push_back(copy);
  }
}

bool Async::land(std::uint64_t round, bool stuck) {
  // Multiplications first: who did not wait for a copy then reads the NaN that it left.
  for (Group& group : groups_) {
    if (!stuck || group.finished >= group.wanted) continue;
    finish(group);
    return true;
  }
  const Schedule s = schedule();
  bool landed = false;
  std::vector<BulkCopy> kept;
  for (const BulkCopy& copy : copies_) {
    const bool now =
        stuck ? !landed : s.order == Order::shuffled && mix(mix(s.seed, round), ++coins_) % 4 == 0;
    if (now) {
      land(copy);
      landed = true;
    } else {
      kept.push_back(copy);
    }
  }
  copies_ = std::move(kept);
  return landed;
}

// One row of the target: `channels` elements that lie together, or zeros.
void Async::land_row(const BulkCopy& copy, unsigned row, const unsigned char* from,
                     std::int64_t elements) {
  const TensorView& v = copy.view;
  const auto row_bytes = static_cast<std::size_t>(v.im2col ? v.channels : v.box[0]) * 2;
  std::vector<unsigned char> values(row_bytes, 0);
  if (from != nullptr && elements > 0) {
    const std::size_t inside = std::min(row_bytes, static_cast<std::size_t>(elements) * 2);
    std::memcpy(values.data(), from, inside);
    if (counting) count_bulk_read(from, inside);
  }
  const unsigned base = block_.shared_address(copy.to);
  for (std::size_t b = 0; b < row_bytes; b += 16) {
    const unsigned plain = base + row * static_cast<unsigned>(row_bytes) + static_cast<unsigned>(b);
    const unsigned to = v.swizzled ? swizzle_128(plain) : plain;
    write(copy.to + (to - base), values.data() + b, std::min<std::size_t>(16, row_bytes - b));
  }
}

void Async::land(const BulkCopy& copy) {
  const TensorView& v = copy.view;
  const auto* data = static_cast<const unsigned char*>(v.data);
  const auto inside = [&](int d, std::int64_t i) { return i >= 0 && i < v.extent[d]; };
  const std::int64_t first = copy.at[0];
  const std::int64_t together = first < 0 ? 0 : v.extent[0] - first;
  unsigned row = 0;
  if (v.im2col) {
    std::int64_t w = copy.at[1], h = copy.at[2], n = copy.at[3];
    for (int pixel = 0; pixel < v.pixels; ++pixel) {
      const std::int64_t x = w + copy.offset_w, y = h + copy.offset_h;
      const bool there = inside(1, x) && inside(2, y) && inside(3, n);
      land_row(
          copy, row++,
          there ? data + x * v.stride[1] + y * v.stride[2] + n * v.stride[3] + first * 2 : nullptr,
          together);
      w += v.step_w;
      if (w <= v.extent[1] - 1 + v.upper_w) continue;
      w = v.lower_w;
      h += v.step_h;
      if (h <= v.extent[2] - 1 + v.upper_h) continue;
      h = v.lower_h;
      ++n;
    }
  } else {
    int i[5] = {};
    for (bool more = true; more;) {
      bool there = true;
      std::int64_t at = first * 2;
      for (int d = 1; d < v.rank; ++d) {
        const std::int64_t place = copy.at[d] + i[d];
        there = there && inside(d, place);
        at += place * v.stride[d];
      }
      land_row(copy, row++, there ? data + at : nullptr, together);
      more = false;
      for (int d = 1; d < v.rank && !more; ++d) {
        if (++i[d] < v.box[d]) {
          more = true;
        } else {
          i[d] = 0;
        }
      }
    }
  }
  mbarrier_complete(block_.all_threads()[copy.thread], copy.barrier,
                    static_cast<unsigned>(v.bytes()));
}

}  // namespace tapescope::emulator
