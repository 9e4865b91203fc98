#include "engine/allocator.h"

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <new>
#include <unordered_set>
#include <vector>

#include "engine/environment.h"
#include "engine/runtime.h"

#if defined(__SANITIZE_ADDRESS__)
#define TAPESCOPE_POOL_BLOCKS 0  // one malloc a tensor, so that overruns and late reads are seen
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

class PoolAllocator final : public Allocator {
 public:
  explicit PoolAllocator(Device device) : device_(device), runtime_(DeviceRuntime::of(device)) {
    limit_ = number_from_environment("TAPESCOPE_MEMORY_LIMIT", 0, SIZE_MAX).value_or(0);
  }

  StorageRef allocate(std::size_t bytes, Purpose purpose, const char* label) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    const std::size_t capacity = size_class(bytes);
    if (limit_ != 0 && use_.live + capacity > limit_) throw out_of_memory(bytes, label);
    void* data = take(capacity);
    if (data == nullptr) throw out_of_memory(bytes, label);
    Storage* storage = new_header();
    storage->data = data;
    storage->bytes = bytes;
    storage->capacity = capacity;
    storage->device = device_;
    storage->purpose = purpose;
    storage->label = label;
    storage->references.store(1, std::memory_order_relaxed);
    storage->previous = nullptr;
    storage->next = live_;
    if (live_ != nullptr) live_->previous = storage;
    live_ = storage;
    use_.bytes[static_cast<std::size_t>(purpose)] += capacity;
    use_.live += capacity;
    use_.peak = std::max(use_.peak, use_.live);
    return StorageRef(storage);
  }

  MemoryUse use() const override {
    const std::lock_guard<std::mutex> lock(mutex_);
    return use_;
  }
  void reset_peak() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    use_.peak = use_.live;
  }
  void set_limit(std::size_t bytes) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    limit_ = bytes;
  }
  void trim() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    release_pool();
  }

 private:
  void free(Storage* storage) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (storage->previous != nullptr) storage->previous->next = storage->next;
    if (storage->next != nullptr) storage->next->previous = storage->previous;
    if (live_ == storage) live_ = storage->next;
    use_.bytes[static_cast<std::size_t>(storage->purpose)] -= storage->capacity;
    use_.live -= storage->capacity;
#if TAPESCOPE_POOL_BLOCKS
    free_[storage->capacity].push_back(storage->data);
    use_.pooled += storage->capacity;
#else
    runtime_.free(storage->data);
#endif
    headers_.push_back(storage);
  }

  // A block of exactly this size class, from the pool or from the system; null if there is none.
  void* take(std::size_t capacity) {
#if TAPESCOPE_POOL_BLOCKS
    if (auto found = free_.find(capacity); found != free_.end() && !found->second.empty()) {
      void* data = found->second.back();
      found->second.pop_back();
      use_.pooled -= capacity;
      return data;
    }
#endif
    void* data = from_system(capacity);
    if (data == nullptr && use_.pooled > 0) {
      release_pool();
      data = from_system(capacity);
    }
    return data;
  }

  void* from_system(std::size_t capacity) {
    ++use_.blocks_from_system;
    return runtime_.allocate(capacity);
  }

  void release_pool() {
    for (auto& [capacity, blocks] : free_) {
      for (void* block : blocks) runtime_.free(block);
      use_.pooled -= capacity * blocks.size();
    }
    free_.clear();
  }

  Storage* new_header() {
    if (headers_.empty()) return new Storage;
    Storage* header = headers_.back();
    headers_.pop_back();
    return header;
  }

  Error out_of_memory(std::size_t bytes, const char* label) const {
    std::string text =
        fmt::format("out of memory on {}: {} asked for by '{}'", name_of(device_.kind),
                    human(bytes), *label != '\0' ? label : "unnamed");
    text += fmt::format(" with {} in use", human(use_.live));
    if (limit_ != 0) text += fmt::format(" of a limit of {}", human(limit_));
    text += "\n  in use by purpose:";
    for (int p = 0; p < kPurposes; ++p) {
      text += fmt::format(" {} {}", name_of(static_cast<Purpose>(p)),
                          human(use_.bytes[static_cast<std::size_t>(p)]));
    }
    std::vector<const Storage*> blocks;
    for (const Storage* s = live_; s != nullptr; s = s->next) blocks.push_back(s);
    const auto shown = std::min<std::ptrdiff_t>(5, static_cast<std::ptrdiff_t>(blocks.size()));
    std::partial_sort(blocks.begin(), blocks.begin() + shown, blocks.end(),
                      [](auto* a, auto* b) { return a->bytes > b->bytes; });
    text += "\n  largest:";
    for (std::ptrdiff_t i = 0; i < shown; ++i) {
      const Storage* s = blocks[static_cast<std::size_t>(i)];
      text += fmt::format("\n    {:>10}  {}  {}", human(s->bytes), name_of(s->purpose),
                          *s->label != '\0' ? s->label : "unnamed");
    }
    text += "\n  try a smaller --batch-size, --image-size or --width";
    return Error(Blame::failure, std::move(text));
  }

  const Device device_;
  DeviceRuntime& runtime_;
  mutable std::mutex mutex_;
  MemoryUse use_;
  std::size_t limit_ = 0;
  Storage* live_ = nullptr;
  std::vector<Storage*> headers_;                   // headers to use again
  std::map<std::size_t, std::vector<void*>> free_;  // by capacity
};

}  // namespace

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
  static auto* cpu = new PoolAllocator(Device::cpu());
  if (device.kind == DeviceKind::cpu) return *cpu;
  if (device.kind == DeviceKind::emulated) {
    static auto* emulated = new PoolAllocator(Device::emulated());
    return *emulated;
  }
  static auto* cuda = new PoolAllocator(Device::cuda());
  return *cuda;
}

}  // namespace tapescope
