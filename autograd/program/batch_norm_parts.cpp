// Batch normalisation on a batch that is cut: sums, which are added up, and the rest.
//
//   batch_norm_training(x, ..)   sums(x) = {sum x, sum x^2, rows}; rest(x, .., sums)
//   batch_norm_gradient(dy, ..)  sums(dy, ..) = {sum g, sum g (x - mean), rows}; rest(dy, .., sums)
//
// and the same of the two that have a relu, and perhaps a residual branch, in them.
#include "autograd/ops/fused.h"
#include "autograd/ops/ops.h"
#include "autograd/program/share_batch.h"
#include "autograd/tape.h"
#include "kernels/batch_norm/batch_norm.h"

namespace tapescope {
namespace {

struct Form {
  Variants<BatchNormShape> (*variants)() = nullptr;
  double epsilon = 0, top = 0;
  bool residual = false;
  bool gradient = false;
};

// Attributes by name.
class Reader final : public AttributeVisitor {
 public:
  explicit Reader(Form& form) : form_(form) {}
  void visit(std::string_view name, std::int64_t value) override {
    if (name == "residual") form_.residual = value != 0;
  }
  void visit(std::string_view name, double value) override {
    if (name == "epsilon") form_.epsilon = value;
    if (name == "top") form_.top = value;
  }
  void visit(std::string_view, std::string_view) override {}
  void visit(std::string_view, const Shape&) override {}

 private:
  Form& form_;
};

Form form_of(const Op& op) {
  Form form;
  const std::string_view name = op.name();
  form.gradient = name.ends_with("gradient");
  if (name == "batch_norm_training") form.variants = batch_norm_training_variants;
  if (name == "batch_norm_gradient") form.variants = batch_norm_gradient_variants;
  if (name == "batch_norm_relu") form.variants = batch_norm_relu_training_variants;
  if (name == "batch_norm_relu_gradient") form.variants = batch_norm_relu_gradient_variants;
  Reader reader(form);
  op.attributes(reader);
  return form;
}

class Part final : public SharedOp {
 public:
  Part(OpRef whole, Form form, BatchNormPart part)
      : whole_(std::move(whole)), form_(form), part_(part) {}
  std::string_view name() const override { return whole_->name(); }
  void attributes(AttributeVisitor& v) const override {
    whole_->attributes(v);
    v.visit("part", part_ == BatchNormPart::sums ? "sums" : "rest");
  }
  Types infer(std::span<const Type> t) const override {
    if (part_ == BatchNormPart::rest) return whole_->infer(t.first(t.size() - 1));
    const Type sums{DType::f64, {2 * channels(t[0]) + 1}};
    return form_.gradient && form_.residual ? Types{sums, t[0]} : Types{sums};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    const Shape& x = t[0].shape;
    const BatchNormShape shape{t[0].dtype,     x.elements(0, x.rank() - 1),
                               channels(t[0]), form_.epsilon,
                               form_.residual, part_,
                               form_.top};
    return prepare_from(form_.variants(), shape, t[0].dtype, backend);
  }
  void vjp(Vjp&) const override {}  // put in the place of an op when all gradients are recorded
  Role role(int operand) const override { return whole_->role(operand); }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::stop; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return memory_cost(t, outputs, 2);
  }
  Footprint footprint() const override { return {}; }
  bool rows_independent() const override { return part_ == BatchNormPart::rest; }
  bool adds_rows() const override { return part_ == BatchNormPart::sums; }
  bool is_split(int output) const override {
    return output == (part_ == BatchNormPart::sums ? 1 : 0);
  }
  bool may_overwrite(int operand, int output) const override {
    if (part_ == BatchNormPart::rest) return whole_->may_overwrite(operand, output);
    return operand == 0 && output == 1;
  }

 private:
  static std::int64_t channels(const Type& x) { return x.shape[x.shape.rank() - 1]; }
  OpRef whole_;
  Form form_;
  BatchNormPart part_;
};

}  // namespace

std::vector<Var> batch_norm_in_parts(const OpRef& op, std::span<const Var> o) {
  const Form form = form_of(*op);
  if (form.variants == nullptr) return {};
  // The sums of x need nothing else; those of a gradient what says where it passes.
  const std::span<const Var> of = form.gradient ? o : o.first(1);
  const Node& sums = record(std::make_shared<Part>(op, form, BatchNormPart::sums), of);
  std::vector<Var> operands(o.begin(), o.end());
  if (form.gradient && form.residual) {
    // What is left of it is the gradient of a plain normalisation.
    operands = {sums.out(1), o[1], o[2], o[3], o[4], sums.out(0)};
    const OpRef plain = batch_norm_gradient_op(form.epsilon);
    const Node& rest =
        record(std::make_shared<Part>(plain, form_of(*plain), BatchNormPart::rest), operands);
    return {rest.out(0), rest.out(1), rest.out(2), sums.out(1)};
  }
  operands.push_back(sums.out(0));
  const Node& rest = record(std::make_shared<Part>(op, form, BatchNormPart::rest), operands);
  std::vector<Var> results;
  for (int i = 0; i < rest.output_count; ++i) results.push_back(rest.out(i));
  return results;
}

}  // namespace tapescope
