// Runs of a Program that a device was asked for and the host has not read yet.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <vector>

#include "engine/recorded_work.h"
#include "engine/tensor.h"

namespace tapescope {

// Host memory that a run's results are copied to while the host does other things.
class Landing {
 public:
  Landing(DeviceRuntime& runtime, std::span<const Type> types);
  ~Landing();
  Landing(const Landing&) = delete;
  Landing& operator=(const Landing&) = delete;

  std::span<const Type> types() const { return types_; }
  void* at(std::size_t output) { return static_cast<char*>(memory_) + offsets_[output]; }
  // Whether a guard was not finite, i64.
  std::int64_t* halted() { return static_cast<std::int64_t*>(memory_); }
  Event ended;  // recorded behind the run's last copy

 private:
  DeviceRuntime& runtime_;
  std::vector<Type> types_;
  std::vector<std::size_t> offsets_;
  void* memory_ = nullptr;
};

// At most two, each with a landing of its own: the host reads one while the device fills the other.
class UnderWay {
 public:
  std::size_t count() const { return runs_.size(); }
  // Where the results of one run more are to be copied, of these types.
  Landing& land(DeviceRuntime& runtime, std::span<const Type> types);
  // Whether the last of them is done and returned nothing: its guard was not finite.
  bool came_to_nothing() const {
    return !runs_.empty() && runs_.back().landing == nullptr && runs_.back().outputs.empty();
  }
  // One run more, which is done.
  void put(std::vector<Tensor> outputs) { runs_.push_back({nullptr, std::move(outputs)}); }
  // What the first of them gave, on the CPU, once it is there; `halted` as the run told it.
  std::vector<Tensor> take(bool& halted);

 private:
  struct Run {
    Landing* landing;  // null: done
    std::vector<Tensor> outputs;
  };
  std::deque<Run> runs_;
  std::array<std::unique_ptr<Landing>, 2> landings_;
  std::size_t next_ = 0;
};

// Work that was recorded, by all addresses that it reads and writes.
class Recordings {
 public:
  // Does `work`: by itself the first time that these addresses come, recorded from then on.
  void run(DeviceRuntime& runtime, const Queue& queue, std::vector<const void*> addresses,
           FunctionRef<void()> work);

 private:
  struct Seen {
    std::vector<const void*> addresses;
    std::unique_ptr<RecordedWork> work;
  };
  // Two input slots of two batch sizes, and as much again: the one not used for longest goes.
  static constexpr std::size_t kMost = 8;
  std::vector<Seen> seen_;  // the last used in front
};

}  // namespace tapescope
