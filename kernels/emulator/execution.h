// The CUDA execution model on the CPU: what is launched, and in which order it runs. Kernels see
// the model through emulator/cuda.h; this is what lies beneath.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/emulated_runtime.h"
#include "engine/thread_pool.h"

namespace tapescope::emulator {

struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

constexpr unsigned kWarpSize = 32;
constexpr unsigned kMaxThreads = 1024;                 // a block
constexpr std::size_t kMaxSharedBytes = 99 << 10;      // a block: what every GPU since sm_80 offers
constexpr std::size_t kHopperSharedBytes = 227 << 10;  // a block: what sm_90 offers
constexpr std::size_t kMaxStaticShared = 48 << 10;     // declared with a fixed size

// In which order the threads of a block run between two points where they meet, and the blocks of
// a grid. A correct kernel gives the same bits in all of them.
enum class Order : std::uint8_t { forward, reverse, shuffled };

struct Schedule {
  // fibers: every CUDA thread of a block is a fiber of one CPU thread, several blocks at a time.
  // os_threads: every CUDA thread is a thread of the operating system, one block at a time, which
  // is what ThreadSanitizer can watch. Slow.
  enum class Kind : std::uint8_t { fibers, os_threads } kind = Kind::fibers;
  Order order = Order::forward;
  std::uint64_t seed = 0;  // of shuffled
};
// What launches use from now on. At start TAPESCOPE_EMULATOR = forward | reverse | shuffled:SEED |
// os_threads; where it is not set forward fibers, or OS threads in a build for ThreadSanitizer.
void set_schedule(Schedule schedule);
Schedule schedule();

struct Grid {
  std::string_view kernel;  // its name, for reports
  dim3 blocks, threads;
  std::size_t dynamic_shared_bytes;
  FunctionRef<void()> body;  // the kernel: called once per thread
  std::size_t shared_limit = kMaxSharedBytes;
};
// Runs all of it before returning. Throws a failure that names kernel, block and thread where the
// execution model is violated.
void run(const Grid& grid);
// How often it was called.
std::uint64_t launches();
// Where it is set, `run` adds each kernel's name. Not for several threads that launch.
extern std::vector<std::string_view>* launched_kernels;

}  // namespace tapescope::emulator
