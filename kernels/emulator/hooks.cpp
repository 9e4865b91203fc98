// What a file calls at its loads and stores that is compiled with -fsanitize=thread, where not
// ThreadSanitizer's library but this is linked: each goes to the emulator's counters.
#include <cstdint>

#include "kernels/emulator/counters.h"

namespace {

void seen(const void* address, std::size_t bytes, bool write, const void* at) {
  if (tapescope::emulator::counting) {
    tapescope::emulator::count_access(address, bytes, write, at);
  }
}

}  // namespace

#define TAPESCOPE_HOOK(name, bytes, write)                                     \
  extern "C" __attribute__((noinline)) void __tsan_##name(const void* where) { \
    seen(where, bytes, write, __builtin_return_address(0));                    \
  }
#define TAPESCOPE_HOOKS(bytes)                        \
  TAPESCOPE_HOOK(read##bytes, bytes, false)           \
  TAPESCOPE_HOOK(write##bytes, bytes, true)           \
  TAPESCOPE_HOOK(unaligned_read##bytes, bytes, false) \
  TAPESCOPE_HOOK(unaligned_write##bytes, bytes, true) \
  TAPESCOPE_HOOK(volatile_read##bytes, bytes, false)  \
  TAPESCOPE_HOOK(volatile_write##bytes, bytes, true)
TAPESCOPE_HOOKS(1)
TAPESCOPE_HOOKS(2)
TAPESCOPE_HOOKS(4)
TAPESCOPE_HOOKS(8)
TAPESCOPE_HOOKS(16)

extern "C" {
void __tsan_read_range(const void* where, std::size_t bytes) {
  seen(where, bytes, false, __builtin_return_address(0));
}
void __tsan_write_range(const void* where, std::size_t bytes) {
  seen(where, bytes, true, __builtin_return_address(0));
}
void __tsan_init() {}
void __tsan_func_entry(const void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
}

// Atomics are asked for in place of made: read, and written where the function changes something.
#define TAPESCOPE_ATOMIC_UPDATE(bits, name)                                                        \
  extern "C" std::uint##bits##_t __tsan_atomic##bits##_##name(volatile std::uint##bits##_t* where, \
                                                              std::uint##bits##_t value, int) {    \
    seen(const_cast<std::uint##bits##_t*>(where), bits / 8, true, __builtin_return_address(0));    \
    return __atomic_##name(where, value, __ATOMIC_SEQ_CST);                                        \
  }
#define TAPESCOPE_ATOMIC_EXCHANGE(bits, name, weak)                                             \
  extern "C" int __tsan_atomic##bits##_compare_exchange_##name(                                 \
      volatile std::uint##bits##_t* where, std::uint##bits##_t* expected,                       \
      std::uint##bits##_t value, int, int) {                                                    \
    seen(const_cast<std::uint##bits##_t*>(where), bits / 8, true, __builtin_return_address(0)); \
    return __atomic_compare_exchange_n(where, expected, value, weak, __ATOMIC_SEQ_CST,          \
                                       __ATOMIC_SEQ_CST);                                       \
  }
#define TAPESCOPE_ATOMICS(bits)                                                                 \
  extern "C" std::uint##bits##_t __tsan_atomic##bits##_load(                                    \
      const volatile std::uint##bits##_t* where, int) {                                         \
    seen(const_cast<const std::uint##bits##_t*>(where), bits / 8, false,                        \
         __builtin_return_address(0));                                                          \
    return __atomic_load_n(where, __ATOMIC_SEQ_CST);                                            \
  }                                                                                             \
  extern "C" void __tsan_atomic##bits##_store(volatile std::uint##bits##_t* where,              \
                                              std::uint##bits##_t value, int) {                 \
    seen(const_cast<std::uint##bits##_t*>(where), bits / 8, true, __builtin_return_address(0)); \
    __atomic_store_n(where, value, __ATOMIC_SEQ_CST);                                           \
  }                                                                                             \
  extern "C" std::uint##bits##_t __tsan_atomic##bits##_exchange(                                \
      volatile std::uint##bits##_t* where, std::uint##bits##_t value, int) {                    \
    seen(const_cast<std::uint##bits##_t*>(where), bits / 8, true, __builtin_return_address(0)); \
    return __atomic_exchange_n(where, value, __ATOMIC_SEQ_CST);                                 \
  }                                                                                             \
  TAPESCOPE_ATOMIC_UPDATE(bits, fetch_add)                                                      \
  TAPESCOPE_ATOMIC_UPDATE(bits, fetch_sub)                                                      \
  TAPESCOPE_ATOMIC_UPDATE(bits, fetch_and)                                                      \
  TAPESCOPE_ATOMIC_UPDATE(bits, fetch_or)                                                       \
  TAPESCOPE_ATOMIC_UPDATE(bits, fetch_xor)                                                      \
  TAPESCOPE_ATOMIC_EXCHANGE(bits, strong, false)                                                \
  TAPESCOPE_ATOMIC_EXCHANGE(bits, weak, true)
TAPESCOPE_ATOMICS(8)
TAPESCOPE_ATOMICS(16)
TAPESCOPE_ATOMICS(32)
TAPESCOPE_ATOMICS(64)
