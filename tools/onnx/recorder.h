// Records a graph's nodes onto a tape, one after the other.
#pragma once

#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "autograd/tape.h"
#include "tools/onnx/value.h"

namespace tapescope::onnx {

// Gives the parameter that holds `numbers` under this name: made when the graph is recorded for
// the first time, the same one ever after. `layout` is part of what it is.
using ParameterSource =
    std::function<ParameterRef(const std::string& name, const Layout& layout, Parameter::Kind kind,
                               const std::function<Tensor()>& numbers)>;

class Recorder;

// One node while it is recorded: what op functions work with. Everything they throw is told with
// the node's name, op and operator set.
class Call {
 public:
  Call(Recorder& recorder, const Node& node) : recorder_(recorder), node_(node) {}

  const Node& node() const { return node_; }
  const std::string& op() const { return node_.op; }
  std::int64_t opset() const;
  Tape& tape() const;

  // --- attributes; a usage error where one is of another type or length than it must be
  bool says(std::string_view name) const { return find(name) != nullptr; }
  std::int64_t whole(std::string_view name, std::int64_t usual) const;
  double real(std::string_view name, double usual) const;
  std::string text(std::string_view name, const std::string& usual) const;
  // `count` numbers; `usual` each where the attribute is not there.
  std::vector<std::int64_t> wholes(std::string_view name, std::size_t count,
                                   std::int64_t usual) const;
  std::vector<std::int64_t> wholes(std::string_view name) const;  // however many
  const Attribute* find(std::string_view name) const;

  // --- operands
  int operands() const { return static_cast<int>(node_.inputs.size()); }
  bool has(int i) const;
  const Value& operand(int i) const;  // a usage error where it is left out
  // A value on the tape in its own layout: known numbers become a parameter or a constant, plain.
  Value on_tape(int i) const;
  // In this layout, of as many axes or, known or not, with axes of extent 1 in front. What is known
  // becomes a parameter of that kind, or a constant where no file named it.
  Var arranged(int i, const Layout& layout, Parameter::Kind kind = Parameter::Kind::weight) const;
  // Known numbers in a form that their name does not say, as a parameter or a constant.
  Var known_as(const Value& value, const Layout& layout, Parameter::Kind kind,
               const std::function<Tensor()>& numbers) const;
  // Known numbers as onnx::arranged() gives them; many of them unset where only shapes are asked.
  Tensor in_order(const Known& known, const Layout& layout) const;
  // Numbers that must be known; a usage error that names the node where they are not.
  const Known& known(int i) const;
  std::vector<Number> numbers(int i) const;          // whole
  std::vector<std::int64_t> wholes_of(int i) const;  // whole, none of them depending on N
  double real_of(int i, double usual) const;         // one; `usual` where it is left out
  // `axis` counted from the front, of a value with `rank` axes.
  int axis_of(std::int64_t axis, int rank) const;

  // --- results
  // Room for numbers that are known; a usage error where all of them together are too many.
  std::shared_ptr<Known> make(Element type, const Shape& shape) const;
  int results() const { return static_cast<int>(node_.outputs.size()); }
  bool wanted(int i) const;
  void give(Value value, int i = 0);
  void give(std::shared_ptr<Known> known, int i = 0);
  // `var` of the layout and kind that `like` has.
  void give(Var var, const Value& like, int i = 0);

 private:
  Recorder& recorder_;
  const Node& node_;
};

// Records or evaluates one op.
struct OpFunction {
  std::string_view name;
  void (*record)(Call& call);          // null: only with known numbers
  void (*fold)(Call& call) = nullptr;  // where all operands are known
};
// Every op that is read (op_table.cpp).
std::span<const OpFunction> op_functions();
// Why an op is not read and what to do; "" of one that nobody knows.
std::string_view refusal_of(std::string_view op);

struct RecorderOptions {
  // Whether axis 0 of the inputs is the batch: its extent on this tape is no number then.
  bool batched = true;
  ParameterSource parameters = {};
  // Whether nothing of this tape will run: what is recorded is asked for its shapes.
  bool only_shapes = false;
  // Receives the initialisers whose numbers are looked at while recording.
  std::set<std::string>* looked_at = nullptr;
};

class Recorder {
 public:
  Recorder(const Graph& graph, Tape& tape, RecorderOptions options);

  // An input. Known numbers take part in the arithmetic of shapes.
  void bind(const std::string& name, Value value);
  // Records all that the outputs need.
  void run();
  const Value& at(const std::string& name) const;

 private:
  friend class Call;
  void record(const Node& node);
  void look_at(const Value& value);
  void keep(const Node& node, std::size_t i, Value value);
  void count_folded(const Shape& shape, DType dtype);

  const Graph& graph_;
  Tape& tape_;
  RecorderOptions options_;
  std::unordered_map<std::string, Value> values_;
  std::int64_t folded_ = 0;  // bytes of known numbers that nodes gave
};

}  // namespace tapescope::onnx
