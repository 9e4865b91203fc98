// A compiled tape: only what is asked for, in one planned arena, run as often as wanted.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "autograd/tape.h"
#include "engine/thread_pool.h"

namespace tapescope {

class Communicator;

// Memory that several Programs of one device use in turn, none while another runs.
struct SharedArena {
  Tensor memory;                    // grows to the largest one's need
  std::size_t may_keep = SIZE_MAX;  // how many bytes more: CompileOptions::keep_fixed
};

struct CompileOptions {
  // These Vars become inputs, named by their paths: nothing before them is computed for them.
  std::vector<Var> cuts = {};
  // Take the tape's eager values for what depends on no cut, instead of computing it again.
  bool reuse_values = false;
  // Leave outputs on the tape's device, where other Programs may read them. Otherwise run() brings
  // them to the CPU.
  bool keep_on_device = false;
  std::shared_ptr<SharedArena> arena = {};  // null: memory of its own
  // One launch for steps that can be joined (all parameters' updates), where a device has it. The
  // bits are the same.
  bool join_steps = true;
  // Keep what depends on parameters and constants only for the next run, and what kernels make of
  // it (Winograd's transformed weights, four times their size), as long as `arena` has room for it:
  // for Programs that change no parameter. Nothing is kept of the first run, which may be the only
  // one. The bits are the same.
  bool keep_fixed = false;
  // On a device, start() records a run's work when it is asked for with the same addresses again,
  // and from then on asks for all of it at once (engine/runtime.h). The bits are the same.
  bool record_runs = true;
  // Passes that are left out, by name, or "all": see passes.h.
  std::vector<std::string> without = {};
  // How sums over the batch's rows are made, and who shares it: share_batch.h. Inputs are then
  // what this rank has of the batch; all ranks run the same Programs in the same order.
  int chunks = 1;  // pieces of this rank: a power of two
  Communicator* ranks = nullptr;
  // Sums over ranks that nothing waits for, as gradients of weights, are made together, about so
  // many bytes of them, while the steps behind them run: buckets.h. 0: each by itself, at once.
  std::size_t bucket_bytes = std::size_t{4} << 20;
  // The most that MemoryPlan::total() may come to, in bytes, for a batch of `memory_rows` rows (0:
  // as recorded): values are computed again rather than kept, without a change of bits, or a
  // MemoryLimitError says what is needed (recompute.h). 0: no limit.
  std::size_t memory_limit = 0;
  std::int64_t memory_rows = 0;
  // A floating scalar. Where it is not finite, run() applies no effects and returns nothing. On the
  // CPU it ends there; a device that makes all effects itself (effects.h) goes on without them.
  Var guard = {};
};

// What a Program will allocate for one signature of input shapes, in bytes.
struct MemoryPlan {
  std::size_t arena = 0;        // intermediate values and workspaces, packed by lifetime
  std::size_t unpacked = 0;     // the same without sharing
  std::size_t lower_bound = 0;  // what lives at the busiest step: no packing can be smaller
  std::size_t kept = 0;         // of its own, of what depends on parameters only
  std::size_t parameters = 0;   // read or assigned, allocated by their owners
  std::size_t packed = 0;       // what is kept of parameters, shared by all Programs that read them
  std::size_t inputs = 0, outputs = 0;
  std::size_t total() const { return arena + kept + parameters + packed + inputs + outputs; }
};

// What CompileOptions::memory_limit came to.
struct Recomputation {
  std::size_t unlimited = 0;  // MemoryPlan::total() without it, bytes; 0: there is no limit
  int values = 0;             // steps that are done twice
  std::size_t bytes = 0;      // of what they make
  double flops = 0;           // of them, as a part of all others'
};

// One node of a Program with what it runs on, for `--plan`, profiles and layer tables.
struct StepInfo {
  std::string path;
  std::string owner;       // the recorded node that a walk appended it for; else its own path
  std::uint32_t node = 0;  // its index on the tape
  const Op* op = nullptr;
  std::vector<Type> operands, outputs;
  std::string variant;  // the kernel that was chosen
  bool in_place = false;
  bool kept = false;  // computed once, while no parameter changes: CompileOptions::keep_fixed
};

// A step that has just run, for whoever looks on.
struct ObservedStep {
  std::size_t index = 0;            // into Program::steps()
  double seconds = 0;               // of its kernel; 0 where there was nothing to do
  FunctionRef<Tensor(int)> output;  // a copy of one of its outputs, on the CPU
};
// Whether to go on.
using Observer = FunctionRef<bool(const ObservedStep&)>;

struct NamedTensor {
  std::string_view name;
  Tensor value;
};

class Program {
 public:
  // Use Tape::compile.
  Program(Tape& tape, std::span<const Var> outputs, const Effects& effects,
          const CompileOptions& options);
  Program(Program&&) noexcept;
  Program& operator=(Program&&) noexcept;
  ~Program();

  // Computes the outputs (fresh tensors, on the CPU unless CompileOptions says otherwise), then
  // applies the effects: every read has seen the old
  // values. Inputs may have another batch size than was recorded; a missing or ill-typed one is an
  // error that says what is expected. Inputs that the outputs do not need are ignored.
  std::vector<Tensor> run(std::span<const NamedTensor> inputs);
  std::vector<Tensor> run(std::initializer_list<NamedTensor> inputs) {
    return run(std::span<const NamedTensor>(inputs.begin(), inputs.size()));
  }

  // The same with a look at every step: each runs by itself, and is waited for. Where the observer
  // says no the run ends, with no outputs. Without `effects` no parameter changes.
  std::vector<Tensor> run(std::span<const NamedTensor> inputs, Observer observer,
                          bool effects = true);

  // run() in two halves, so that a device has work while the host looks at the run before: what is
  // asked for by start() is had from finish(), in the order of the starts; at most two are under
  // way. Inputs must stay as they are until their run is finished. After a guard that was not
  // finite, runs that were started before that was told by finish() have no effects either, and
  // their finish() returns nothing. On the CPU start() does it all.
  void start(std::span<const NamedTensor> inputs);
  std::vector<Tensor> finish();
  // Runs that were started and not finished are waited for and forgotten.
  void abandon();

  // What this Program reads: names and recorded types, or those for another leading axis.
  const std::vector<std::pair<std::string, Type>>& inputs() const;
  std::vector<Type> input_types(std::int64_t batch) const;
  // For a leading axis of `batch` rows in place of the recorded one (0: as recorded). Allocates
  // nothing.
  MemoryPlan plan(std::int64_t batch = 0);
  std::vector<StepInfo> steps(std::int64_t batch = 0);
  // Prepares everything anew, with these choices. Runs under way are waited for and forgotten.
  void choose(KernelChoices choices);
  const Backend& backend() const;
  const Recomputation& recomputed() const;
  // Of all steps together that each run takes.
  Cost cost(std::int64_t batch = 0);
  // Computes everything again without effects and returns the path of the first node whose output
  // is not finite, or "".
  std::string first_non_finite(std::span<const NamedTensor> inputs);

 private:
  struct State;
  std::vector<Tensor> run(std::span<const NamedTensor> inputs, const Observer* observer,
                          bool effects);
  std::unique_ptr<State> state_;
};

}  // namespace tapescope
