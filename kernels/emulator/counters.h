// What kernels do to memory, counted while they run on the emulator: how often a warp asks, for how
// many bytes, how many pieces of memory that touches, and where shared memory has to be asked more
// than once.
//
// A kernel takes part whose file is compiled with the compiler's hooks at loads and stores
// (CMake: link tapescope::counters). They are ThreadSanitizer's; in place of its library stands
// hooks.cpp. Of other files' kernels only barriers and collectives are counted.
#pragma once

#include <cstdint>
#include <span>

#include "engine/thread_pool.h"

namespace tapescope::emulator {

// Sums over all blocks of all launches. One access of a warp is what its lanes do at one place of
// the program, the k-th time each comes there, as a GPU issues it where lanes stay together.
struct Counters {
  // Global memory.
  std::uint64_t loads = 0, stores = 0;                  // accesses of warps
  std::uint64_t bytes_read = 0, bytes_written = 0;      // that threads asked for
  std::uint64_t sectors_read = 0, sectors_written = 0;  // pieces of 32 bytes, which is what moves
  // Shared memory: 32 banks of 4 bytes, at most 128 bytes a pass.
  std::uint64_t shared_accesses = 0;  // of warps
  std::uint64_t shared_passes = 0;    // how often memory was asked for them
  std::uint64_t bank_conflicts = 0;   // passes beyond those that their bytes need
  // Meetings.
  std::uint64_t barriers = 0;    // of blocks
  std::uint64_t shuffles = 0;    // and votes, of warps
  std::uint64_t multiplies = 0;  // matrix multiply-adds, of warps

  std::uint64_t bytes_moved() const { return 32 * (sectors_read + sectors_written); }
  friend bool operator==(const Counters&, const Counters&) = default;
};

// Memory that counts as global: operands, results, workspaces. All else that is not shared (a
// thread's own variables, arguments) costs no access.
struct Range {
  const void* begin;
  std::size_t bytes;
};

// Counts what `launches` does, with threads as fibers. Not to be called from within itself, nor
// from two threads at once.
Counters count(std::span<const Range> global, FunctionRef<void()> launches);

// --- for the emulator and hooks.cpp ---

class Block;
// Whether somebody counts; all that a launch pays where nobody does.
inline bool counting = false;
// One access of the running thread at the program's place `at`.
void count_access(const void* address, std::size_t bytes, bool write, const void* at);
// What a copy by tensor map reads of global memory in one row.
void count_bulk_read(const void* address, std::size_t bytes);
void count_collective(const char* what);
void count_barrier();
// What happens between them is the emulator's own work.
void pause_counting();
void resume_counting();
// A block begins; all its threads are done, and its accesses are put together.
void begin_block();
void end_block();

}  // namespace tapescope::emulator
