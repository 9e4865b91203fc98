// What every operation must provide. One file, autograd/ops/<op>.cpp, holds all of one op.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor.h"
#include "kernels/common/variant.h"

namespace tapescope {

class Op;
class Tape;
class Vjp;
struct Node;
struct Var;
using OpRef = std::shared_ptr<const Op>;

// What an operand is to the op. Gradients and relevance flow through signal, weight and bias.
enum class Role : std::uint8_t {
  signal,  // what the op transforms
  weight,  // what it multiplies the signal with
  bias,    // what it adds
  shape,   // only its shape is read
  fixed,   // its values are read, but it has no derivative: labels, masks, indices
};

// How relevance passes an op (Bach et al. 2015); asked of an op with the set of operands that
// depend on the explained input.
enum class RelevanceClass : std::uint8_t {
  linear,      // a weighted sum of its active operands, bias aside
  moves,       // each output element is an operand's, the same one whatever the values: reshape
  selects,     // each output element is an operand's, which one the values decide: max pool
  monotone,    // element-wise and monotone: relu, sigmoid
  product,     // a product of two active operands
  normaliser,  // softmax and the like
  elementary,  // as its decomposition passes it: layer normalisation
  stop,        // nothing passes
};

struct Cost {
  double flops = 0;  // additions and multiplications; a multiply-add counts as two
  double macs = 0;   // multiply-adds of convolutions and matrix products; 0 elsewhere
  double bytes = 0;  // read and written, each operand and output once
};

// Which input positions an output position depends on, for receptive fields.
struct Footprint {
  enum class Kind : std::uint8_t { pointwise, window, global } kind = Kind::pointwise;
  std::int64_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1;
  std::int64_t pad_h = 0, pad_w = 0, dilation_h = 1, dilation_w = 1;
};

// Output types of an op: at most five, held in place.
class Types {
 public:
  static constexpr int kCapacity = 5;
  Types() = default;
  Types(std::initializer_list<Type> types) {
    for (const Type& type : types) items_[static_cast<std::size_t>(count_++)] = type;
  }
  int size() const { return count_; }
  const Type& operator[](int i) const { return items_[static_cast<std::size_t>(i)]; }
  operator std::span<const Type>() const {
    return {items_.data(), static_cast<std::size_t>(count_)};
  }

 private:
  std::array<Type, kCapacity> items_{};
  int count_ = 0;
};

// Receives an op's attributes one by one: for printing, equality, hashing and files.
class AttributeVisitor {
 public:
  virtual ~AttributeVisitor() = default;
  virtual void visit(std::string_view name, std::int64_t value) = 0;
  virtual void visit(std::string_view name, double value) = 0;
  virtual void visit(std::string_view name, std::string_view value) = 0;
  virtual void visit(std::string_view name, const Shape& value) = 0;
};

// How the harness fills an operand of a sample.
struct OperandSpec {
  enum class Values : std::uint8_t {
    normal,           // standard normal
    positive,         // uniform in [0.5, 2)
    unit,             // uniform in (0.05, 0.95)
    away_from_zero,   // +-[0.2, 1.5): no kink within a finite difference
    far_from_zero,    // +-[16, 32): added to what normals make, it decides the sign
    distinct,         // a shuffled ladder: no two elements closer than 0.05
    log_probability,  // rows are log-softmax of normals
    index,            // integers in [0, bound)
  };
  Type type;  // floating operands are given in f32; the harness changes the dtype
  Values values = Values::normal;
  std::int64_t bound = 0;  // of index
  std::int64_t first = 0;  // index: integers in [first, bound)
  bool batched = true;     // the leading axis is the batch, which the harness changes
  bool wide = false;       // f32 where the data are bf16: see engine/type.h
};

class Op {
 public:
  virtual ~Op() = default;

  virtual std::string_view name() const = 0;
  virtual void attributes(AttributeVisitor& visitor) const = 0;

  // Output types, and the only place of shape errors. An optional operand that is absent is not
  // in the list.
  virtual Types infer(std::span<const Type> operands) const = 0;

  // The kernel for these types. The caller owns outputs and workspace; eager recording and
  // Programs both run what this returns.
  virtual Plan prepare(std::span<const Type> operands, std::span<const Type> outputs,
                       const Backend& backend) const = 0;

  // Appends the nodes of the vector-Jacobian product: for each wanted operand, its cotangent.
  virtual void vjp(Vjp& v) const = 0;

  virtual Role role(int operand) const = 0;
  virtual RelevanceClass relevance_class(unsigned active_operands) const = 0;
  virtual Cost cost(std::span<const Type> operands, std::span<const Type> outputs) const = 0;
  virtual Footprint footprint() const = 0;

  // The operand whose memory the only output shares (a reshape), or -1.
  virtual int alias() const { return -1; }
  // Whether every output element is >= 0 whatever the operands.
  virtual bool nonnegative() const { return false; }
  // Whether row n of every output depends on row n of the batched operands only.
  virtual bool rows_independent() const { return true; }
  // Whether what is made of all rows is the sum of what is made of some and of the others, as a
  // gradient of weights is.
  virtual bool adds_rows() const { return false; }
  // An average over rows as the sum, which then is divided by how many elements make one.
  virtual OpRef without_average() const { return nullptr; }
  // Whether `output` may be written over `operand`'s memory.
  virtual bool may_overwrite(int operand, int output) const {
    return (void)operand, (void)output, false;
  }
  // A fused op as elementary ops on the same operands, one Var an output: its second derivative,
  // its default relevance rule and its oracle. Empty where the op is elementary.
  virtual std::vector<Var> decompose(Tape& tape, std::span<const Var> operands) const;

  // --- what explanations ask; each claim is held to the op's samples by the harness ---
  // The operand that the active ones are multiplied with; -1: none.
  virtual int weight_operand(unsigned active_operands) const;
  // The axis of that operand which runs over the output's channels; -1: none.
  virtual int channel_axis() const { return -1; }
  // Whether the op is a sum of operand elements with factors of its own, none negative.
  virtual bool nonnegative_factors() const { return false; }
  // Whether every output element is >= 0 where all signal operands are.
  virtual bool keeps_signs() const { return nonnegative_factors(); }
  // Whether a part of the output comes from no operand: a margin, an affine function's offset.
  virtual bool has_constant_part() const { return false; }
  // Whether images {N, H, W, C} stay that, as a transpose's do not.
  virtual bool channels_last() const { return true; }
  // A normalisation with stored statistics, y = (x - centre) * factor + shift with one number per
  // channel, which can become part of the weights before it: records {centre, factor, shift}.
  virtual bool folds_into_weights() const { return false; }
  virtual std::vector<Var> channel_affine(std::span<const Var> operands) const;
  // The same op without padding, and what its padding counts as; null where there is none.
  virtual OpRef without_padding() const { return nullptr; }
  virtual double padding_value() const { return 0; }

  // A leaf (input, parameter, constant) has no kernel.
  virtual bool is_leaf() const { return false; }
};

// One case of an op for the harness: the op with its attributes and what to feed it.
struct Sample {
  std::string label;
  OpRef op;
  std::vector<OperandSpec> operands;
};

// "conv2d stride_h=2 pad_h=1": equal texts mean equal ops.
std::string describe(const Op& op);

// Defaults shared by many ops.
Cost memory_cost(std::span<const Type> operands, std::span<const Type> outputs,
                 double flops_per_output_element);

// An op in the list that tests and benchmarks walk (autograd/ops/list.cpp). An op without samples
// does not compile into the list.
struct OpEntry {
  std::string_view name;
  std::vector<Sample> (*samples)();
};
std::span<const OpEntry> all_ops();

}  // namespace tapescope
