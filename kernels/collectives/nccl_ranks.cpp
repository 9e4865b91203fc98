#include "kernels/collectives/nccl_ranks.h"

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <utility>
#include <vector>

#include "engine/cuda_library.h"
#include "engine/environment.h"
#include "engine/error.h"
#include "engine/remedy.h"
#include "engine/runtime.h"
#include "kernels/collectives/device_link.h"
#include "kernels/collectives/stopwatch.h"
#include "kernels/collectives/tree.h"
#include "kernels/collectives/watchdog.h"

namespace tapescope {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 20;  // of host data: each rank's, at once

class NcclRanks final : public Communicator, public DeviceLink {
 public:
  NcclRanks(const nccl::Library& nccl, std::unique_ptr<Communicator> host,
            const NcclOptions& options, const nccl::UniqueId& id)
      : nccl_(nccl),
        host_(std::move(host)),
        options_(options),
        runtime_(DeviceRuntime::of(options.device)),
        forked_(runtime_),
        marks_{Event(runtime_), Event(runtime_)},
        exceptions_(std::uncaught_exceptions()) {
    const int status = nccl_.init_rank(&comm_, size(), id, rank());
    if (status == nccl::kInvalidUsage) {
      throw usage_error(
          "NCCL refuses rank {} of {}: {}; each rank needs a GPU of its own, so start no more than "
          "there are GPUs, or let them speak through the host (--transport {})",
          rank(), size(), nccl_.last_error(nullptr), host_ ? host_->transport() : "mpi");
    }
    nccl_.check(status, "ncclCommInitRank");
    // ncclCommAbort() ends its kernels, too.
    watchdog_ = std::make_unique<Watchdog>([this](double seconds) { return look(seconds); },
                                           [this] { nccl_.abort(comm_); });
  }
  // A rank that ends by an error does not wait for the others' part in what is under way.
  ~NcclRanks() override {
    const bool given_up = watchdog_ && !watchdog_->words().empty();
    watchdog_ = nullptr;
    if (comm_ == nullptr) return;
    const bool failing = std::uncaught_exceptions() > exceptions_;
    if (!given_up) (failing ? nccl_.abort : nccl_.destroy)(comm_);
    if (buffer_ != nullptr && (given_up || !failing)) runtime_.free(buffer_);
  }
  NcclRanks(const NcclRanks&) = delete;
  NcclRanks& operator=(const NcclRanks&) = delete;

  std::string_view transport() const override { return "nccl"; }
  int rank() const override { return options_.rank; }
  int size() const override { return options_.ranks; }
  double seconds() const override { return host_ ? host_->seconds() : seconds_; }
  DeviceLink* device_link() override { return this; }

  bool fast() const override { return options_.fast_all_reduce; }
  Queue fork(const Queue& behind) override {
    const Queue side = runtime_.copy_queue();
    forked_.record(behind);
    forked_.hold(side);
    return side;
  }
  void mark() override {
    expect_room(marked_ - joined_);
    marks_[marked_++ % kSumsUnderWay].record(runtime_.copy_queue());
  }
  void join(const Queue& queue) override {
    expect_sum(marked_ - joined_);
    marks_[joined_++ % kSumsUnderWay].hold(queue);
  }
  void exchange(int partner, const void* sent, std::size_t sent_bytes, void* received,
                std::size_t received_bytes, const Queue& queue) override {
    watched("ncclSend", [&] {
      int status = nccl_.group_start();
      const auto go = [&](auto function, auto* data, std::size_t bytes) {
        if (status != nccl::kSuccess || bytes == 0) return;
        status = function(data, bytes, nccl::kUint8, partner, comm_, queue.native());
      };
      go(nccl_.send, sent, sent_bytes);
      go(nccl_.receive, received, received_bytes);
      const int end = nccl_.group_end();
      return status != nccl::kSuccess ? status : end;
    });
  }
  void sum_fast(const float* in, float* out, std::int64_t count, const Queue& queue) override {
    watched("ncclAllReduce", [&] {
      return nccl_.all_reduce(in, out, static_cast<std::size_t>(count), nccl::kFloat32, nccl::kSum,
                              comm_, queue.native());
    });
  }

  void await(const Queue& queue) override {
    watched("waiting for the GPU", [&] {
      runtime_.wait(queue);
      return nccl::kSuccess;
    });
  }

  void all_reduce(void* data, std::int64_t count, DType dtype) override {
    if (host_) return host_->all_reduce(data, count, dtype);
    const Stopwatch watch(seconds_);
    const std::size_t element = size_of(dtype), ranks = static_cast<std::size_t>(size()),
                      bytes = static_cast<std::size_t>(count) * element;
    std::vector<char> all(std::min(kPiece, bytes) * ranks);
    for (std::size_t begin = 0; begin < bytes; begin += kPiece) {
      const std::size_t piece = std::min(kPiece, bytes - begin);
      char* const own = static_cast<char*>(data) + begin;
      send(own, piece, piece);
      std::vector<const void*> parts;
      for (std::size_t r = 0; r < ranks; ++r) {
        receive(r, piece, all.data() + r * piece, piece);
        parts.push_back(all.data() + r * piece);
      }
      tree_sum(parts, static_cast<std::int64_t>(piece / element), dtype, own);
    }
  }

  void begin_sum(void* data, std::int64_t count, DType dtype) override {
    host_ ? host_->begin_sum(data, count, dtype) : Communicator::begin_sum(data, count, dtype);
  }
  void finish_sum() override { host_ ? host_->finish_sum() : Communicator::finish_sum(); }
  void advance() override {
    if (host_) host_->advance();
  }

  void all_gather(const void* own, std::span<const std::size_t> bytes, void* all) override {
    if (host_) return host_->all_gather(own, bytes, all);
    const Stopwatch watch(seconds_);
    if (bytes.size() != static_cast<std::size_t>(size())) {
      throw failure("[all_gather] {} lengths for {} ranks; give one of each", bytes.size(), size());
    }
    const std::size_t longest = *std::max_element(bytes.begin(), bytes.end());
    for (std::size_t begin = 0; begin < longest; begin += kPiece) {
      const std::size_t piece = std::min(kPiece, longest - begin);
      const auto part = [&](std::size_t r) {
        return std::min(piece, bytes[r] - std::min(bytes[r], begin));
      };
      send(static_cast<const char*>(own) + begin, part(static_cast<std::size_t>(rank())), piece);
      char* to = static_cast<char*>(all);
      for (std::size_t r = 0; r < bytes.size(); to += bytes[r++]) {
        receive(r, piece, to + begin, part(r));
      }
    }
  }

  void broadcast(void* data, std::size_t bytes, int root) override {
    if (host_) return host_->broadcast(data, bytes, root);
    if (root < 0 || root >= size()) {
      throw failure("[broadcast] from rank {} of {}; they are 0 to {}", root, size(), size() - 1);
    }
    const Stopwatch watch(seconds_);
    for (std::size_t begin = 0; begin < bytes; begin += kPiece) {
      const std::size_t piece = std::min(kPiece, bytes - begin);
      char* const at = static_cast<char*>(data) + begin;
      const Queue queue = runtime_.compute_queue();
      if (rank() == root) runtime_.copy(buffer(), at, piece, queue);
      watched("ncclBroadcast", [&] {
        return nccl_.broadcast(buffer(), buffer(), piece, nccl::kUint8, root, comm_,
                               queue.native());
      });
      await(queue);
      runtime_.copy(at, buffer(), piece, queue);
      runtime_.wait(queue);
    }
  }

  void barrier() override {
    if (host_) return host_->barrier();
    const Stopwatch watch(seconds_);
    char nothing = 0;
    send(&nothing, 1, 1);
    receive(0, 1, &nothing, 1);
  }

 private:
  // NCCL itself waits for ever. A call that the watchdog ended tells why, whatever it returns.
  template <class Call>
  void watched(const char* what, Call call) {
    const auto told = [&] {
      const std::string words = watchdog_->words();
      if (words.empty()) return;
      throw ErrorWithRemedy(Remedy::longer_wait, failure("[nccl] {}: {}", what, words));
    };
    told();  // there is nothing left to call
    int status = nccl::kSuccess;
    try {
      const Watchdog::Call under_way(*watchdog_);
      status = call();
    } catch (const Error&) {
      told();
      throw;
    }
    told();
    nccl_.check(status, what);
  }
  // By the watchdog's thread: what is under way ends where NCCL says that it is lost, and after the
  // time-out.
  std::string look(double seconds) {
    int status = nccl::kSuccess;
    nccl_.async_error(comm_, &status);
    const bool lost = status != nccl::kSuccess && status != nccl::kInProgress;
    if (!lost && seconds < options_.rank_timeout) return "";
    const std::string said = lost ? nccl_.error_string(status) : "";
    const std::string who = fmt::format("rank {} of {} ", rank(), size());
    if (lost)
      return who + "has lost another one (" + said + "); look for it, or give ranks more time";
    return who + fmt::format(
                     "has waited for {} s: another one is stopped or has ended; look for it, "
                     "or give ranks more time",
                     options_.rank_timeout);
  }
  // all {ranks, bytes}: this rank's row is there; the others are filled in.
  void gather_rows(void* all, std::size_t bytes, const Queue& queue) {
    const char* const own = static_cast<char*>(all) + bytes * static_cast<std::size_t>(rank());
    watched("ncclAllGather",
            [&] { return nccl_.all_gather(own, all, bytes, nccl::kUint8, comm_, queue.native()); });
  }
  // Rows of `row` bytes in the buffer, one a rank: this one's begins with `bytes` of `own`.
  void send(const void* own, std::size_t bytes, std::size_t row) {
    const Queue queue = runtime_.compute_queue();
    runtime_.copy(buffer() + row * static_cast<std::size_t>(rank()), own, bytes, queue);
    gather_rows(buffer(), row, queue);
  }
  void receive(std::size_t from, std::size_t row, void* to, std::size_t bytes) {
    const Queue queue = runtime_.compute_queue();
    await(queue);
    runtime_.copy(to, buffer() + row * from, bytes, queue);
    runtime_.wait(queue);
  }
  char* buffer() {
    if (buffer_ == nullptr) buffer_ = runtime_.allocate(kPiece * static_cast<std::size_t>(size()));
    if (buffer_ == nullptr) {
      throw failure("the GPU has no {} MiB left for what ranks say to each other",
                    kPiece * static_cast<std::size_t>(size()) >> 20);
    }
    return static_cast<char*>(buffer_);
  }

  const nccl::Library& nccl_;
  const std::unique_ptr<Communicator> host_;
  const NcclOptions options_;
  DeviceRuntime& runtime_;
  Event forked_, marks_[kSumsUnderWay];
  std::size_t marked_ = 0, joined_ = 0;
  const int exceptions_;
  nccl::Comm comm_ = nullptr;
  std::unique_ptr<Watchdog> watchdog_;
  void* buffer_ = nullptr;
  double seconds_ = 0;
};

// Where ranks meet that have nothing but NCCL: rank 0 listens there, in ncclCommInitRank.
void say_where_to_meet() {
  if (std::getenv("NCCL_COMM_ID") != nullptr) return;
  const char* const host = std::getenv("MASTER_ADDR");
  const auto port = number_from_environment("MASTER_PORT", 1, 65534);
  if (host == nullptr || *host == 0 || !port) {
    throw usage_error(
        "ranks meet at MASTER_ADDR and MASTER_PORT, and these are not both set; start them by "
        "torchrun, or set both to an address and a free port of rank 0's machine");
  }
  // torchrun itself listens at its port.
  const char* const agent = std::getenv("TORCHELASTIC_USE_AGENT_STORE");
  const auto free_port = *port + (agent != nullptr && std::string_view(agent) == "True" ? 1 : 0);
  std::string at = host;
  if (at.find(':') != at.npos && at[0] != '[') at = fmt::format("[{}]", at);  // IPv6
  at += fmt::format(":{}", free_port);
  ::setenv("NCCL_COMM_ID", at.c_str(), 1);
}

}  // namespace

std::string why_no_nccl() {
  if (!why_no_cuda().empty()) return "no GPU: " + why_no_cuda();
  return nccl::library().why_missing;
}

void take_own_gpu(const Launched& launched) {
  const int own = launched.rank_of_machine;
  if (own < 0) return;
  const char* const set = std::getenv("CUDA_VISIBLE_DEVICES");
  if (set == nullptr) {
    ::setenv("CUDA_VISIBLE_DEVICES", std::to_string(own).c_str(), 1);
    return;
  }
  std::vector<std::string> gpus(1);
  for (const char* c = set; *c != 0; ++c) {
    if (*c == ',') {
      gpus.emplace_back();
    } else {
      gpus.back() += *c;
    }
  }
  if (gpus.size() == 1) return;
  if (static_cast<std::size_t>(own) >= gpus.size()) {
    throw usage_error(
        "CUDA_VISIBLE_DEVICES={} names {} GPUs, and rank {} is number {} on this machine, counted "
        "from 0; start as many ranks on each machine as it has GPUs",
        set, gpus.size(), launched.rank, own);
  }
  ::setenv("CUDA_VISIBLE_DEVICES", gpus[static_cast<std::size_t>(own)].c_str(), 1);
}

std::unique_ptr<Communicator> join_nccl(const nccl::Library& nccl,
                                        std::unique_ptr<Communicator> host,
                                        const NcclOptions& options) {
  nccl::UniqueId id{};
  if (host == nullptr) say_where_to_meet();
  // Made of NCCL_COMM_ID it is the same on every rank; else rank 0's is told.
  if (host == nullptr || options.rank == 0) {
    nccl.check(nccl.get_unique_id(&id), "ncclGetUniqueId");
  }
  if (host != nullptr) host->broadcast(&id, sizeof id, 0);
  return std::make_unique<NcclRanks>(nccl, std::move(host), options, id);
}

}  // namespace tapescope
