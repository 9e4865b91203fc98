#include "kernels/emulator/block.h"

#include <algorithm>
#include <cstring>

#include "engine/error.h"
#include "engine/hash.h"
#include "kernels/emulator/async.h"
#include "kernels/emulator/counters.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)
#define ASAN_UNPOISON_MEMORY_REGION(address, size)
#endif

namespace tapescope::emulator {
namespace {

constexpr std::size_t kRedZone = 64;            // bytes behind each shared array
constexpr unsigned char kRedMark = 0xA7;        // what they hold
constexpr std::size_t kWindow = 256 << 10;      // room for the arrays and their red zones
constexpr std::size_t kWindowAlignment = 1024;  // eight rows of the widest swizzle
char dynamic_key;

std::string_view file_name(const char* path) {
  const std::string_view text(path);
  return text.substr(text.rfind('/') + 1);
}

std::string describe(const Site& site) {
  return fmt::format("{} at {}:{}", site.what, file_name(site.file), site.line);
}

std::string where(const Thread& thread) {
  switch (thread.state) {
    case Thread::State::done:
      return "has left the kernel";
    case Thread::State::ready:
      return "is still running";
    case Thread::State::barrier:
    case Thread::State::collective:
    case Thread::State::condition:
      break;
  }
  return fmt::format("waits in {}", describe(thread.site));
}

std::string name_of(const Thread& thread) {
  return fmt::format("thread ({}, {}, {})", thread.index.x, thread.index.y, thread.index.z);
}

}  // namespace

Block::Block(bool concurrent) : concurrent_(concurrent) {}
Block::~Block() = default;

Async& Block::async() {
  const auto lock = locked();
  if (async_ == nullptr) async_ = std::make_unique<Async>(*this);
  return *async_;
}

bool Block::land_copies(std::uint64_t round, bool stuck) {
  return async_ != nullptr && async_->land(round, stuck);
}

unsigned char* Block::shared_bytes(unsigned address, std::size_t bytes) {
  unsigned char* const from = window_ + address;
  const auto lock = locked();
  for (const Array& array : arrays_) {
    if (from >= array.data && from + bytes <= array.data + array.bytes) return from;
  }
  return nullptr;
}

void Block::fault(const Thread& thread, const std::string& text) const {
  throw failure("[{}] block ({}, {}, {}) {}: {}", grid_->kernel, index_.x, index_.y, index_.z,
                name_of(thread), text);
}

void Block::begin(const Grid& grid, std::int64_t number) {
  if (counting) begin_block();
  grid_ = &grid;
  const auto plane = static_cast<std::int64_t>(grid.blocks.x) * grid.blocks.y;
  index_ = {static_cast<unsigned>(number % grid.blocks.x),
            static_cast<unsigned>(number % plane / grid.blocks.x),
            static_cast<unsigned>(number / plane)};
  const dim3 t = grid.threads;
  threads_.resize(std::size_t{t.x} * t.y * t.z);
  for (unsigned i = 0; i < threads_.size(); ++i) {
    Thread& thread = threads_[i];
    thread.index = {i % t.x, i / t.x % t.y, i / t.x / t.y};
    thread.number = i;
    thread.block = this;
    thread.copies.clear();
    thread.groups = 0;
    thread.phases.clear();
    thread.state = Thread::State::ready;
  }
  arrays_.clear();
  used_ = static_bytes_ = 0;
  if (memory_.empty()) {
    memory_.resize(kWindow + kWindowAlignment);
    const auto start = reinterpret_cast<std::uintptr_t>(memory_.data());
    window_ = memory_.data() + (kWindowAlignment - start % kWindowAlignment) % kWindowAlignment;
  }
  if (async_ != nullptr) async_->begin();
  ASAN_POISON_MEMORY_REGION(memory_.data(), memory_.size());
}

void Block::end() {
  if (counting) end_block();
  ASAN_UNPOISON_MEMORY_REGION(memory_.data(), memory_.size());
  if (async_ != nullptr) async_->end();
  for (const Array& array : arrays_) {
    for (std::size_t i = 0; i < kRedZone; ++i) {
      if (array.data[array.bytes + i] == kRedMark) continue;
      throw failure(
          "[{}] block ({}, {}, {}): a thread wrote {} bytes past the end of the shared array '{}' "
          "of {} bytes; AddressSanitizer (--preset asan) names the line",
          grid_->kernel, index_.x, index_.y, index_.z, i, array.name, array.bytes);
    }
  }
}

void* Block::take(const void* key, std::size_t bytes, std::size_t alignment, const char* name) {
  for (const Array& array : arrays_) {
    if (array.key == key) return array.data;
  }
  // 16 at least: vectors and cp.async want it, and CUDA gives it to whole arrays.
  const std::size_t step = std::max<std::size_t>(alignment, 16);
  used_ = (used_ + step - 1) / step * step;  // the window is aligned to the widest
  unsigned char* data = window_ + used_;
  used_ += bytes + kRedZone;
  if (used_ > kWindow) {
    fault(*current, fmt::format("shared array '{}' of {} bytes does not fit", name, bytes));
  }
  arrays_.push_back({key, data, bytes, name});
  ASAN_UNPOISON_MEMORY_REGION(data, bytes + kRedZone);
  std::memset(data, 0xFF, bytes);
  std::memset(data + bytes, kRedMark, kRedZone);
  ASAN_POISON_MEMORY_REGION(data + bytes, kRedZone);
  return data;
}

void* Block::shared(const void* key, std::size_t bytes, std::size_t alignment, const char* name) {
  const auto lock = locked();
  for (const Array& array : arrays_) {
    if (array.key == key) return array.data;
  }
  static_bytes_ += bytes;
  if (static_bytes_ > kMaxStaticShared) {
    fault(*current, fmt::format("'{}' brings the shared arrays of fixed size to {} bytes; CUDA "
                                "allows {}, more must be dynamic",
                                name, static_bytes_, kMaxStaticShared));
  }
  if (static_bytes_ + grid_->dynamic_shared_bytes > grid_->shared_limit) {
    fault(*current, fmt::format("{} bytes of shared memory and {} dynamic ones are more than the "
                                "{} a block may have",
                                static_bytes_, grid_->dynamic_shared_bytes, grid_->shared_limit));
  }
  return take(key, bytes, alignment, name);
}

void* Block::dynamic_shared(std::size_t alignment) {
  const auto lock = locked();
  return take(&dynamic_key, grid_->dynamic_shared_bytes, alignment, "dynamic");
}

void Block::check_mask(const Thread& self, unsigned mask, Site site) const {
  if ((mask >> self.lane() & 1u) == 0) {
    fault(self, fmt::format("calls {} with mask {:#010x}, which leaves out its own lane {}",
                            describe(site), mask, self.lane()));
  }
}

bool Block::try_combine(Thread& self, Combine combine) {
  const std::size_t first = self.number - self.lane();
  void* lanes[kWarpSize] = {};
  for (unsigned lane = 0; lane < kWarpSize; ++lane) {
    if ((self.mask >> lane & 1u) == 0) continue;
    if (first + lane >= threads_.size()) continue;  // a block's last warp may be a partial one
    Thread& other = threads_[first + lane];
    if (other.state != Thread::State::collective || other.mask != self.mask ||
        other.site != self.site) {
      return false;
    }
    lanes[lane] = other.data;
  }
  const unsigned present = static_cast<unsigned>(threads_.size() - first);
  const unsigned exists = present >= kWarpSize ? ~0u : (1u << present) - 1u;
  if (counting) pause_counting();
  combine(lanes, self.mask & exists);
  if (counting) resume_counting(), count_collective(self.site.what);
  for (unsigned lane = 0; lane < kWarpSize; ++lane) {
    if (lanes[lane] != nullptr) threads_[first + lane].state = Thread::State::ready;
  }
  return true;
}

void Block::explain_deadlock() const {
  for (const Thread& thread : threads_) {
    if (thread.state != Thread::State::collective) continue;
    const std::size_t first = thread.number - thread.lane();
    for (unsigned lane = 0; lane < kWarpSize && first + lane < threads_.size(); ++lane) {
      const Thread& other = threads_[first + lane];
      if ((thread.mask >> lane & 1u) == 0) continue;
      if (other.state == Thread::State::collective && other.mask == thread.mask &&
          other.site == thread.site) {
        continue;
      }
      fault(thread, fmt::format("{}, whose mask {:#010x} names lane {}, but {} {}{}", where(thread),
                                thread.mask, lane, name_of(other), where(other),
                                other.state == Thread::State::collective
                                    ? fmt::format(" with mask {:#010x}", other.mask)
                                    : ""));
    }
  }
  // One waits because another does: all of them are told, each kind once.
  const Thread* first = nullptr;
  std::vector<std::string> told;
  std::string text;
  for (const Thread& thread : threads_) {
    if (thread.state != Thread::State::condition) continue;
    const std::string why = fmt::format("{} for ever: {}", where(thread),
                                        thread.condition.missing(thread.condition.data));
    if (std::find(told.begin(), told.end(), why) != told.end()) continue;
    told.push_back(why);
    text += first == nullptr ? why : fmt::format("; {} {}", name_of(thread), why);
    if (first == nullptr) first = &thread;
  }
  if (first != nullptr) fault(*first, text);
  for (const Thread& thread : threads_) {
    if (thread.state != Thread::State::barrier) continue;
    for (const Thread& other : threads_) {
      if (other.state == Thread::State::barrier && other.site == thread.site) continue;
      fault(thread, fmt::format("{}, but {} {}: every thread of a block must reach the same "
                                "barrier",
                                where(thread), name_of(other), where(other)));
    }
  }
  throw failure("[{}] block ({}, {}, {}): nobody can go on", grid_->kernel, index_.x, index_.y,
                index_.z);
}

void make_order(std::vector<unsigned>& order, std::size_t count, std::uint64_t round) {
  order.resize(count);
  for (unsigned i = 0; i < count; ++i) order[i] = i;
  const Schedule s = schedule();
  if (s.order == Order::reverse) {
    for (unsigned i = 0; i < count; ++i) order[i] = static_cast<unsigned>(count) - 1 - i;
  } else if (s.order == Order::shuffled) {
    std::uint64_t state = mix(s.seed, round);
    for (std::size_t i = count; i > 1; --i) {
      state = mix(state);
      std::swap(order[i - 1], order[state % i]);
    }
  }
}

}  // namespace tapescope::emulator
