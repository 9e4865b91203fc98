// Memory: one pool per device, counted by purpose.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/device.h"

namespace tapescope {

enum class Purpose : std::uint8_t { parameter, activation, gradient, workspace, data };
constexpr int kPurposes = 5;
std::string_view name_of(Purpose purpose);

// A ref-counted block of device memory. Held through StorageRef only.
struct Storage {
  void* data = nullptr;
  std::size_t bytes = 0;     // what was asked for
  std::size_t capacity = 0;  // what the pool handed out
  Device device;
  Purpose purpose = Purpose::activation;
  const char* label = "";  // interned: who asked, for out-of-memory reports
  std::atomic<int> references{1};
  Storage* previous = nullptr;  // list of live blocks, kept by the allocator
  Storage* next = nullptr;
};

// Shared ownership of a Storage: one pointer.
class StorageRef {
 public:
  StorageRef() = default;
  explicit StorageRef(Storage* owned) : storage_(owned) {}
  StorageRef(const StorageRef& other) : storage_(other.storage_) { retain(); }
  StorageRef(StorageRef&& other) noexcept : storage_(other.storage_) { other.storage_ = nullptr; }
  StorageRef& operator=(StorageRef other) noexcept {
    std::swap(storage_, other.storage_);
    return *this;
  }
  ~StorageRef() { release(); }
  Storage* get() const { return storage_; }
  Storage* operator->() const { return storage_; }
  explicit operator bool() const { return storage_ != nullptr; }

 private:
  void retain() {
    if (storage_ != nullptr) storage_->references.fetch_add(1, std::memory_order_relaxed);
  }
  void release();
  Storage* storage_ = nullptr;
};

// A pointer that stays valid for the life of the process; equal texts give equal pointers.
const char* intern(std::string_view text);

struct MemoryUse {
  std::array<std::size_t, kPurposes> bytes{};  // live now, by Purpose
  std::size_t live = 0;                        // their sum
  std::size_t peak = 0;                        // highest `live` since the last reset_peak
  std::size_t pooled = 0;                      // freed blocks the pool keeps for reuse
  std::uint64_t blocks_from_system = 0;        // how often the system had to be asked, ever
};

// The pool of one device. Safe to use from several threads; lives as long as the process.
class Allocator {
 public:
  static Allocator& of(Device device);
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  // At least `bytes` bytes aligned to 64, contents undefined. Throws a failure on out of memory
  // that names the bytes asked for, the use by purpose, the five largest live blocks with their
  // labels, and what to try.
  StorageRef allocate(std::size_t bytes, Purpose purpose, const char* label = "");

  MemoryUse use() const;
  void reset_peak();
  // Gives what the pool keeps for reuse back to the system.
  void trim();
  // Refuses to let live memory pass this many bytes (0: no limit). TAPESCOPE_MEMORY_LIMIT sets it
  // at start.
  void set_limit(std::size_t bytes);

 private:
  friend class StorageRef;
  struct Pool;
  explicit Allocator(Device device);
  void free(Storage* storage);
  Pool* const pool_;
};

}  // namespace tapescope
