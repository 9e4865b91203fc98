#include "autograd/explain/linear_rule.h"

#include <algorithm>
#include <array>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "autograd/walk.h"

namespace tapescope::explain {
namespace {

Var sum_of(Var a, Var b) { return !a ? b : !b ? a : add(a, b); }

// {C}: a number for each element of v's last axis.
Var by_channel(Var v, const std::vector<double>& values) {
  const std::int64_t channels = v.shape()[v.shape().rank() - 1];
  if (static_cast<std::int64_t>(values.size()) != channels) {
    throw usage_error("[z-box] {} bounds for '{}', whose channels are {}", values.size(), v.path(),
                      channels);
  }
  Tensor tensor(Type{v.dtype(), {channels}});
  for (std::size_t c = 0; c < values.size(); ++c) {
    if (v.dtype() == DType::f64) {
      tensor.values<double>()[c] = values[c];
    } else {
      tensor.values<float>()[c] = static_cast<float>(values[c]);
    }
  }
  return v.tape().constant(tensor.to(v.tape().device()));
}

// `pick` of an operand, a weight or a bias.
Var picked(Var v, Pick pick, const Rule& rule) {
  switch (pick) {
    case Pick::none:
      return {};
    case Pick::value:
      return v;
    case Pick::positive:
      return known_nonnegative(v) ? v : relu(v);
    case Pick::negative:
      return negative_part(v);
    case Pick::raised_positive:
      return weighted_sum(v, 1, relu(v), rule.gamma);
    case Pick::raised_negative:
      return weighted_sum(v, 1, negative_part(v), rule.gamma);
    case Pick::square:
      return square(v);
    case Pick::one:
      return ones_like(v);
    case Pick::low:
    case Pick::high:
      break;
  }
  const bool low = pick == Pick::low;
  const std::vector<double>& bound = (low ? rule.low : rule.high).values;
  const int rank = v.shape().rank();
  if (bound.size() == 1) return broadcast_like(v.tape().scalar(bound[0], v.dtype()), v);
  if (!bound.empty()) return broadcast_like(by_channel(v, bound), v);
  std::vector<int> axes;  // an image's positions, or all of a vector
  for (int axis = 1; axis < (rank == 4 ? 3 : rank); ++axis) axes.push_back(axis);
  const Var range = low ? neg(reduce_max(neg(v), axes)) : reduce_max(v, axes);
  return broadcast_like(range, v);
}

// The node as z = f(signals; weight, constant), and f recorded anew on picked operands.
class Form {
 public:
  Form(const LinearNode& linear, const Rule& rule)
      : node_(*linear.node), active_(linear.active), batch_norm_(linear.batch_norm), rule_(rule) {
    if (node_.op->folds_into_weights()) {
      shape_ = Shape::diagonal;
      batch_norm_ = &node_;
      return;
    }
    weight_ = node_.op->weight_operand(active_);
    for (int i = 0; i < node_.operand_count; ++i) {
      const Role role = node_.op->role(i);
      const bool constant =
          role == Role::bias || (role == Role::signal && (active_ >> i & 1u) == 0);
      if (constant && i != weight_) constant_ = i;
    }
    shape_ = weight_ >= 0                      ? Shape::weighted
             : node_.op->nonnegative_factors() ? Shape::nonnegative
                                               : Shape::other;
  }

  enum class Shape : unsigned char {
    weighted,     // an operand holds the weights
    diagonal,     // batch normalisation: a factor and a shift for each channel
    nonnegative,  // fixed factors, none negative
    other,        // fixed factors of any sign
  };
  Shape shape() const { return shape_; }

  // The recorded output; what a folded normalisation made of it.
  Var output() const { return batch_norm_ != nullptr ? batch_norm_->out() : node_.out(); }

  // A copy of the node: what it gives, and how relevance gets back through it.
  struct Copy {
    const Node* node = nullptr;
    Var z;       // null where the part contributes nothing
    Var bias;    // of z
    Var factor;  // multiplies what enters the copy's vector-Jacobian product; null: 1
    unsigned active = 0;
    double scale = 1;
  };

  // The node as recorded. Its bias is computed only where it is asked for.
  Copy recorded(bool with_bias) {
    Copy copy{&node_, output(), {}, {}, active_};
    if (folded()) copy.factor = factor();
    if (with_bias) copy.bias = constant_term();
    return copy;
  }
  bool has_constant() const { return constant_ >= 0 || batch_norm_ != nullptr; }

  Copy record(const Part& part) {
    std::array<Var, kMostOperands> operands{};
    std::copy_n(node_.operand_data, node_.operand_count, operands.begin());
    for (int i = 0; i < node_.operand_count; ++i) {
      if (active_ >> i & 1u) operands[static_cast<std::size_t>(i)] = input(i, part.input);
    }
    Copy copy;
    copy.active = active_;
    if (shape_ == Shape::diagonal) {
      copy.bias = part.bias == Pick::none ? Var{} : picked(constant_term(), part.bias, rule_);
      const Var product = mul(operands[0], picked(factor(), part.weight, rule_));
      copy.node = product.node;
      copy.z = sum_of(product, copy.bias);
      return copy;
    }
    int count = node_.operand_count;
    if (shape_ == Shape::weighted) {
      operands[static_cast<std::size_t>(weight_)] = picked(weight(), part.weight, rule_);
      if (has_constant()) {
        count = constant_ >= 0 ? constant_ : count;  // a bias is the last operand
        if (part.bias != Pick::none) {
          copy.bias = picked(constant_term(), part.bias, rule_);
          operands[static_cast<std::size_t>(count++)] = copy.bias;
        }
      }
    } else if (shape_ == Shape::nonnegative) {
      if (part.weight == Pick::negative) return {};
      if (part.weight == Pick::raised_positive) copy.scale = 1 + rule_.gamma;
      if (constant_ >= 0) {
        const Var constant = node_.operand_data[constant_];
        copy.bias =
            part.bias == Pick::none ? zeros_like(constant) : picked(constant, part.bias, rule_);
        operands[static_cast<std::size_t>(constant_)] = copy.bias;
      }
    }
    const Node& again = node_.tape->record(
        node_.op, std::span<const Var>(operands.data(), static_cast<std::size_t>(count)));
    copy.node = &again;
    copy.z = copy.scale == 1 ? again.out() : affine(again.out(), copy.scale);
    if (copy.bias && copy.scale != 1) copy.bias = affine(copy.bias, copy.scale);
    return copy;
  }

  // What a part takes of operand i; made once for all parts that take it.
  Var input(int i, Pick pick) {
    Var& made = inputs_[static_cast<std::size_t>(i)][static_cast<std::size_t>(pick)];
    if (!made) made = picked(node_.operand_data[i], pick, rule_);
    return made;
  }

 private:
  bool folded() const { return batch_norm_ != nullptr && batch_norm_ != &node_; }

  // A normalisation's centre, factor and shift for each channel, {C} each.
  const std::vector<Var>& channels() {
    if (channels_.empty()) channels_ = batch_norm_->op->channel_affine(batch_norm_->operands());
    return channels_;
  }
  Var factor() { return channels()[1]; }

  Var weight() {
    const Var weight = node_.operand_data[weight_];
    if (!folded()) return weight;
    if (!folded_weight_) {
      tapescope::Shape per_output = weight.shape();
      const int axis = node_.op->channel_axis();
      for (int a = 0; a < per_output.rank(); ++a)
        per_output[a] = a == axis ? factor().shape()[0] : 1;
      folded_weight_ = mul(weight, reshape_all(factor(), per_output));
    }
    return folded_weight_;
  }

  // f at signals of zero; null where that is nothing.
  Var constant_term() {
    if (constant_term_) return constant_term_;
    if (batch_norm_ != nullptr) {
      const Var centre = channels()[0], shift = channels()[2];
      const Var before =
          folded() && constant_ >= 0 ? sub(node_.operand_data[constant_], centre) : neg(centre);
      constant_term_ = add(mul(before, factor()), shift);
    } else if (shape_ == Shape::other) {
      std::array<Var, kMostOperands> operands{};
      std::copy_n(node_.operand_data, node_.operand_count, operands.begin());
      for (int i = 0; i < node_.operand_count; ++i) {
        if (active_ >> i & 1u) {
          operands[static_cast<std::size_t>(i)] = zeros_like(node_.operand_data[i]);
        }
      }
      constant_term_ =
          node_.tape->record(node_.op, std::span<const Var>(operands.data(), node_.operand_count))
              .out();
    } else if (constant_ >= 0) {
      constant_term_ = node_.operand_data[constant_];
    }
    return constant_term_;
  }

  const Node& node_;
  unsigned active_;
  const Node* batch_norm_;
  const Rule& rule_;
  Shape shape_ = Shape::other;
  int weight_ = -1, constant_ = -1;
  std::vector<Var> channels_;
  Var folded_weight_, constant_term_;
  std::array<std::array<Var, kPicks>, kMostOperands> inputs_{};
};

// z of a group, and the copies it is made of.
struct Recorded {
  std::vector<Form::Copy> copies;
  std::vector<Part> parts;
  Var z, bias;
};

Recorded record_group(Form& form, const Group& group, bool identity, bool with_bias,
                      bool nonnegative) {
  Recorded result;
  for (const Part& part : group.parts) {
    if (nonnegative && part.input == Pick::negative) continue;
    const bool reuse = identity && (part.bias == Pick::value || !form.has_constant());
    Form::Copy copy = reuse ? form.recorded(with_bias) : form.record(part);
    if (!copy.z) continue;
    const auto signed_by = [&](Var v) { return v && part.sign != 1 ? affine(v, part.sign) : v; };
    result.z = sum_of(result.z, signed_by(copy.z));
    result.bias = sum_of(result.bias, signed_by(copy.bias));
    result.copies.push_back(copy);
    result.parts.push_back(part);
  }
  return result;
}

void spread(Form& form, const Form::Copy& copy, const Part& part, Var quotient,
            std::span<Var> results) {
  if (copy.factor) quotient = mul(quotient, copy.factor);
  if (part.sign * copy.scale != 1) quotient = affine(quotient, part.sign * copy.scale);
  std::array<Var, kMostOperands> back{};
  const Var cotangents[] = {quotient};
  Vjp v(*copy.node, cotangents, copy.active, back);
  copy.node->op->vjp(v);
  for (std::size_t i = 0; i < results.size(); ++i) {
    if ((copy.active >> i & 1u) == 0 || !back[i]) continue;
    const Var share = part.input == Pick::one
                          ? back[i]
                          : mul(form.input(static_cast<int>(i), part.input), back[i]);
    results[i] = sum_of(results[i], share);
  }
}

}  // namespace

bool sums_products(const Op& op) {
  return op.weight_operand(1u) == 1 && op.footprint().kind != Footprint::Kind::pointwise &&
         !op.folds_into_weights();
}

bool known_nonnegative(Var value) {
  const Node& node = *value.node;
  if (node.op->nonnegative()) return true;
  if (node.operand_count == 0 || !node.op->keeps_signs()) return false;
  for (int i = 0; i < node.operand_count; ++i) {
    if (node.op->role(i) == Role::signal && !known_nonnegative(node.operand_data[i])) return false;
  }
  return true;
}

std::string why_not(const LinearNode& linear, const Rule& rule) {
  if (rules::is_identity(rule)) return "";
  const Form::Shape shape = Form(linear, rule).shape();
  if (shape == Form::Shape::weighted || shape == Form::Shape::diagonal) return "";
  if (shape == Form::Shape::other) return "its factors have signs of their own: give it epsilon";
  for (const Group& group : rule.groups) {
    for (const Part& part : group.parts) {
      if (part.weight == Pick::one || part.weight == Pick::square) {
        return "it has no weights: give it epsilon";
      }
    }
  }
  return "";
}

void append_linear(const LinearNode& linear, const Rule& rule, Var arrived, std::span<Var> results,
                   Taken* taken) {
  Form form(linear, rule);
  const bool identity = rules::is_identity(rule);
  bool nonnegative = true;
  for (int i = 0; i < linear.node->operand_count; ++i) {
    if (linear.active >> i & 1u) {
      nonnegative = nonnegative && known_nonnegative(linear.node->operand_data[i]);
    }
  }
  bool gated = false;
  for (const Group& group : rule.groups) {
    Var relevance = arrived;
    if (group.gate != Gate::all) {
      gated = true;
      const bool positive = group.gate == Gate::positive_output;
      relevance = mask_positive(relevance, positive ? form.output() : neg(form.output()));
    }
    if (group.coefficient != 1) relevance = affine(relevance, group.coefficient);
    const Recorded recorded = record_group(form, group, identity, taken != nullptr, nonnegative);
    if (!recorded.z) {  // nothing in the group anywhere
      if (taken != nullptr) taken->empty = sum_of(taken->empty, relevance);
      continue;
    }
    const Var stable = stabilize(recorded.z, rule.epsilon);
    const Var quotient = safe_divide(relevance, stable);
    for (std::size_t k = 0; k < recorded.copies.size(); ++k) {
      spread(form, recorded.copies[k], recorded.parts[k], quotient, results);
    }
    if (taken == nullptr) continue;
    if (recorded.bias) taken->bias = sum_of(taken->bias, mul(quotient, recorded.bias));
    taken->stabiliser =
        sum_of(taken->stabiliser, mask_nonzero(mul(quotient, sub(stable, recorded.z)), recorded.z));
    taken->empty = sum_of(taken->empty, mul(relevance, is_zero(recorded.z)));
  }
  if (gated && taken != nullptr) {  // no group answers for an output of exactly zero
    taken->empty = sum_of(taken->empty, mul(arrived, is_zero(form.output())));
  }
}

}  // namespace tapescope::explain
