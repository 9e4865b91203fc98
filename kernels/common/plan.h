// What every kernel family hands out: a prepared kernel.
#pragma once

#include <cstddef>
#include <new>
#include <string_view>
#include <type_traits>
#include <utility>

#include "engine/queue.h"

namespace tapescope {

// The memory a prepared kernel works on. What the operands and outputs are, and in which order,
// is said in the header of each family; an optional operand may be null.
struct Buffers {
  const void* const* in;         // one pointer per operand
  void* const* out;              // one pointer per output
  void* workspace;               // Plan::workspace_bytes() bytes, aligned to 256 on a GPU, to 64 on the CPU
  const void* packed = nullptr;  // what Plan::pack() made of operand 1, where it was kept
};

// What a kernel makes of its operand 1, the weights, and can keep while they stay the same. Layout
// and weights say all about the bytes. A run without them makes them in its workspace's last bytes.
struct Packing {
  std::string_view layout;
  std::size_t bytes = 0;
};

// A kernel made ready for one shape: the variant is chosen, library objects are built, the
// workspace is known. run() allocates nothing, never synchronises and can be repeated. A Plan
// stores its closure in place, so preparing an element-wise kernel costs no allocation.
class Plan {
 public:
  static constexpr std::size_t kCapacity = 240;

  Plan() = default;
  // `body(const Queue&, const Buffers&)` does the work; `variant` outlives the plan (a literal).
  // With a packing, body.pack(const Queue&, const void* weights, void* packed) makes it.
  template <class F>
  Plan(std::string_view variant, std::size_t workspace_bytes, F body, Packing packing = {})
      : variant_(variant), workspace_bytes_(workspace_bytes), packing_(packing) {
    static_assert(sizeof(F) <= kCapacity && alignof(F) <= 16, "hold large state by pointer");
    static_assert(std::is_nothrow_move_constructible_v<F>);
    new (state_) F(std::move(body));
    run_ = [](const void* state, const Queue& queue, const Buffers& buffers) {
      (*static_cast<const F*>(state))(queue, buffers);
    };
    if constexpr (requires { &F::pack; }) {
      pack_ = [](const void* state, const Queue& queue, const void* weights, void* packed) {
        static_cast<const F*>(state)->pack(queue, weights, packed);
      };
    }
    if constexpr (!std::is_trivially_copyable_v<F>) {
      relocate_ = [](void* to, void* from) {
        if (to != nullptr) new (to) F(std::move(*static_cast<F*>(from)));
        static_cast<F*>(from)->~F();
      };
    }
  }
  Plan(Plan&& other) noexcept { take(other); }
  Plan& operator=(Plan&& other) noexcept {
    if (this != &other) {
      clear();
      take(other);
    }
    return *this;
  }
  ~Plan() { clear(); }

  void run(const Queue& queue, const Buffers& buffers) const { run_(state_, queue, buffers); }
  std::size_t workspace_bytes() const { return workspace_bytes_; }
  const Packing& packing() const { return packing_; }
  void pack(const Queue& queue, const void* weights, void* packed) const {
    pack_(state_, queue, weights, packed);
  }
  std::string_view variant() const { return variant_; }
  explicit operator bool() const { return run_ != nullptr; }

 private:
  void clear() {
    if (relocate_ != nullptr) relocate_(nullptr, state_);
    relocate_ = nullptr;
    run_ = nullptr;
  }
  void take(Plan& other) {
    variant_ = other.variant_;
    workspace_bytes_ = other.workspace_bytes_;
    packing_ = other.packing_;
    pack_ = other.pack_;
    run_ = std::exchange(other.run_, nullptr);
    relocate_ = std::exchange(other.relocate_, nullptr);
    if (relocate_ != nullptr) {
      relocate_(state_, other.state_);
    } else if (run_ != nullptr) {
      __builtin_memcpy(state_, other.state_, kCapacity);
    }
  }

  alignas(16) unsigned char state_[kCapacity];
  std::string_view variant_;
  std::size_t workspace_bytes_ = 0;
  Packing packing_;
  void (*run_)(const void*, const Queue&, const Buffers&) = nullptr;
  void (*pack_)(const void*, const Queue&, const void* weights, void* packed) = nullptr;
  void (*relocate_)(void* to, void* from) = nullptr;  // null: the state is plain bytes
};

}  // namespace tapescope
