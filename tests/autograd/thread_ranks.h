// Ranks that are threads of the test: each runs `body` with a Communicator of its own.
#pragma once

#include <barrier>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "engine/tensor.h"
#include "kernels/collectives/communicator.h"

namespace tapescope {

class ThreadRanks {
 public:
  explicit ThreadRanks(int ranks) : barrier_(ranks), parts_(static_cast<std::size_t>(ranks)) {}

  // Planted: sums in another order; the fifth sum left out; the first bucket of them left out.
  enum class Fault : std::uint8_t { none, order, skipped, skipped_bucket };
  void run(const std::function<void(Communicator&)>& body, Fault fault = Fault::none) {
    std::vector<std::thread> threads;
    std::vector<std::exception_ptr> errors(parts_.size());
    for (std::size_t r = 0; r < parts_.size(); ++r) {
      threads.emplace_back([&, r] {
        Rank rank(*this, static_cast<int>(r), fault);
        try {
          body(rank);
        } catch (...) {
          errors[r] = std::current_exception();
          barrier_.arrive_and_drop();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const std::exception_ptr& error : errors) {
      if (error) std::rethrow_exception(error);
    }
  }

 private:
  class Rank final : public Communicator {
   public:
    Rank(ThreadRanks& all, int rank, Fault fault) : all_(all), rank_(rank), fault_(fault) {}
    std::string_view transport() const override { return "threads"; }
    int rank() const override { return rank_; }
    int size() const override { return static_cast<int>(all_.parts_.size()); }
    void all_reduce(void* data, std::int64_t count, DType dtype) override {
      if (fault_ == Fault::skipped && ++calls_ == 5) return;
      dtype == DType::f64 ? sum<double>(data, count) : sum<float>(data, count);
    }
    void begin_sum(void* data, std::int64_t count, DType dtype) override {
      if (fault_ == Fault::skipped_bucket && ++buckets_ == 1) count = 0;
      Communicator::begin_sum(data, count, dtype);
    }
    void all_gather(const void* own, std::span<const std::size_t> bytes, void* all) override {
      share(own);
      char* to = static_cast<char*>(all);
      for (std::size_t r = 0; r < bytes.size(); ++r) {
        if (bytes[r] > 0) std::memcpy(to, all_.parts_[r], bytes[r]);
        to += bytes[r];
      }
      all_.barrier_.arrive_and_wait();
    }
    void broadcast(void* data, std::size_t bytes, int root) override {
      share(data);
      if (rank_ != root) std::memcpy(data, all_.parts_[static_cast<std::size_t>(root)], bytes);
      all_.barrier_.arrive_and_wait();
    }
    void barrier() override { all_.barrier_.arrive_and_wait(); }
    double seconds() const override { return 0; }

   private:
    void share(const void* own) {
      all_.parts_[static_cast<std::size_t>(rank_)] = own;
      all_.barrier_.arrive_and_wait();
    }
    template <class T>
    void sum(void* data, std::int64_t count) {
      share(data);
      std::vector<T> result;
      for (std::int64_t i = 0; i < count; ++i) {
        std::vector<T> level;
        for (const void* part : all_.parts_) level.push_back(static_cast<const T*>(part)[i]);
        if (fault_ == Fault::order && level.size() == 4) std::swap(level[1], level[2]);
        while (level.size() > 1) {
          for (std::size_t k = 0; k < level.size() / 2; ++k) {
            level[k] = level[2 * k] + level[2 * k + 1];
          }
          level.resize(level.size() / 2);
        }
        result.push_back(level[0]);
      }
      all_.barrier_.arrive_and_wait();
      if (count > 0) std::memcpy(data, result.data(), result.size() * sizeof(T));
      all_.barrier_.arrive_and_wait();
    }
    ThreadRanks& all_;
    int rank_;
    Fault fault_;
    int calls_ = 0, buckets_ = 0;
  };

  std::barrier<> barrier_;
  std::vector<const void*> parts_;
};

}  // namespace tapescope
