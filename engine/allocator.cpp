#include "engine/allocator.h"

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <new>
#include <unordered_set>
#include <vector>

#include "engine/environment.h"
#include "engine/remedy.h"
#include "engine/runtime.h"

#if defined(__SANITIZE_ADDRESS__)
#define TAPESCOPE_POOL_BLOCKS 0  // one malloc per tensor, so that overruns and late reads are seen
#else
#define TAPESCOPE_POOL_BLOCKS 1
#endif

namespace tapescope {
namespace {

constexpr std::size_t kAlignment = 64;

// Sizes are rounded up to eighths of a power of two (at most 12.5 % lost), large ones to 64ths, so
// that blocks of nearly one size can stand in for each other.
std::size_t size_class(std::size_t bytes) {
  if (bytes <= kAlignment) return kAlignment;
  const std::size_t parts = bytes < (std::size_t{1} << 20) ? 8 : 64;
  const std::size_t step = std::max(kAlignment, std::bit_floor(bytes) / parts);
  return (bytes + step - 1) / step * step;
}

std::string human(std::size_t bytes) {
  if (bytes < (std::size_t{1} << 20)) return fmt::format("{:.1f} KiB", bytes / 1024.0);
  if (bytes < (std::size_t{1} << 30)) return fmt::format("{:.1f} MiB", bytes / 1048576.0);
  return fmt::format("{:.2f} GiB", bytes / 1073741824.0);
}

}  // namespace

struct Allocator::Pool {
  explicit Pool(Device where) : device(where), runtime(DeviceRuntime::of(where)) {}

  // A block of exactly this size class, from the pool or from the system; null if there is none.
  void* take(std::size_t capacity) {
#if TAPESCOPE_POOL_BLOCKS
    if (auto found = free.find(capacity); found != free.end() && !found->second.empty()) {
      void* data = found->second.back();
      found->second.pop_back();
      use.pooled -= capacity;
      return data;
    }
#endif
    ++use.blocks_from_system;
    if (void* data = runtime.allocate(capacity)) return data;
    release_pool();
    return runtime.allocate(capacity);
  }

  void release_pool() {
    for (auto& [capacity, blocks] : free) {
      for (void* block : blocks) runtime.free(block);
      use.pooled -= capacity * blocks.size();
    }
    free.clear();
  }

  Storage* new_header() {
    if (headers.empty()) return new Storage;
    Storage* header = headers.back();
    headers.pop_back();
    return header;
  }

  ErrorWithRemedy out_of_memory(std::size_t bytes, const char* label) const {
    std::string text = fmt::format("out of memory on {}: {} asked for by '{}' with {} in use",
                                   name_of(device.kind), human(bytes),
                                   *label != '\0' ? label : "unnamed", human(use.live));
    if (limit != 0) text += fmt::format(" of a limit of {}", human(limit));
    text += "\n  in use by purpose:";
    for (int p = 0; p < kPurposes; ++p) {
      text += fmt::format(" {} {}", name_of(static_cast<Purpose>(p)),
                          human(use.bytes[static_cast<std::size_t>(p)]));
    }
    std::vector<const Storage*> blocks;
    for (const Storage* s = live; s != nullptr; s = s->next) blocks.push_back(s);
    const auto shown = std::min<std::ptrdiff_t>(5, static_cast<std::ptrdiff_t>(blocks.size()));
    std::partial_sort(blocks.begin(), blocks.begin() + shown, blocks.end(),
                      [](auto* a, auto* b) { return a->bytes > b->bytes; });
    text += "\n  largest:";
    for (std::ptrdiff_t i = 0; i < shown; ++i) {
      const Storage* s = blocks[static_cast<std::size_t>(i)];
      text += fmt::format("\n    {:>10}  {}  {}", human(s->bytes), name_of(s->purpose),
                          *s->label != '\0' ? s->label : "unnamed");
    }
    text += "\n  try a smaller batch, smaller images or a narrower model";
    return {Remedy::smaller_step, Error(Blame::failure, std::move(text))};
  }

  const Device device;
  DeviceRuntime& runtime;
  mutable std::mutex mutex;
  MemoryUse use;
  std::size_t limit = 0;
  Storage* live = nullptr;
  std::vector<Storage*> headers;                   // headers to use again
  std::map<std::size_t, std::vector<void*>> free;  // by capacity
};

Allocator::Allocator(Device device) : pool_(new Pool(device)) {
  pool_->limit = number_from_environment("TAPESCOPE_MEMORY_LIMIT", 0, SIZE_MAX).value_or(0);
}

StorageRef Allocator::allocate(std::size_t bytes, Purpose purpose, const char* label) {
  Pool& p = *pool_;
  const std::lock_guard<std::mutex> lock(p.mutex);
  const std::size_t capacity = size_class(bytes);
  if (p.limit != 0 && p.use.live + capacity > p.limit) throw p.out_of_memory(bytes, label);
  void* data = p.take(capacity);
  if (data == nullptr) throw p.out_of_memory(bytes, label);
  Storage* storage = p.new_header();
  storage->data = data;
  storage->bytes = bytes;
  storage->capacity = capacity;
  storage->device = p.device;
  storage->purpose = purpose;
  storage->label = label;
  storage->references.store(1, std::memory_order_relaxed);
  storage->previous = nullptr;
  storage->next = p.live;
  if (p.live != nullptr) p.live->previous = storage;
  p.live = storage;
  p.use.bytes[static_cast<std::size_t>(purpose)] += capacity;
  p.use.live += capacity;
  p.use.peak = std::max(p.use.peak, p.use.live);
  return StorageRef(storage);
}

void Allocator::free(Storage* storage) {
  Pool& p = *pool_;
  const std::lock_guard<std::mutex> lock(p.mutex);
  if (storage->previous != nullptr) storage->previous->next = storage->next;
  if (storage->next != nullptr) storage->next->previous = storage->previous;
  if (p.live == storage) p.live = storage->next;
  p.use.bytes[static_cast<std::size_t>(storage->purpose)] -= storage->capacity;
  p.use.live -= storage->capacity;
#if TAPESCOPE_POOL_BLOCKS
  p.free[storage->capacity].push_back(storage->data);
  p.use.pooled += storage->capacity;
#else
  p.runtime.free(storage->data);
#endif
  p.headers.push_back(storage);
}

MemoryUse Allocator::use() const {
  const std::lock_guard<std::mutex> lock(pool_->mutex);
  return pool_->use;
}
void Allocator::reset_peak() {
  const std::lock_guard<std::mutex> lock(pool_->mutex);
  pool_->use.peak = pool_->use.live;
}
void Allocator::trim() {
  const std::lock_guard<std::mutex> lock(pool_->mutex);
  pool_->release_pool();
}
void Allocator::set_limit(std::size_t bytes) {
  const std::lock_guard<std::mutex> lock(pool_->mutex);
  pool_->limit = bytes;
}

std::string_view name_of(Purpose purpose) {
  constexpr std::string_view names[] = {"parameter", "activation", "gradient", "workspace", "data"};
  return names[static_cast<std::size_t>(purpose)];
}

void StorageRef::release() {
  if (storage_ == nullptr) return;
  if (storage_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    Allocator::of(storage_->device).free(storage_);
  }
}

const char* intern(std::string_view text) {
  static std::mutex mutex;
  static auto* texts = new std::unordered_set<std::string>;  // never freed: labels outlive statics
  const std::lock_guard<std::mutex> lock(mutex);
  return texts->emplace(text).first->c_str();
}

Allocator& Allocator::of(Device device) {
  // Never destroyed: tensors in static storage may outlive any order of destruction.
  static auto* cpu = new Allocator(Device::cpu());
  if (device.kind == DeviceKind::cpu) return *cpu;
  if (device.kind == DeviceKind::emulated) {
    static auto* emulated = new Allocator(Device::emulated());
    return *emulated;
  }
  static auto* cuda = new Allocator(Device::cuda());
  return *cuda;
}

}  // namespace tapescope
