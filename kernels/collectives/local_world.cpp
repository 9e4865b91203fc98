#include "kernels/collectives/local_world.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <ctime>

#include "engine/error.h"
#include "kernels/collectives/tree.h"

namespace tapescope {

struct LocalWorld::Header {
  static constexpr std::uint64_t kMagic = 0x7461706573636f31;  // of this layout
  std::uint64_t magic;
  std::uint32_t ranks;
  std::atomic<std::int32_t> launcher;
  std::atomic<std::uint32_t> lost;  // 0: none; rank + 1, and kSilent
};

// Of one rank, on cache lines of its own (processors fetch two at a time).
struct alignas(128) LocalWorld::Line {
  std::atomic<std::uint32_t> arrivals;
  std::atomic<std::uint32_t> sleepers;  // who may sleep on `arrivals`; too many costs a call
  std::atomic<std::int32_t> process;
  alignas(64) SegmentNote notes[2];
};

namespace {

constexpr std::uint32_t kSilent = 1u << 31;
constexpr std::size_t kPage = 4096;
static_assert(std::atomic<std::uint32_t>::is_always_lock_free, "shared between processes");

static_assert(sizeof(std::atomic<std::uint32_t>) == 4, "a futex");

}  // namespace

std::size_t LocalWorld::slots_begin(int ranks) {
  const std::size_t end = kPage + static_cast<std::size_t>(ranks) * sizeof(Line);
  return (end + kPage - 1) / kPage * kPage;
}

std::size_t LocalWorld::bytes_of(int ranks) {
  return slots_begin(ranks) + static_cast<std::size_t>(ranks) * 2 * kSegment;
}

int LocalWorld::create(int ranks) {
  expect_rank_count(ranks);
  const std::size_t bytes = bytes_of(ranks);
  const int descriptor = ::memfd_create("tapescope-ranks", MFD_CLOEXEC);
  // The memory itself, now: where it is short, a touch later on would be a SIGBUS.
  const int error =
      descriptor < 0 ? errno : ::posix_fallocate(descriptor, 0, static_cast<off_t>(bytes));
  if (error != 0) {
    if (descriptor >= 0) ::close(descriptor);
    throw failure("{} bytes that {} ranks share cannot be had ({}); start fewer ranks", bytes,
                  ranks, std::strerror(error));
  }
  Header header{};
  header.magic = Header::kMagic;
  header.ranks = static_cast<std::uint32_t>(ranks);
  if (::pwrite(descriptor, &header, sizeof header, 0) != sizeof header) {
    const int reason = errno;
    ::close(descriptor);
    throw failure("the memory that ranks share cannot be written: {}", std::strerror(reason));
  }
  return descriptor;
}

LocalWorld::LocalWorld(int descriptor, int ranks) : ranks_(ranks) {
  expect_rank_count(ranks);
  const std::size_t bytes = bytes_of(ranks);
  struct stat status {};
  if (::fstat(descriptor, &status) != 0 || static_cast<std::size_t>(status.st_size) != bytes) {
    throw usage_error(
        "descriptor {} is not the memory of {} ranks; only the program that starts ranks sets "
        "TAPESCOPE_RANK, TAPESCOPE_RANKS and TAPESCOPE_WORLD_FD: unset them",
        descriptor, ranks);
  }
  void* const found = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (found == MAP_FAILED) {
    throw failure("the {} bytes that ranks share cannot be mapped: {}", bytes,
                  std::strerror(errno));
  }
  header_ = static_cast<Header*>(found);
  if (header_->magic != Header::kMagic || header_->ranks != static_cast<std::uint32_t>(ranks)) {
    ::munmap(found, bytes);
    throw usage_error(
        "the memory of descriptor {} was made by another version of tapescope, or is of another "
        "number of ranks than {}; start all ranks by one program",
        descriptor, ranks);
  }
}

LocalWorld::~LocalWorld() { ::munmap(header_, bytes_of(ranks_)); }

LocalWorld::Line& LocalWorld::line(int rank) const {
  return reinterpret_cast<Line*>(reinterpret_cast<char*>(header_) + kPage)[rank];
}

char* LocalWorld::slot(int rank, unsigned buffer) const {
  return reinterpret_cast<char*>(header_) + slots_begin(ranks_) +
         (static_cast<std::size_t>(rank) * 2 + buffer) * kSegment;
}

SegmentNote& LocalWorld::note(int rank, unsigned buffer) const { return line(rank).notes[buffer]; }

void LocalWorld::set_launcher(int process) { header_->launcher.store(process); }
int LocalWorld::launcher() const { return header_->launcher.load(); }

void LocalWorld::enter(int rank) {
  std::int32_t nobody = 0;
  if (!line(rank).process.compare_exchange_strong(nobody, ::getpid())) {
    throw failure("process {} is rank {} already; start each rank once", nobody, rank);
  }
}

int LocalWorld::process_of(int rank) const { return line(rank).process.load(); }

bool LocalWorld::lives(int rank) const {
  const int process = process_of(rank);
  if (process == 0 || process == ::getpid()) return true;
  const int descriptor = static_cast<int>(::syscall(SYS_pidfd_open, process, 0));
  if (descriptor < 0) return errno != ESRCH && (::kill(process, 0) == 0 || errno != ESRCH);
  pollfd ended{descriptor, POLLIN, 0};
  const bool has_ended = ::poll(&ended, 1, 0) == 1;
  ::close(descriptor);
  return !has_ended;
}

std::uint32_t LocalWorld::arrivals(int rank) const {
  return line(rank).arrivals.load(std::memory_order_acquire);
}

void LocalWorld::arrive(int rank) {
  Line& own = line(rank);
  // In one order with the sleeper's two steps: it sees this arrival, or is seen here.
  own.arrivals.fetch_add(1, std::memory_order_seq_cst);
  if (own.sleepers.load(std::memory_order_seq_cst) == 0) return;
  ::syscall(SYS_futex, &own.arrivals, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void LocalWorld::sleep_until_more(int rank, std::uint32_t seen, std::int64_t nanoseconds) {
  Line& other = line(rank);
  const timespec most{static_cast<std::time_t>(nanoseconds / 1'000'000'000),
                      static_cast<long>(nanoseconds % 1'000'000'000)};
  other.sleepers.fetch_add(1, std::memory_order_seq_cst);
  ::syscall(SYS_futex, &other.arrivals, FUTEX_WAIT, seen, &most, nullptr, 0);
  other.sleepers.fetch_sub(1, std::memory_order_relaxed);
}

void LocalWorld::tell_lost(LostRank lost) {
  std::uint32_t none = 0;
  header_->lost.compare_exchange_strong(
      none, static_cast<std::uint32_t>(lost.rank + 1) | (lost.silent ? kSilent : 0));
}

LostRank LocalWorld::lost() const {
  const std::uint32_t word = header_->lost.load();
  return {static_cast<int>(word & ~kSilent) - 1, (word & kSilent) != 0};
}

}  // namespace tapescope
