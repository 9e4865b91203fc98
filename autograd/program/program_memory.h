// What a Program computes in: an arena, its own or shared, and beside it what it keeps from run to
// run.
#pragma once

#include <memory>
#include <span>

#include "autograd/program/specialise.h"

namespace tapescope {

class ProgramMemory {
 public:
  explicit ProgramMemory(std::shared_ptr<SharedArena> shared);  // null: an arena of its own
  ProgramMemory(const ProgramMemory&) = delete;
  ProgramMemory& operator=(const ProgramMemory&) = delete;
  ~ProgramMemory();

  char* arena() const { return static_cast<char*>(arena_->memory.data()); }
  char* kept() { return kept_.defined() ? static_cast<char*>(kept_.data()) : nullptr; }
  // Whether there is room to keep so much.
  bool may_keep(const MemoryPlan& plan) const {
    return plan.kept <= arena_->may_keep + kept_bytes();
  }
  void make_room(const MemoryPlan& plan, Device device);

  // Whether what `s` keeps is there and still right: made in a run that ended well, of the
  // parameters as they are.
  bool begin_run(Specialised& s, std::span<const ParameterRef> parameters);
  void end_run(const Specialised& s) { kept_of_ = &s; }
  void forget() { kept_of_ = nullptr; }

 private:
  std::size_t kept_bytes() const { return kept_.defined() ? kept_.bytes() : 0; }

  std::shared_ptr<SharedArena> arena_;
  Tensor kept_;
  const Specialised* kept_of_ = nullptr;  // whose values are kept
};

}  // namespace tapescope
