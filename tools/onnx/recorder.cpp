#include "tools/onnx/recorder.h"

#include <algorithm>

#include "tools/files/text_file.h"

namespace tapescope::onnx {
namespace {

constexpr std::int64_t kMostFolded = std::int64_t{256} << 20;
constexpr std::int64_t kMostElements = std::int64_t{1} << 30;  // of a value on the tape

// The format's numbers of attribute types.
enum Kind { kReal = 1, kWhole = 2, kText = 3, kTensor = 4, kReals = 6, kWholes = 7 };

// A node's name as a path: names with slashes are paths already.
std::string scope_of(const Node& node) {
  std::string name;
  for (const char given : node.name.substr(0, 200)) {
    const char c = given > ' ' && given < 127 ? given : '_';
    if (c != '/' || (!name.empty() && name.back() != '/')) name += c;
  }
  while (name.ends_with('/')) name.pop_back();
  return name.empty() ? node.op : name;
}

const OpFunction* function_of(std::string_view op) {
  static const std::unordered_map<std::string_view, const OpFunction*> table = [] {
    std::unordered_map<std::string_view, const OpFunction*> all;
    for (const OpFunction& f : op_functions()) all.emplace(f.name, &f);
    return all;
  }();
  const auto at = table.find(op);
  return at == table.end() ? nullptr : at->second;
}

}  // namespace

// --- Call
std::int64_t Call::opset() const { return recorder_.graph_.opset; }
Tape& Call::tape() const { return recorder_.tape_; }

const Attribute* Call::find(std::string_view name) const {
  const auto at = node_.attributes.find(std::string(name));
  return at == node_.attributes.end() ? nullptr : &at->second;
}

namespace {

const Attribute* checked(const Attribute* attribute, std::string_view name, int kind) {
  if (attribute == nullptr || attribute->kind == 0 || attribute->kind == kind) return attribute;
  throw usage_error("attribute '{}' is of another type than it must be", name);
}

}  // namespace

std::int64_t Call::whole(std::string_view name, std::int64_t usual) const {
  const Attribute* a = checked(find(name), name, kWhole);
  return a != nullptr ? a->i : usual;
}
double Call::real(std::string_view name, double usual) const {
  const Attribute* a = checked(find(name), name, kReal);
  return a != nullptr ? static_cast<double>(a->f) : usual;
}
std::string Call::text(std::string_view name, const std::string& usual) const {
  const Attribute* a = checked(find(name), name, kText);
  return a != nullptr ? a->s : usual;
}
std::vector<std::int64_t> Call::wholes(std::string_view name) const {
  const Attribute* a = checked(find(name), name, kWholes);
  return a != nullptr ? a->ints : std::vector<std::int64_t>{};
}
std::vector<std::int64_t> Call::wholes(std::string_view name, std::size_t count,
                                       std::int64_t usual) const {
  if (!says(name)) return std::vector<std::int64_t>(count, usual);
  std::vector<std::int64_t> values = wholes(name);
  if (values.size() == count) return values;
  throw usage_error("attribute '{}' has {} numbers; it must have {}", name, values.size(), count);
}

bool Call::has(int i) const {
  return i < operands() && !node_.inputs[static_cast<std::size_t>(i)].empty();
}

const Value& Call::operand(int i) const {
  if (!has(i)) throw usage_error("operand {} is missing", i);
  return recorder_.at(node_.inputs[static_cast<std::size_t>(i)]);
}

Var Call::known_as(const Value& value, const Layout& layout, Parameter::Kind kind,
                   const std::function<Tensor()>& numbers) const {
  if (!value.known->batch.empty()) {
    throw usage_error("the batch size is among its numbers, which is known only when it runs");
  }
  if (value.name.empty() || value.known->elements() == 1 || !recorder_.options_.parameters ||
      !is_floating(value.type)) {
    Tensor tensor = numbers();
    if (tensor.dtype() == DType::i64) {  // whole numbers beside computed ones: up to 2^24
      for (const std::int64_t number : tensor.values<std::int64_t>()) {
        if (number > -(1 << 24) && number < 1 << 24) continue;
        throw usage_error("the whole number {} is too large beside what is computed", number);
      }
      tensor = tensor.to(DType::f32);
    }
    return tape().constant(std::move(tensor));
  }
  return tape().parameter(recorder_.options_.parameters(value.name, layout, kind, numbers));
}

Value Call::on_tape(int i) const {
  Value value = operand(i);
  if (!value.known) return value;
  value.layout = plain_layout(value.known->shape().rank());
  const KnownRef known = value.known;
  value.var =
      known_as(value, value.layout, Parameter::Kind::weight, [&] { return known->numbers; });
  value.known = nullptr;
  return value;
}

Var Call::arranged(int i, const Layout& layout, Parameter::Kind kind) const {
  Value value = operand(i);
  const int rank = static_cast<int>(layout.size());
  if (value.rank() > rank) {
    throw usage_error("operand {} has {} axes; at most {} fit here", i, value.rank(), rank);
  }
  if (value.known) {
    return known_as(value, layout, kind, [&] { return in_order(*value.known, layout); });
  }
  if (value.rank() < rank) {
    value.layout = widened(value.layout, rank, value.batched);
    Shape memory = value.var.shape();
    Shape wide(std::vector<std::int64_t>(static_cast<std::size_t>(rank), 1));
    const int more = rank - memory.rank();
    for (int a = 0; a < memory.rank(); ++a) {
      wide[value.batched && a == 0 ? 0 : a + more] = memory[a];
    }
    value.var = shaped(value.var, wide, value.batched);
  }
  if (value.batched && layout[static_cast<std::size_t>(value.batch_axis())] != 0) {
    throw usage_error("the batch axes of its operands do not meet");
  }
  return onnx::arranged(value, layout);
}

Tensor Call::in_order(const Known& known, const Layout& layout) const {
  constexpr std::int64_t kMany = 4096;  // fewer cost nothing
  if (!recorder_.options_.only_shapes || !is_floating(known.type) || known.elements() < kMany) {
    return onnx::arranged(known, layout);
  }
  return Tensor(Type{known.numbers.dtype(), arranged_shape(known, layout)});
}

const Known& Call::known(int i) const {
  const Value& value = operand(i);
  recorder_.look_at(value);
  if (value.known) return *value.known;
  if (value.given) return *value.given;
  throw usage_error(
      "operand {} ('{}') must be numbers that are known before it runs, but it depends on the "
      "graph's inputs",
      i, shown(node_.inputs[static_cast<std::size_t>(i)]));
}

std::vector<Number> Call::numbers(int i) const {
  const Known& values = known(i);
  if (is_floating(values.type) || values.shape().rank() > 1) {
    throw usage_error("operand {} must be a list of whole numbers, not {} {}", i,
                      name_of(values.type), to_string(values.shape()));
  }
  std::vector<Number> all;
  for (std::int64_t k = 0; k < values.elements(); ++k) all.push_back(number_at(values, k));
  return all;
}

std::vector<std::int64_t> Call::wholes_of(int i) const {
  std::vector<std::int64_t> all;
  for (const Number& number : numbers(i)) {
    if (number.n != 0) {
      throw usage_error(
          "operand {} needs the batch size as a number; export with a fixed batch, or make it "
          "the first axis of a Reshape",
          i);
    }
    all.push_back(number.c);
  }
  return all;
}

double Call::real_of(int i, double usual) const {
  if (!has(i)) return usual;
  const Known& values = known(i);
  if (values.elements() != 1) throw usage_error("operand {} must be one number", i);
  return real_at(values, 0);
}

int Call::axis_of(std::int64_t axis, int rank) const {
  const std::int64_t from_front = axis < 0 ? axis + rank : axis;
  if (from_front >= 0 && from_front < rank) return static_cast<int>(from_front);
  throw usage_error("there is no axis {} in a value of {} axes", axis, rank);
}

std::shared_ptr<Known> Call::make(Element type, const Shape& shape) const {
  recorder_.count_folded(shape, held_in(type, "its output"));
  return make_known(type, shape);
}

bool Call::wanted(int i) const {
  return i < results() && !node_.outputs[static_cast<std::size_t>(i)].empty();
}

void Call::give(Value value, int i) {
  recorder_.keep(node_, static_cast<std::size_t>(i), std::move(value));
}
void Call::give(std::shared_ptr<Known> known, int i) {
  Value value;
  value.type = known->type;
  value.known = std::move(known);
  give(std::move(value), i);
}
void Call::give(Var var, const Value& like, int i) {
  Value value = like;
  value.known = value.given = nullptr;
  value.name.clear();
  value.var = var;
  give(std::move(value), i);
}

// --- Recorder
Recorder::Recorder(const Graph& graph, Tape& tape, RecorderOptions options)
    : graph_(graph), tape_(tape), options_(std::move(options)) {
  for (const auto& [name, known] : graph.initialisers) {
    values_[name] = {known->type, known, nullptr, name, {}, {}, false};
  }
}

void Recorder::bind(const std::string& name, Value value) {
  values_.insert_or_assign(name, std::move(value));
}

const Value& Recorder::at(const std::string& name) const {
  const auto value = values_.find(name);
  if (value != values_.end()) return value->second;
  throw usage_error("'{}' is not given by an input, an initialiser or a node", shown(name));
}

void Recorder::look_at(const Value& value) {
  if (options_.looked_at != nullptr && !value.name.empty()) options_.looked_at->insert(value.name);
}

void Recorder::keep(const Node& node, std::size_t i, Value value) {
  if (i >= node.outputs.size() || node.outputs[i].empty()) return;
  if (value.var && value.known == nullptr) {
    std::int64_t elements = 1;
    for (const std::int64_t extent : value.var.shape()) {
      if (!__builtin_mul_overflow(elements, extent, &elements) && elements <= kMostElements) {
        continue;
      }
      throw usage_error("its output {} has more than 2^30 elements", to_string(value.var.shape()));
    }
  }
  values_.insert_or_assign(node.outputs[i], std::move(value));
}

void Recorder::count_folded(const Shape& shape, DType dtype) {
  auto bytes = static_cast<std::int64_t>(size_of(dtype));
  bool fits = true;
  for (const std::int64_t extent : shape) {
    fits = fits && extent >= 0 && !__builtin_mul_overflow(bytes, extent, &bytes);
  }
  if (!fits || bytes > kMostFolded - folded_) {
    throw usage_error("numbers that are known before it runs take more than {} MiB in all",
                      kMostFolded >> 20);
  }
  folded_ += bytes;
}

void Recorder::record(const Node& node) {
  const OpFunction* function = node.domain.empty() ? function_of(node.op) : nullptr;
  if (function == nullptr) {
    if (!node.domain.empty()) {
      throw usage_error("the operator set '{}' is not read, only ONNX's own; export without it",
                        shown(node.domain));
    }
    const std::string_view why = refusal_of(node.op);
    throw usage_error("{}", why.empty() ? "this op is not read; cut the graph before it, with "
                                          "--outputs and the name of a value"
                                        : why);
  }
  bool all_known = true;
  for (const std::string& input : node.inputs) {
    if (input.empty()) continue;
    const Value& value = at(input);
    const bool known = value.known != nullptr || (function->record == nullptr && value.given);
    all_known = all_known && known;
  }
  Call call(*this, node);
  if (all_known && function->fold != nullptr) {
    for (const std::string& input : node.inputs) {
      if (!input.empty()) look_at(at(input));
    }
    return function->fold(call);
  }
  if (function->record == nullptr) {
    throw usage_error(
        "it works on numbers that are known before anything runs, but an operand depends on the "
        "graph's inputs; cut the graph before it, with --outputs and the name of a value");
  }
  const Tape::Scope in(tape_, scope_of(node));
  function->record(call);
}

void Recorder::run() {
  const std::vector<bool> needed = needed_nodes(graph_);
  for (std::size_t n = 0; n < graph_.nodes.size(); ++n) {
    if (!needed[n]) continue;
    const Node& node = graph_.nodes[n];
    try {
      record(node);
    } catch (const Error& error) {
      throw Error(error.blame(), fmt::format("'{}': node '{}' ({}, operator set {}): {}",
                                             shown(graph_.path.string()), shown(node.name),
                                             shown(node.op), graph_.opset, error.what()));
    }
  }
}

}  // namespace tapescope::onnx
