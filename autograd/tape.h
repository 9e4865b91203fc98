// The tape: a recorded program. See autograd/README.md for the four things done to it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <unordered_map>

#include "autograd/node.h"
#include "autograd/parameter.h"

namespace tapescope {

class Program;
struct CompileOptions;
struct ScopeRecord;
namespace explain {
class Composite;
}

enum class Mode : std::uint8_t { training, evaluation };

struct TapeOptions {
  std::uint64_t seed = 0;            // of dropout masks
  KernelChoices kernels = {};        // variants asked for by name
  Precision precision = DType::f32;  // or bf16, or tf32: see more_ops/precision.h
};

// "At the end of the run, `state` takes the value of `value`".
struct Effect {
  ParameterRef state;
  Var value;
};
using Effects = std::vector<Effect>;

// A replacement value for a recorded Var.
struct Edit {
  Var var;
  Tensor value;
};

class Tape {
 public:
  Tape(Device device, Mode mode, TapeOptions options = {});
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  Mode mode() const { return mode_; }
  Device device() const { return backend_.device; }
  const Backend& backend() const { return backend_; }
  std::uint64_t seed() const { return options_.seed; }
  Precision precision() const { return backend_.precision; }

  // --- recording ---------------------------------------------------------------------------------
  // An input given as a type is symbolic: nothing that follows is computed, and Programs ask for it
  // by name. One given as a tensor is eager. Asking again for the name gives the same Var; another
  // type under the same name is an error.
  Var input(std::string_view name, DType dtype, Shape shape);
  Var input(std::string_view name, Tensor value);
  // Recorded once however often it is asked for.
  Var parameter(const ParameterRef& parameter);
  Var constant(Tensor value);
  Var scalar(double value, DType dtype = DType::f32) {
    return constant(Tensor::full({dtype, {}}, value));
  }
  // x, f32, cast to the tape's precision: once, however often it is asked for.
  Var lowered(Var x);
  // The training step, an i64 scalar input named "step": what random ops are keyed by.
  Var step();

  // Appends a node and, if all operands have values, computes it. Everything that can be wrong is
  // found before the node exists. A null bias at the end is dropped.
  Node& record(OpRef op, std::span<const Var> operands);
  Node& record(OpRef op, std::initializer_list<Var> operands) {
    return record(std::move(op), std::span<const Var>(operands.begin(), operands.size()));
  }

  // Names are paths: a node recorded inside Scope("layer1") and Scope("conv1") is
  // "layer1/conv1/<op>"; a second one of that name gets "#2".
  class Scope {
   public:
    Scope(Tape& tape, std::string_view name);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    friend class Tape;
    Scope(Tape& tape, std::string_view path, const Node* origin, const char* prefix);

    Tape& tape_;
    ScopeRecord* outer_;  // what to go back to
    const Node* outer_origin_;
    const char* outer_prefix_;
  };
  Scope scope(std::string_view name) { return Scope(*this, name); }
  // For what is appended for another node: continues that node's scope under a prefix, a literal.
  // What the backward walk records for "conv1" is under "gradient/conv1", and so is its gradient.
  Scope scope_of(const char* prefix, const Node& node);
  // The prefix of what is being appended; "" outside a walk.
  const char* prefix() const { return prefix_; }
  // What a random op is keyed by besides the step: (seed, scope path, how many `op` nodes it has).
  std::uint64_t random_key(std::string_view op);

  // --- the gradient program ----------------------------------------------------------------------
  // Appends the program that computes d(sum of target)/d(wrt[i]), one Var each, of wrt[i]'s type.
  // `seed` (target's type) replaces the ones that are fed in by default. A target of shape {N}
  // gives each sample's own gradient in one pass; then an op on the way that mixes the rows of a
  // batch is an error that names it. Zero where target does not depend on wrt[i].
  std::vector<Var> gradient(Var target, std::span<const Var> wrt, Var seed = {});
  std::vector<Var> gradient(Var target, std::initializer_list<Var> wrt, Var seed = {}) {
    return gradient(target, std::span<const Var>(wrt.begin(), wrt.size()), seed);
  }
  std::vector<Var> gradient(Var target, std::span<const ParameterRef> parameters);
  // The same walk with a composite's rules in place of the derivatives: see explain/relevance.h.
  std::vector<Var> relevance(Var target, std::span<const Var> wrt,
                             const explain::Composite& composite, Var seed = {});
  std::vector<Var> relevance(Var target, std::initializer_list<Var> wrt,
                             const explain::Composite& composite, Var seed = {}) {
    return relevance(target, std::span<const Var>(wrt.begin(), wrt.size()), composite, seed);
  }

  // --- effects -----------------------------------------------------------------------------------
  // Records that `state` is to become `value`; nothing happens before a Program that was compiled
  // with this effect has run. A second assignment must derive from pending(state).
  Effect assign(const ParameterRef& state, Var value);
  // What `state` will be after the assignments recorded so far.
  Var pending(const ParameterRef& state);
  // The last assignment of each state.
  Effects effects() const;

  // --- going back, going on ----------------------------------------------------------------------
  std::uint32_t mark() const { return static_cast<std::uint32_t>(nodes_.size()); }
  // Drops every node recorded since. Vars to them dangle.
  void rollback(std::uint32_t mark);

  // --- reading -----------------------------------------------------------------------------------
  std::span<Node* const> nodes() const { return nodes_; }
  // First output of the node with this path (or of the last node whose path starts with it and a
  // slash, so that "conv5" finds what the module returned). An error lists near names.
  Var find(std::string_view path) const;

  // --- running again -----------------------------------------------------------------------------
  // A Program of only what is asked for and only these effects.
  Program compile(std::span<const Var> outputs, const Effects& effects = {});
  Program compile(std::span<const Var> outputs, const Effects& effects,
                  const CompileOptions& options);
  Program compile(std::initializer_list<Var> outputs, const Effects& effects = {});
  // Values of `outputs` if the edited Vars had these values instead. What does not depend on an
  // edit is taken from the tape where it is eager; the program is cached by what is edited.
  std::vector<Tensor> replay(std::span<const Edit> edits, std::span<const Var> outputs);

 private:
  friend class Scope;
  void* arena(std::size_t bytes);
  ScopeRecord* enter(std::string_view path);
  ScopeUse* use_of(ScopeRecord& scope, std::string_view op);
  void check_current();
  // Computes an op into fresh tensors: `values`, one an output.
  void compute(const Op& op, std::span<const Type> types, std::span<const Var> operands,
               std::span<const Type> outputs, const char* label, Tensor* values);
  Node& append(OpRef op, std::span<const Var> operands, std::span<const Type> types, ScopeUse* use);
  Var leaf(OpRef op, const char* label, Type type, Tensor value);

  Backend backend_;
  Mode mode_;
  TapeOptions options_;
  Queue queue_;
  std::vector<Node*> nodes_;
  std::vector<std::unique_ptr<std::byte[]>> blocks_;
  std::uint32_t block_ = 0, block_used_ = 0;
  std::unordered_map<std::string, std::unique_ptr<ScopeRecord>> scopes_;
  ScopeRecord* current_ = nullptr;
  const Node* origin_ = nullptr;
  const char* prefix_ = "";
  std::vector<std::unique_ptr<ScopeUse>> leaf_uses_;
  std::map<std::string, Var, std::less<>> inputs_;
  std::unordered_map<const Parameter*, Var> parameters_;
  std::map<std::pair<std::uint32_t, int>, Var> lowered_;  // by node and output
  std::vector<std::pair<ParameterRef, std::uint64_t>> parameter_versions_;
  std::uint64_t changes_seen_ = 0;
  Effects assignments_;  // all, in order
  bool symbolic_ = false;
  Tensor workspace_;
  std::map<std::string, std::shared_ptr<Program>> replays_;
};

}  // namespace tapescope
