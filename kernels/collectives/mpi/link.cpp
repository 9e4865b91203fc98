// What libtapescope_mpi.so shows to the program that opens it.
#include <mpi.h>

#include <cstdlib>
#include <exception>

#include "kernels/collectives/mpi_library.h"
#include "kernels/collectives/patience.h"

namespace tapescope {
namespace {

constexpr int kTag = 7;  // of lane 0

std::string words_of(int error) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (MPI_Error_string(error, text, &length) != MPI_SUCCESS)
    return "MPI error " + std::to_string(error);
  return {text, static_cast<std::size_t>(length)};
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
    if (wait_patiently(kPatience, [&] { return is_done(all); }))
      finalized = MPI_Finalize() == MPI_SUCCESS;
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void start(int lane, const Exchange& e) override {
    Lane& of = lanes_[lane];
    of = {};
    of.from = e.from;
    of.due = e.received_bytes;
    if (broken_) return;
    if (e.from >= 0) {
      of.error = MPI_Irecv(e.received, static_cast<int>(e.received_bytes), MPI_BYTE, e.from,
                           kTag + lane, MPI_COMM_WORLD, &of.requests[0]);
    }
    if (of.error == MPI_SUCCESS && e.to >= 0) {
      of.error = MPI_Isend(e.sent, static_cast<int>(e.sent_bytes), MPI_BYTE, e.to, kTag + lane,
                           MPI_COMM_WORLD, &of.requests[1]);
    }
  }

  Heard test(int lane, std::string& why) override {
    if (broken_) {
      why = "an earlier message was lost";
      return Heard::failed;
    }
    const Heard heard = look_at(lanes_[lane], why);
    broken_ = heard != Heard::yes && heard != Heard::nothing;
    return heard;
  }

 private:
  struct Lane {
    MPI_Request requests[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    int error = MPI_SUCCESS, from = -1;
    std::size_t due = 0;  // bytes
  };

  static bool is_done(MPI_Request& request) {
    int done = 0;
    return MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS || done != 0;
  }

  static Heard look_at(Lane& lane, std::string& why) {
    MPI_Status statuses[2];
    int done = 0;
    if (lane.error == MPI_SUCCESS) lane.error = MPI_Testall(2, lane.requests, &done, statuses);
    if (lane.error == MPI_ERR_IN_STATUS) {
      const int received = statuses[0].MPI_ERROR;
      const bool is_it = received != MPI_SUCCESS && received != MPI_ERR_PENDING;
      lane.error = is_it ? received : statuses[1].MPI_ERROR;
    }
    if (lane.error != MPI_SUCCESS) {
      why = words_of(lane.error);
      int kind = MPI_SUCCESS;
      MPI_Error_class(lane.error, &kind);
      return kind == MPI_ERR_TRUNCATE ? Heard::other_call : Heard::failed;
    }
    if (done == 0) return Heard::nothing;
    if (lane.from < 0) return Heard::yes;
    int got = 0;
    MPI_Get_count(&statuses[0], MPI_BYTE, &got);
    if (static_cast<std::size_t>(got) == lane.due) return Heard::yes;
    why =
        "it sent " + std::to_string(got) + " bytes where " + std::to_string(lane.due) + " are due";
    return Heard::other_call;
  }

  int rank_ = 0, size_ = 1, exceptions_ = 0;
  bool broken_ = false;
  Lane lanes_[kLanes];
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
