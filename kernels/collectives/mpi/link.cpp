// What libtapescope_mpi.so shows to the program that opens it.
#include <mpi.h>
#include <sched.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <thread>

#include "kernels/collectives/mpi_library.h"

namespace tapescope {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kTag = 7;

std::string words_of(int error) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (MPI_Error_string(error, text, &length) != MPI_SUCCESS)
    return "MPI error " + std::to_string(error);
  return {text, static_cast<std::size_t>(length)};
}

// Calls until they have succeeded or `seconds` are over. MPI's own waiting knows no time-out and
// leaves the processor to nobody: this one looks, then yields, then sleeps.
template <class Done>
bool poll(double seconds, Done done) {
  constexpr double kSlice = 50e-6;
  double slept =
      0;  // only what was waited for; time in which this process was stopped does not count
  const auto look_until = Clock::now() + std::chrono::milliseconds(2);
  for (int look = 0; !done(); ++look) {
    if (look < 64) continue;
    if (Clock::now() < look_until) {
      ::sched_yield();
      continue;
    }
    if (slept > seconds) return false;
    const auto began = Clock::now();
    std::this_thread::sleep_for(std::chrono::duration<double>(kSlice));
    const std::chrono::duration<double> took = Clock::now() - began;
    slept += took.count() < 0.1 ? took.count() : 0.1;
  }
  return true;
}

bool finalized = false;

class MpiLink final : public MessageLink {
 public:
  MpiLink() {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    exceptions_ = std::uncaught_exceptions();
  }
  // MPI_Finalize waits for all. Where a rank ends by an error others would never come: the process
  // then ends without it, and end_process() takes them along.
  ~MpiLink() override {
    if (broken_ || std::uncaught_exceptions() > exceptions_) return;
    MPI_Request all = MPI_REQUEST_NULL;
    if (MPI_Ibarrier(MPI_COMM_WORLD, &all) != MPI_SUCCESS) return;
    constexpr double kPatience = 60;  // seconds
    if (poll(kPatience, [&] { return is_done(all); })) finalized = MPI_Finalize() == MPI_SUCCESS;
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  Heard exchange(int to, const void* sent, std::size_t sent_bytes, int from, void* received,
                 std::size_t received_bytes, double seconds, std::string& why) override {
    if (broken_) {
      why = "an earlier message was lost";
      return Heard::failed;
    }
    const Heard heard =
        try_exchange(to, sent, sent_bytes, from, received, received_bytes, seconds, why);
    broken_ = heard != Heard::yes;
    return heard;
  }

 private:
  static bool is_done(MPI_Request& request) {
    int done = 0;
    return MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS || done != 0;
  }

  static Heard try_exchange(int to, const void* sent, std::size_t sent_bytes, int from,
                            void* received, std::size_t received_bytes, double seconds,
                            std::string& why) {
    MPI_Request requests[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    MPI_Status statuses[2];
    int error = MPI_SUCCESS;
    if (from >= 0) {
      error = MPI_Irecv(received, static_cast<int>(received_bytes), MPI_BYTE, from, kTag,
                        MPI_COMM_WORLD, &requests[0]);
    }
    if (error == MPI_SUCCESS && to >= 0) {
      error = MPI_Isend(sent, static_cast<int>(sent_bytes), MPI_BYTE, to, kTag, MPI_COMM_WORLD,
                        &requests[1]);
    }
    int done = 0;
    const auto finished = [&] {
      if (error == MPI_SUCCESS) error = MPI_Testall(2, requests, &done, statuses);
      return done != 0 || error != MPI_SUCCESS;
    };
    if (!poll(seconds, finished)) return Heard::nothing;
    if (error == MPI_ERR_IN_STATUS && from >= 0) error = statuses[0].MPI_ERROR;
    if (error != MPI_SUCCESS) {
      why = words_of(error);
      return Heard::failed;
    }
    if (from < 0) return Heard::yes;
    int got = 0;
    MPI_Get_count(&statuses[0], MPI_BYTE, &got);
    if (static_cast<std::size_t>(got) == received_bytes) return Heard::yes;
    why = "it sent " + std::to_string(got) + " bytes where " + std::to_string(received_bytes) +
          " are due: it is at another call";
    return Heard::failed;
  }

  int rank_ = 0, size_ = 1, exceptions_ = 0;
  bool broken_ = false;
};

// At the end of the process: MPI's launcher, and by it the other ranks, are told of a failure.
void end_process(int status, void*) {
  if (finalized) return;
  int size = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (size == 1) {
    MPI_Finalize();
  } else {
    MPI_Abort(MPI_COMM_WORLD, status == 0 ? 1 : status);
  }
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) int tapescope_mpi_version() { return kMpiLibraryVersion; }

__attribute__((visibility("default"))) MessageLink* tapescope_mpi_open(std::string* why) {
  int started = 0;
  MPI_Initialized(&started);
  if (started != 0) {
    *why = "it was started already; a process joins its ranks once";
    return nullptr;
  }
  int provided = 0;
  const int error = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided);
  if (error != MPI_SUCCESS) {
    *why = words_of(error);
    return nullptr;
  }
  ::on_exit(end_process, nullptr);
  return new MpiLink;
}

}  // extern "C"

}  // namespace tapescope
