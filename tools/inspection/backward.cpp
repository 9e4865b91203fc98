#include "tools/inspection/backward.h"

#include <map>
#include <unordered_set>

#include "autograd/leaf.h"
#include "autograd/walk.h"

namespace tapescope::inspection {
namespace {

const Parameter* parameter_of(const Node& node) {
  for (const Var& operand : node.operands()) {
    const auto* leaf = dynamic_cast<const ParameterOp*>(operand.node->op.get());
    if (leaf != nullptr) return leaf->parameter.get();
  }
  return nullptr;
}

// Whether two recordings of one model mean the same by these nodes. A batch normalisation has an op
// for training and one for evaluation, but the same parameters.
bool alike(const Node& a, const Node& b) {
  const Parameter* parameter = parameter_of(a);
  if (parameter != nullptr) return parameter == parameter_of(b);
  return describe(*a.op) == describe(*b.op) && a.types()[0] == b.types()[0];
}

// By node of `tape`, up to its end: the row that it belongs to. The model is recorded in the order
// in which `evaluation` was; what exists in training only belongs to the row before.
std::vector<std::size_t> owners(const Structure& structure, const Tape& evaluation,
                                const Tape& tape, std::span<const Var> outputs) {
  const std::vector<bool> needed = leading_to(tape, outputs, Through::everything);
  std::vector<std::size_t> owner(tape.nodes().size(), 0);
  std::size_t current = 0, next = 0;
  for (const Node* node : tape.nodes()) {
    if (needed[node->index] && !node->op->is_leaf()) {
      for (std::size_t row = next; row < structure.rows.size(); ++row) {
        if (!alike(*node, *evaluation.nodes()[structure.rows[row].node])) continue;
        current = row;
        next = row + 1;
        break;
      }
    }
    owner[node->index] = current;
  }
  return owner;
}

Var without_aliases(Var value) {
  for (int alias; (alias = value.node->op->alias()) >= 0;) {
    value = value.node->operands()[static_cast<std::size_t>(alias)];
  }
  return value;
}

// Seconds per step, averaged over options.repeats runs after one that is not counted.
std::vector<double> profile(Program& program, std::span<const NamedTensor> inputs, int repeats) {
  program.run(inputs);
  std::vector<double> seconds(program.steps().size(), 0.0);
  for (int i = 0; i < repeats; ++i) {
    program.run(inputs, [&](const ObservedStep& step) {
      seconds[step.index] += step.seconds / repeats;
      return true;
    });
  }
  return seconds;
}

Tensor pattern(const Shape& shape) {
  Tensor tensor(Type{DType::f32, shape});
  float value = 0;
  for (float& element : tensor.values<float>()) {
    element = value - 0.5f;
    value = value > 0.9f ? 0.05f : value + 0.1f;
  }
  return tensor;
}

// What the nodes from `forward_end` on, which lead to `reached`, need of those before, to their
// rows.
void add_saved_bytes(Structure& structure, const Tape& tape, std::span<const Var> reached,
                     std::uint32_t forward_end, std::span<const std::size_t> owner,
                     const Var& input) {
  const std::vector<bool> needed = leading_to(tape, reached, Through::everything);
  std::unordered_set<std::uint64_t> saved;
  for (std::uint32_t i = forward_end; i < tape.mark(); ++i) {
    const Node* node = tape.nodes()[i];
    if (!needed[i]) continue;
    for (int k = 0; k < node->operand_count; ++k) {
      if (node->op->role(k) == Role::shape) continue;
      const Var value = without_aliases(node->operand_data[k]);
      const bool forward = value.node->index < forward_end;
      const bool made = !value.node->op->is_leaf() || value.node == input.node;
      if (!forward || !made) continue;
      const std::uint64_t key =
          std::uint64_t{value.node->index} << 8 | static_cast<std::uint64_t>(value.output);
      if (!saved.insert(key).second) continue;
      const auto bytes = static_cast<std::int64_t>(value.type().bytes());
      // The input is made by nobody: the first row keeps it.
      structure.rows[value.node == input.node ? 0 : owner[value.node->index]].saved_bytes += bytes;
    }
  }
}

}  // namespace

void add_backward(Structure& structure, const Tape& evaluation, const Record& record,
                  const Shape& image, const StructureOptions& options) {
  Tape tape(options.backend.device, Mode::training, {0, options.backend.choices});
  const Var input = tape.input("image", DType::f32, image.with_leading(1));
  const std::vector<Var> outputs = record(tape, input);
  const std::uint32_t forward_end = tape.mark();
  std::vector<Var> wrt;
  for (const Node* node : tape.nodes()) {
    const auto* leaf = dynamic_cast<const ParameterOp*>(node->op.get());
    if (leaf != nullptr && leaf->parameter->trained()) wrt.push_back(node->out());
  }
  if (wrt.empty()) return;

  std::vector<std::size_t> owner = owners(structure, evaluation, tape, outputs);
  std::vector<Seed> seeds;
  std::vector<std::string> seed_names;
  for (const Var& output : outputs) {
    seed_names.push_back(fmt::format("seed {}", seeds.size()));
    seeds.push_back({output, tape.input(seed_names.back(), output.dtype(), output.shape())});
  }
  const std::vector<Var> gradients = walk(tape, "gradient", seeds, wrt,
                                          [](const Node& node, std::span<const Var> cotangents,
                                             unsigned wanted, std::span<Var> results) {
                                            Vjp v(node, cotangents, wanted, results);
                                            node.op->vjp(v);
                                          });
  owner.resize(tape.nodes().size(), 0);
  for (std::uint32_t i = forward_end; i < tape.mark(); ++i) {
    if (const Node* origin = tape.nodes()[i]->origin) owner[i] = owner[origin->index];
  }
  std::vector<Var> reached;
  for (const Var& gradient : gradients) {
    if (gradient) reached.push_back(gradient);
  }
  add_saved_bytes(structure, tape, reached, forward_end, owner, input);
  if (options.measure_batch == 0) return;

  Program program = tape.compile(reached);
  const Tensor images = pattern(image.with_leading(options.measure_batch));
  std::vector<NamedTensor> inputs = {{"image", images}, {"step", Tensor::scalar_i64(0)}};
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    inputs.push_back({seed_names[i], pattern(outputs[i].shape().without_leading().with_leading(
                                         options.measure_batch))});
  }
  const std::vector<double> seconds = profile(program, inputs, options.repeats);
  const std::vector<StepInfo> steps = program.steps(options.measure_batch);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (steps[i].node < forward_end) continue;
    structure.rows[owner[steps[i].node]].backward_seconds += seconds[i];
  }
}

void measure_forward(Structure& structure, Tape& tape, std::span<const Var> outputs,
                     const Shape& image, const StructureOptions& options) {
  Program program = tape.compile(outputs);
  const Tensor images = pattern(image.with_leading(options.measure_batch));
  const NamedTensor inputs[] = {{"image", images}};
  const std::vector<double> seconds = profile(program, inputs, options.repeats);
  const std::vector<StepInfo> steps = program.steps(options.measure_batch);
  std::map<std::uint32_t, std::size_t> row_of;
  for (std::size_t i = 0; i < structure.rows.size(); ++i) row_of[structure.rows[i].node] = i;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const auto it = row_of.find(steps[i].node);
    if (it == row_of.end()) continue;
    structure.rows[it->second].forward_seconds += seconds[i];
    structure.rows[it->second].variant = steps[i].variant;
  }
  structure.measured_batch = options.measure_batch;
}

}  // namespace tapescope::inspection
