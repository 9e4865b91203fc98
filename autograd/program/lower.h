// From a tape to the flat form that Programs specialise and run.
#pragma once

#include <string>
#include <vector>

#include "autograd/program/program.h"

namespace tapescope {

// A value of a Program: an input, a parameter, a constant, or an output of a step.
struct Value {
  enum class Kind : std::uint8_t { input, parameter, constant, computed } kind = Kind::computed;
  int source = 0;  // index into inputs, parameters or constants; the step that computes it
  Type type;       // as recorded
};

struct Step {
  OpRef op;
  std::string path, owner;             // see StepInfo
  std::uint32_t node = 0;              // its index on the tape
  std::vector<int> operands, outputs;  // values
};

// Dead code is left out: a step is here only if an output or an effect needs it.
struct LoweredProgram {
  std::vector<Value> values;
  std::vector<Step> steps;  // in recorded order
  std::vector<std::pair<std::string, Type>> inputs;
  std::vector<ParameterRef> parameters;
  std::vector<Tensor> constants;
  std::vector<int> outputs;  // values
  struct Assignment {
    int parameter;  // index into parameters
    int value;
  };
  std::vector<Assignment> assignments;
  int guard = -1;            // a value, or none
  Recomputation recomputed;  // recompute.h
  // A parameter of its own, i64 {}: not 0 once the guard was not finite (effects.h).
  int halted = -1;

  // The last step from now on, which computes its outputs.
  void append(Step step);
  // Where steps have changed places: their outputs are theirs again.
  void number_steps(std::size_t first = 0);
};

// Records anew, on a tape of its own, what steps are to be: `record` is given Vars of the types of
// `operands`, values of `program`. Each recorded node, in its order, becomes a step in the name of
// `of`; constants are added to the program. `output` numbers an output, `place` takes the step.
// Returns the values of what was recorded.
using Recording = FunctionRef<std::vector<Var>(Tape&, std::span<const Var>)>;
struct RecordedSteps {
  FunctionRef<int(const Var& output, std::span<const Var> results)> output;
  FunctionRef<int(Tensor)> constant;
  FunctionRef<void(Step)> place;
};
std::vector<int> record_steps(const LoweredProgram& program, const Step& of, Device device,
                              std::span<const int> operands, Recording record,
                              const RecordedSteps& into);

// The batch size on the tape, that of the first input with an axis: whatever input is as long has
// the batch's rows. 0 where there is none.
std::int64_t recorded_rows(const LoweredProgram& program);

// The inputs' types where the batch has so many rows; 0: as recorded.
std::vector<Type> types_at(const LoweredProgram& program, std::int64_t batch);

LoweredProgram lower(Tape& tape, std::span<const Var> outputs, const Effects& effects,
                     const CompileOptions& options);

}  // namespace tapescope
