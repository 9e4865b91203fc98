// One recorded operation, and a handle to one of its outputs.
#pragma once

#include "autograd/op.h"

namespace tapescope {

// A handle to an output of a node. Null where an optional operand or a cotangent is absent.
struct Var {
  Node* node = nullptr;
  int output = 0;

  explicit operator bool() const { return node != nullptr; }
  friend bool operator==(const Var&, const Var&) = default;

  inline const Type& type() const;
  const Shape& shape() const { return type().shape; }
  DType dtype() const { return type().dtype; }
  inline Tape& tape() const;
  // Whether the value was computed when the node was recorded; false of a null Var.
  inline bool has_value() const;
  // The eager value; an error naming the node where it is symbolic.
  const Tensor& value() const;
  inline std::string path() const;

 private:
  [[noreturn]] static void missing();
};

// The most operands that an op can have: sets of them are bits of an unsigned.
inline constexpr int kMostOperands = 16;

// How often an op was recorded in one scope.
struct ScopeUse {
  std::string_view op;
  const char* label = "";  // interned "scope/op"
  int count = 0;
};

// Nodes lie in the tape's arena at stable addresses.
struct Node {
  OpRef op;
  Tape* tape = nullptr;
  std::uint32_t index = 0;  // position on the tape: operands always come before
  std::uint16_t operand_count = 0;
  std::uint16_t output_count = 0;
  // Its rows are those of an input, as many at the next run as that has then; false where that is
  // not certain: README.md, "What a batch is".
  bool batched = false;
  Var* operand_data = nullptr;   // [operand_count]
  Type* type_data = nullptr;     // [output_count]
  Tensor* value_data = nullptr;  // [output_count], undefined where symbolic
  // Of a node that a walk appended: the node that it was appended for, and the first word of its
  // path ("gradient", "relevance"). Null and "" where the user recorded it.
  const Node* origin = nullptr;
  const char* prefix = "";
  ScopeUse* use = nullptr;
  int use_number = 1;
  std::uint32_t arena_block = 0, arena_used = 0;  // where the arena stood before this node

  std::span<const Var> operands() const { return {operand_data, operand_count}; }
  std::span<const Type> types() const { return {type_data, output_count}; }
  std::span<const Tensor> values() const { return {value_data, output_count}; }
  Var out(int i = 0) const { return {const_cast<Node*>(this), i}; }
  bool eager() const { return value_data[0].defined(); }
  // Scope and op, "layer1.0/conv1/conv2d", with "#2" for the second of that name. Leaves have the
  // name of what they hold.
  std::string path() const;
  std::string_view scope() const;
};

// Appends to the tape of the operands. An error that names the op where the first one is missing.
Node& record(OpRef op, std::span<const Var> operands);
inline Node& record(OpRef op, std::initializer_list<Var> operands) {
  return record(std::move(op), std::span<const Var>(operands.begin(), operands.size()));
}
// An X made of `arguments`, and its first output.
template <class X, class Operands = std::initializer_list<Var>, class... Arguments>
Var record(const Operands& operands, Arguments&&... arguments) {
  return record(std::make_shared<X>(std::forward<Arguments>(arguments)...), operands).out();
}
// Throws "[op] operand k is missing" for the first of `operands` that is null: for functions that
// look at them before they record.
void require_operands(std::string_view op, std::initializer_list<Var> operands);

const Type& Var::type() const {
  if (node == nullptr) missing();
  return node->type_data[output];
}
Tape& Var::tape() const {
  if (node == nullptr) missing();
  return *node->tape;
}
bool Var::has_value() const { return node != nullptr && node->eager(); }
std::string Var::path() const {
  if (node == nullptr) missing();
  return node->path();
}

// What an op's vjp() works with: the node, the cotangents of its outputs, and which operands are
// wanted. vjp() appends nodes to the node's tape and gives each wanted operand its cotangent.
class Vjp {
 public:
  Vjp(const Node& node, std::span<const Var> cotangents, unsigned wanted, std::span<Var> results)
      : node_(node), cotangents_(cotangents), wanted_(wanted), results_(results) {}

  const Node& node() const { return node_; }
  Tape& tape() const { return *node_.tape; }
  // Null where nothing flows back into that output; of its dtype. What flows back into a weight's
  // bf16 copy is f32: as it came it is wide_cotangent().
  Var cotangent(int output = 0) const;
  Var wide_cotangent() const { return cotangents_[0]; }
  Var operand(int i) const { return node_.operand_data[i]; }
  int operand_count() const { return node_.operand_count; }
  Var output(int i = 0) const { return node_.out(i); }
  bool wants(int operand) const {
    return operand < node_.operand_count && (wanted_ >> operand & 1u) != 0;
  }
  void give(int operand, Var cotangent) { results_[static_cast<std::size_t>(operand)] = cotangent; }
  // For fused ops: the gradient of Op::decompose's elementary form.
  void give_by_decomposition();

 private:
  const Node& node_;
  std::span<const Var> cotangents_;
  unsigned wanted_;
  std::span<Var> results_;
};

}  // namespace tapescope
